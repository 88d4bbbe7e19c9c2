"""`mimicctl tasks`."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from mimicctl.cli.common import ConfigFile, Json, Outcome, Override, Seed, Table, note, reporting, resolve_settings, show

if TYPE_CHECKING:
    from mimicctl.tasks import ObjectSpec, ResetRange, SubtaskConstraint

_CONTROL = {"rel": "relative", "abs": "absolute", "velocity": "velocities"}

TaskId = Annotated[str, typer.Argument(help="Id of a task; mimicctl tasks lists them.")]

app = typer.Typer(help="The tasks there are, and tasks of your own.", invoke_without_command=True)


@app.callback()
def list_without_command(context: typer.Context, config: ConfigFile = None, override: Override = None, as_json: Json = False) -> None:
    """Without a command the tasks are listed."""
    if not context.invoked_subcommand:
        list_all(config, override, as_json)


@app.command("list")
def list_all(config: ConfigFile = None, override: Override = None, as_json: Json = False) -> None:
    """List the tasks: those that come with mimicctl, and those of the folder tasks, of tasks.paths and of other packages."""
    resolve_settings({}, config, override)
    from mimicctl.tasks import DEFAULT_TASK, broken_tasks, list_tasks, origin_of

    broken = broken_tasks()
    for problem in broken:
        note(f"Left out: {problem}")
    rows = [(t.task_id, origin_of(t), ", ".join(t.eef_names), sum(len(s) for s in t.subtasks.values()), t.description) for t in list_tasks()]
    data = {"default": DEFAULT_TASK, "tasks": [{**dataclasses.asdict(t), "origin": origin_of(t)} for t in list_tasks()]}
    data["broken"] = [{"what": problem.what, "where": problem.where, "do": problem.do} for problem in broken]
    table = Table("Tasks", ("id", "from", "eefs", "subtasks", "what"), rows)
    show(Outcome("", [("default", DEFAULT_TASK)], [table], "mimicctl tasks show ID", data), as_json)


@app.command("show")
def show_task(task_id: TaskId, config: ConfigFile = None, override: Override = None, as_json: Json = False) -> None:
    """One task: objects, reset range, subtasks, cameras."""
    resolve_settings({}, config, override)
    from mimicctl.tasks import find_task, origin_of

    task = find_task(task_id)
    reset = task.reset
    facts = [
        ("id", task.task_id),
        ("from", origin_of(task)),
        ("what", task.description),
        ("actions", f"{task.action_dim}, {_CONTROL[task.control]}, at {task.control_hz:g} Hz"),
        ("objects", ", ".join(f"{o.name} ({_called(o)}, {1000 * o.edge:.1f} mm)" for o in task.objects)),
        *(
            [("obstacles", ", ".join(f"{o.name} ({' x '.join(f'{200 * half:g}' for half in o.half_size)} cm)" for o in task.obstacles))]
            if task.obstacles
            else []
        ),
        ("start states", f"x {reset.x[0]} to {reset.x[1]} m, y {reset.y[0]} to {reset.y[1]} m, yaw {reset.yaw[0]:.3g} to {reset.yaw[1]:.3g} rad"),
        *((f"start of {item.name}", own) for item in task.objects if (own := _own_start(reset, item.name))),
        ("success", f"{task.goal.text}, for {task.success_hold_steps} steps"),
    ]
    rows = [
        (eef, i, s.name, s.object_ref or "-", s.term_signal or "-", str(s.term_offset_range), s.selection_strategy, s.action_noise, s.num_interpolation_steps)
        for eef, subtasks in task.subtasks.items()
        for i, s in enumerate(subtasks)
    ]
    columns = ("eef", "#", "subtask", "object_ref", "ends with", "offset", "selection", "noise", "interpolation")
    tables = [Table("Subtasks", columns, rows)]
    if task.constraints:
        tables.append(Table("Constraints", ("type", "between", "and", "how"), [_constraint_row(c) for c in task.constraints]))
    if task.cameras:
        seen = [(c.name, c.parent or "env", f"{c.height} x {c.width}", ", ".join(c.modalities)) for c in task.cameras]
        tables.append(Table("Cameras", ("camera", "fixed to", "pixels", "sees"), seen))
    show(Outcome("", facts, tables, data={**dataclasses.asdict(task), "origin": origin_of(task)}), as_json)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="What the task is called, as in sort-cubes.")],
    like: Annotated[Literal["lift", "stack"], typer.Option(help="What it is at first: one cube to lift, or three to stack.")] = "lift",
    as_json: Json = False,
) -> None:
    """Write a task file that runs at once, to be changed from there."""
    from mimicctl.authoring.scaffold import write_scaffold

    made = write_scaffold(name, like, Path.cwd())
    show(Outcome("Wrote a task.", [("file", made.path), ("id", made.task_id)], next_command=f"mimicctl tasks check {made.task_id}"), as_json)


@app.command()
def check(
    task_id: TaskId,
    resets: Annotated[int, typer.Option(min=1, help="Start states that the scripted operator tries.")] = 10,
    input_file: Annotated[Optional[Path], typer.Option(help="Look at these demonstrations instead of the scripted operator's.", show_default=False)] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Try all that the data loop asks of a task; exit code 1 if anything fails."""
    run_config = resolve_settings({"seed": seed}, config, override).config
    from mimicctl.authoring.check import as_dict, check_task, is_complete
    from mimicctl.tasks import find_task

    task = find_task(task_id)
    with nullcontext() if input_file else reporting("Attempts", resets) as reporter:
        findings = check_task(task, resets=resets, seed=run_config.seed, input_file=input_file, on_attempt=lambda done: reporter.update(done, ""))
    failed = [finding for finding in findings if not finding.ok]
    rows = [(f.check, "ok" if f.ok else "FAILED", f"{f.what}\ndo  {f.do}" if f.do else f.what) for f in findings]
    said = f"{len(failed)} of {len(findings)} checks failed" if failed else f"all {len(findings)} checks passed"
    title = f"{task.task_id}: {said}{'' if is_complete(findings) else '; those that need what failed were left out'}."
    following = "" if failed else f"mimicctl record --task {task.task_id}"
    show(Outcome(title, tables=[Table("", ("check", "", "what was seen"), rows)], next_command=following, data=as_dict(task, findings)), as_json)
    if failed:
        raise typer.Exit(1)


def _called(item: ObjectSpec) -> str:
    """What people call it, and what it may look like."""
    return f"{item.label}: {' or '.join(instance.label for instance in item.instances)}" if item.instances else item.label


def _own_start(reset: ResetRange, name: str) -> str:
    """In which ranges of its own an object starts."""
    own = (("x", "m", reset.x_of), ("y", "m", reset.y_of), ("yaw", "rad", reset.yaw_of))
    if name in reset.inside:
        return f"in the middle of the {reset.inside[name][0]}"
    return ", ".join(f"{axis} {spans[name][0]:.3g} to {spans[name][1]:.3g} {unit}" for axis, unit, spans in own if name in spans)


def _constraint_row(constraint: SubtaskConstraint) -> tuple[str, str, str, str]:
    first, second = (f"{eef} {number}" for eef, number in constraint.eef_subtask_constraint_tuple)
    if constraint.constraint_type == "sequential":
        steps = constraint.sequential_min_time_diff
        return "sequential", first, second, "begins after" if steps < 0 else f"ends {steps} steps after"
    return "coordination", first, second, constraint.coordination_scheme + (", begin together" if constraint.coordination_synchronize_start else "")
