"""What every command module uses: common options, settings, showing results, progress.

A command module imports typer, the standard library and this module only; everything else is imported inside the
command, so that `mimicctl --help` stays quick. A command resolves its settings, calls the API, and shows an `Outcome`:

    def command(task: Task = None, config: ConfigFile = None, override: Override = None, as_json: Json = False) -> None:
        settings = resolve_settings({"task": task}, config, override)
        ...
        show(Outcome("Made it.", facts=[("file", path)], next_command="mimicctl generate"), as_json)
"""

from __future__ import annotations

import functools
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from mimicctl.config_layers import Resolved

Task = Annotated[Optional[str], typer.Option("--task", help="Task id; see mimicctl tasks.", show_default=False)]
Seed = Annotated[Optional[int], typer.Option("--seed", help="Seed of everything drawn by chance.", show_default=False)]
ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="Config file, read after mimicctl.toml.", show_default=False)]
Override = Annotated[Optional[list[str]], typer.Option("-o", help="Set any setting: section.key=value.", show_default=False)]
Workers = Annotated[Optional[int], typer.Option("--workers", help="Worker processes (one a core).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what an earlier run left.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
SwingCancellation = Annotated[
    Optional[bool],
    typer.Option("--swing-cancellation/--no-swing-cancellation", help="Damp the swing of a gripper that hangs on cables (it is damped).", show_default=False),
]
AllowTainted = Annotated[bool, typer.Option("--allow-tainted", help="Also with checkpoints whose demonstrations have been withdrawn.")]
Physics = Annotated[
    Optional[str], typer.Option("--physics", help="Of a task on Isaac Lab: newton, ovphysx or physx (the best that is installed).", show_default=False)
]
SimDevice = Annotated[
    Optional[str], typer.Option("--sim-device", "--device", help="Where Isaac Lab's physics run: cpu, cuda, cuda:1 (cpu).", show_default=False)
]
Visualizer = Annotated[Optional[str], typer.Option("--visualizer", help="Windows of Isaac Lab: newton_gl, rerun, viser, kit (none).", show_default=False)]
Headless = Annotated[bool, typer.Option("--headless", help="No windows of Isaac Lab, whatever the settings say.")]
EnableCameras = Annotated[bool, typer.Option("--enable-cameras", help="Demand a task with cameras, as for Isaac Lab; they are drawn without being told to.")]
EnablePinocchio = Annotated[
    bool, typer.Option("--enable-pinocchio", help="Demand what moves the arms of humanoids, as for Isaac Lab; it is used without being told to.")
]
Lan = Annotated[bool, typer.Option("--lan", help="The web app for phones and headsets on the same network too, by HTTPS.")]
Port = Annotated[int, typer.Option("--port", help="Of the web app.", min=1, max=65535, show_default=True)]


@dataclass(frozen=True)
class Table:
    """Rows to show under a title."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Outcome:
    """What a command has to say at its end.

    Attributes:
        title: one sentence.
        facts: label and value, in order.
        tables: shown below.
        next_command: what one would do next.
        data: for --json; the facts if not given.
    """

    title: str
    facts: list[tuple[str, Any]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    next_command: str = ""
    data: dict[str, Any] | None = None


def isaaclab_flags(physics: str | None, sim_device: str | None, visualizer: str | None, headless: bool) -> dict[str, Any]:
    """Flags of a task on Isaac Lab, for `resolve_settings`."""
    if headless and visualizer:
        from mimicctl.errors import UserError

        raise UserError("--headless asks for no windows, --visualizer for some.", do="leave one of them out")
    return {"isaaclab.physics": physics, "isaaclab.device": sim_device, "isaaclab.visualizer": "" if headless else visualizer}


def demand(task_id: str, *, cameras: bool, pinocchio: bool) -> None:
    """What `--enable-cameras` and `--enable-pinocchio` of Isaac Lab's launcher ask for, without which a run would come to less than was meant.

    Raises:
        UserError: the task has no cameras, or the extra `humanoid` is not installed.
    """
    if not (cameras or pinocchio):
        return
    from mimicctl.envs import require_humanoid
    from mimicctl.errors import UserError
    from mimicctl.tasks import find_task, with_family

    task = find_task(task_id)
    if pinocchio:
        require_humanoid(task)
    if cameras and not task.cameras:
        seeing = [other.task_id for other in with_family(task) if other.cameras]
        raise UserError(f"{task.task_id} has no cameras.", where="--enable-cameras", do=f"give --task {seeing[0]}" if seeing else "leave it out")


def resolve_settings(flags: dict[str, Any], config: Path | None, override: list[str] | None) -> Resolved:
    """The run config with this command's flags on top. From here on the tasks of its `tasks.paths` are known too.

    Without a "task" among the flags the task is said later, by a file, and so is the call of `refuse_isaaclab_flags`.
    """
    from mimicctl.config_layers import resolve
    from mimicctl.tasks import IsaacLab, cancel_swing, look_in, run_isaaclab

    resolved = resolve(flags, config_file=config, overrides=override or (), environ=os.environ)
    look_in(resolved.config.tasks.paths)
    cancel_swing(resolved.config.swing_cancellation)
    if "task" in flags:
        refuse_isaaclab_flags(flags, resolved.config.task)
    isaaclab = resolved.config.isaaclab
    run_isaaclab(IsaacLab("", isaaclab.physics, isaaclab.device, isaaclab.visualizer, tuple(isaaclab.overrides)))
    return resolved


def refuse_swing_flag(flag: bool | None, task_id: str) -> None:
    """UserError if `--swing-cancellation` or its opposite is given for a robot that has nothing to swing."""
    from mimicctl.errors import UserError
    from mimicctl.tasks import find_task, list_tasks

    if flag is not None and find_task(task_id).swing_cancellation is None:
        hanging = ", ".join(task.task_id for task in list_tasks() if task.swing_cancellation is not None)
        raise UserError(f"Nothing hangs and swings in {task_id}.", where="--swing-cancellation", do=f"leave it out, or give the --task: {hanging}")


def refuse_isaaclab_flags(flags: dict[str, Any], task_id: str) -> None:
    """UserError if any of `isaaclab_flags` asks for what there is not on MuJoCo, and the task runs there: always on the CPU, and without windows."""
    from mimicctl.errors import UserError
    from mimicctl.tasks import on_isaaclab

    so_anyway = {"isaaclab.device": "cpu", "isaaclab.visualizer": ""}
    asked = any(key.startswith("isaaclab.") and value not in (None, so_anyway.get(key)) for key, value in flags.items())
    if asked and not on_isaaclab(task_id):
        what = f"--physics, --visualizer and any --sim-device but cpu are about tasks on Isaac Lab, and {task_id} runs on MuJoCo."
        raise UserError(what, do="give the --task on Isaac Lab, or leave them out")


_UNFOLDED = 100_000
"""Width of a pipe or a file: whoever reads a path there needs it whole."""


def stdout() -> Console:
    """For results. Folded on a terminal only."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _UNFOLDED)


@functools.cache
def stderr() -> Console:
    """For the log and for progress: one console, so that a line of the log moves the bar on instead of tearing it."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def show(outcome: Outcome, as_json: bool) -> None:
    """Print the outcome, as text or as JSON."""
    if as_json:
        data = outcome.data if outcome.data is not None else {label.replace(" ", "_"): value for label, value in outcome.facts}
        print(json.dumps(_plain(data), indent=1, allow_nan=False))
        return
    console = stdout()
    if outcome.title:
        console.print(outcome.title, style="bold", markup=False)
    width = max((len(label) for label, _ in outcome.facts), default=0)
    for label, value in outcome.facts:
        console.print(f"  {label:<{width}}  {value}", markup=False)
    for table in outcome.tables:
        _show_table(console, table)
    if outcome.next_command:
        console.print(f"Next: {outcome.next_command}", markup=False)


def _plain(value: Any) -> Any:
    """As JSON has it: numbers of numpy are numbers, and what is no number (NaN, infinite) is null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, int, bool, NoneType)):
        return value
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def _show_table(console: Console, table: Table) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    rich_table = RichTable(title=Text(table.title) if table.title else None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(table.columns):
        numeric = bool(table.rows) and all(isinstance(row[i], (int, float)) for row in table.rows)
        rich_table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        rich_table.add_row(*(Text(str(cell)) for cell in row))
    console.print(rich_table)


def size_of(path: Path) -> str:
    """File size, for people."""
    return size_text(path.stat().st_size)


def size_text(size: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def some(names: Sequence[str]) -> str:
    """The first few, and how many there are more."""
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def note(text: str) -> None:
    """A line for the log."""
    stderr().print(text, markup=False)


def note_foreign(path: Path, task: str = "", names: dict[str, str] | None = None) -> None:
    """For the log: what a dataset of another tool is taken for. See `mimicctl.dataset.dialect.understood`."""
    from mimicctl.dataset.dialect import suspicion, understood
    from mimicctl.dataset.reader import Dataset

    with Dataset(path, need_demos=False) as dataset:
        if dataset.demos and not dataset.dialect.ours:
            note(understood(dataset, task, names))
        if odd := suspicion(dataset):
            note(odd)


def note_changed_task(path: Path) -> None:
    """For the log: in what the task of a dataset is no longer that which it was made on."""
    from mimicctl.dataset.reader import Dataset
    from mimicctl.tasks import twin_of
    from mimicctl.tasks.fingerprint import changes_since

    with Dataset(path, need_demos=False) as dataset:
        task = twin_of(dataset.task_id)
        if task and (changes := changes_since(dataset.lineage, task)):
            note(changes)


def first_existing(*candidates: str) -> Path | None:
    """The first of the paths that exists: how a step finds what the last one made."""
    return next((Path(c) for c in candidates if c and Path(c).is_file()), None)


class Reporter:
    """A bar on a terminal; a line every few seconds anywhere else.

    Args:
        total: of the number that fills the bar.
    """

    _EVERY = 5.0

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._last = time.monotonic()
        self._progress = None
        if sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TextColumn("{task.fields[extra]}"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=stderr(),
            )
            self._task = self._progress.add_task(label, total=total, extra="")
            self._progress.start()

    def set_total(self, total: int) -> None:
        """For work whose size is known only once it has begun."""
        self._total = total
        if self._progress is not None:
            self._progress.update(self._task, total=total)

    def update(self, done: int, extra: str) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=done, extra=extra)
        elif time.monotonic() - self._last > self._EVERY:
            self._last = time.monotonic()
            note(f"{self._label}: {done}/{self._total}  {extra}")

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()


@contextmanager
def reporting(label: str, total: int) -> Iterator[Reporter]:
    reporter = Reporter(label, total)
    try:
        yield reporter
    finally:
        reporter.stop()
