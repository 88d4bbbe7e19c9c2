"""Annotation by hand, in the terminal."""

from __future__ import annotations

import sys
import termios
import tty
from pathlib import Path

import numpy as np

from mimicctl.annotation.auto import DemoAnnotation, refuse_unreplayable, replay
from mimicctl.annotation.manual import Marks, signals_from
from mimicctl.annotation.output import annotation_output
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.envs.base import MimicEnv
from mimicctl.errors import UserError
from mimicctl.recording.scene_view import draw_scene
from mimicctl.recording.session import look
from mimicctl.tasks import find_task

_HELP = ", . or arrows: 1 step   [ ]: 10 steps   S mark   U undo   N accept, next demo   Q skip this demo   Ctrl-C stop"
_ARROWS = {"\x1b[C": ".", "\x1b[D": ","}


def annotate_by_hand(input_file: Path, output_file: str, *, task_id: str = "", overwrite: bool = False) -> tuple[Path, list[DemoAnnotation]]:
    """Show each demo step by step and let a person mark where its subtasks end. Ctrl-C ends it and keeps what was accepted.

    Raises:
        UserError: the input is no terminal, or no recording of a known task, or the output exists.
    """
    if not sys.stdin.isatty():
        raise UserError("Annotating by hand needs a terminal.", where="stdin", do="run it in a terminal, or use --auto")
    with Dataset(input_file) as dataset:
        task = find_task(task_id or dataset.task_id)
        refuse_unreplayable(dataset, task)
        env = make_env(task)
        found: list[DemoAnnotation] = []
        with annotation_output(dataset, task, env.sim_args, output_file, "manual", overwrite=overwrite) as output:
            unmarked = dict.fromkeys(task.term_signals)
            for number, (name, episode) in enumerate(dataset.episodes()):
                replayed, snapshots = replay(env, episode)
                try:
                    marks = _mark(env, name, snapshots)
                except KeyboardInterrupt:
                    if not len(output.writer):
                        raise
                    found += [DemoAnnotation(later, "", "-", unmarked, "not reached before the end") for later in dataset.demos[number:]]
                    break
                if marks is None:
                    found.append(DemoAnnotation(name, "", replayed, unmarked, "skipped by the annotator"))
                    continue
                annotated = env.episode(snapshots, episode.actions, with_datagen_info=True)
                annotated.datagen_info |= signals_from(task.term_signals, marks, len(episode))
                annotated.success = True
                written = output.write(name, episode, annotated)
                found.append(DemoAnnotation(name, written, replayed, dict(zip(task.term_signals, marks, strict=True)), ""))
        env.close()
    return output.path, found


def _mark(env: MimicEnv, name: str, snapshots: np.ndarray) -> list[int] | None:
    """The steps a person marked, or None to skip the demo."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    state = Marks(env.task.term_signals, len(snapshots) - 1)
    descriptor = sys.stdin.fileno()
    saved = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        with Live(console=Console(stderr=True), auto_refresh=False) as live:
            while True:
                picture = draw_scene(env.task, look(env, snapshots[state.step], 0))
                live.update(
                    Group(Text(name, style="bold"), picture, Text(state.timeline(60)), Text(state.prompt(), style="bold"), Text(_HELP, style="dim")),
                    refresh=True,
                )
                key = _read_key()
                if key == "q":
                    return None
                if key == "n" and state.complete():
                    return state.steps
                state.press(key)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


def _read_key() -> str:
    """One key, arrows as the punctuation that does the same; end of input is Ctrl-C."""
    key = sys.stdin.read(1)
    if not key:
        raise KeyboardInterrupt
    if key == "\x1b":
        return _ARROWS.get(key + sys.stdin.read(2), "")
    return key.lower()
