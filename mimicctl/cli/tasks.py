"""`mimicctl tasks`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import typer

from mimicctl.cli.common import Json, Outcome, Table, show

if TYPE_CHECKING:
    from mimicctl.tasks import SubtaskConstraint

_CONTROL = {"rel": "relative", "abs": "absolute", "velocity": "velocities"}

app = typer.Typer(help="The tasks there are.", invoke_without_command=True)


@app.callback()
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """List the tasks."""
    if context.invoked_subcommand:
        return
    from mimicctl.tasks import DEFAULT_TASK, list_tasks

    rows = [(t.task_id, ", ".join(t.eef_names), sum(len(s) for s in t.subtasks.values()), t.description) for t in list_tasks()]
    data = {"default": DEFAULT_TASK, "tasks": [dataclasses.asdict(t) for t in list_tasks()]}
    show(Outcome("", [("default", DEFAULT_TASK)], [Table("Tasks", ("id", "eefs", "subtasks", "what"), rows)], "mimicctl tasks show ID", data), as_json)


@app.command("show")
def show_task(task_id: str, as_json: Json = False) -> None:
    """One task: objects, reset range, subtasks, cameras."""
    from mimicctl.tasks import find_task

    task = find_task(task_id)
    reset = task.reset
    facts = [
        ("id", task.task_id),
        ("what", task.description),
        ("actions", f"{task.action_dim}, {_CONTROL[task.control]}, at {task.control_hz:g} Hz"),
        ("objects", ", ".join(f"{o.name} ({o.label}, {1000 * o.edge:.1f} mm)" for o in task.objects)),
        *(
            [("obstacles", ", ".join(f"{o.name} ({' x '.join(f'{200 * half:g}' for half in o.half_size)} cm)" for o in task.obstacles))]
            if task.obstacles
            else []
        ),
        ("start states", f"x {reset.x[0]} to {reset.x[1]} m, y {reset.y[0]} to {reset.y[1]} m, yaw {reset.yaw[0]:.3g} to {reset.yaw[1]:.3g} rad"),
        *((f"start of {name}", f"y {low} to {high} m") for name, (low, high) in reset.y_of.items()),
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
    show(Outcome("", facts, tables, data=dataclasses.asdict(task)), as_json)


def _constraint_row(constraint: SubtaskConstraint) -> tuple[str, str, str, str]:
    first, second = (f"{eef} {number}" for eef, number in constraint.eef_subtask_constraint_tuple)
    if constraint.constraint_type == "sequential":
        steps = constraint.sequential_min_time_diff
        return "sequential", first, second, "begins after" if steps < 0 else f"ends {steps} steps after"
    return "coordination", first, second, constraint.coordination_scheme + (", begin together" if constraint.coordination_synchronize_start else "")
