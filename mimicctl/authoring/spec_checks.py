"""Checks of a task's spec alone. Each gives what it saw, or raises `Wrong`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mimicctl.authoring.wrong import Wrong
from mimicctl.errors import UserError
from mimicctl.generation.schedule import rehearse
from mimicctl.tasks import Arrive, HandOver, Lift, LiftTogether, ObjectSpec, PlaceIn, Pour, PutInto, Stack, TaskSpec

_EEFS = {
    "franka": ("franka",),
    "tiago": ("base",),
    "cable_robot": ("gripper",),
    "dual_franka": ("left", "right"),
    "g1": ("left", "right"),
    "gr1t2": ("left", "right"),
    "mobile_g1": ("body", "left", "right"),
}


def _names(task: TaskSpec) -> str:
    names = [item.name for item in task.objects]
    bodies = [*names, *(instance.name for item in task.objects for instance in item.instances)]
    if twice := sorted({name for name in bodies if bodies.count(name) > 1}):
        raise Wrong(f"there are two objects {', '.join(twice)}", "give each object a name of its own")
    for item in task.objects:
        _instances(item)
    eefs = _EEFS[task.robot]
    if task.eef_names != eefs:
        written = ", ".join(f"{eef!r}: ..." for eef in eefs)
        raise Wrong(f"subtasks are of {', '.join(task.eef_names) or 'no eef'}; {task.robot} has {', '.join(eefs)}", f"write subtasks={{{written}}}")
    match task.goal:
        case Stack(order):
            wanted = [("the goal", name) for name in order]
        case Lift(name) | LiftTogether(name) | PlaceIn(name):
            wanted = [("the goal", name)]
        case PutInto(name, container) | HandOver(name, container):
            wanted = [("the goal", name), ("the goal", container)]
        case Pour(contents, beaker, bowl, bin_, scale):
            wanted = [("the goal", name) for name in (contents, beaker, bowl, bin_, scale)]
        case Arrive(mark):
            wanted = [("the goal", mark)]
    of_subtasks = [(f'"{s.name}"', s.object_ref, task.references(eef)) for eef in eefs for s in task.subtasks[eef] if s.object_ref is not None]
    for who, name, known in [*((who, name, names) for who, name in wanted), *of_subtasks]:
        if name not in known:
            raise Wrong(f"{who} is about {name}, and there is no such object", f"name one of {', '.join(known)}")
    return f"{', '.join(names)}; every subtask and the goal name one of them"


def _instances(item: ObjectSpec) -> None:
    """What is read off an object, as where it is held, must hold of each of its instances."""
    for instance in item.instances:
        if not instance.name.startswith(f"{item.name}/"):
            raise Wrong(f"an instance of {item.name} is called {instance.name}", f'call it "{item.name}/..."')
        if _to_the_touch(instance) != _to_the_touch(item):
            raise Wrong(f"{instance.name} is not like {item.name} but for its looks", "let instances differ in labels and colours alone")


def _to_the_touch(item: ObjectSpec) -> ObjectSpec:
    """The object without what is for the eye and for people."""
    black = (0.0, 0.0, 0.0, 1.0)
    solid = tuple(replace(part, rgba=black) for part in item.parts if part.solid)
    return replace(item, name="", label="", rgba=black, parts=solid, labels=(), instances=())


def _subtasks(task: TaskSpec) -> str:
    for eef, subtasks in task.subtasks.items():
        if not subtasks:
            raise Wrong(f"{eef} has no subtask", "give it at least one")
        for subtask in subtasks[:-1]:
            if not subtask.term_signal:
                raise Wrong(f'"{subtask.name}" has no term_signal, and it is not the last', "name the signal that ends it")
        last = subtasks[-1]
        if last.term_signal or last.term_offset_range != (0, 0):
            raise Wrong(f'"{last.name}" is the last: it ends with the demonstration', "give it term_signal None and term_offset_range (0, 0)")
        for subtask in subtasks:
            low, high = subtask.term_offset_range
            if low > high:
                raise Wrong(f'"{subtask.name}" has a term_offset_range from {low} to {high}', "put the lower end first")
            steps = 0 if subtask.num_interpolation_steps == "auto" else subtask.num_interpolation_steps
            if subtask.nn_k < 1 or not min(subtask.action_noise, subtask.contact_noise or 0.0, steps, subtask.num_fixed_steps) >= 0:
                raise Wrong(f'"{subtask.name}" has a number below what it can be', "noise and steps are at least 0, nn_k is at least 1")
    signals = task.term_signals
    if len(set(signals)) < len(signals):
        raise Wrong("two subtasks end with the same signal", "a signal rises once; end each with its own")
    return " > ".join(s.name for subtasks in task.subtasks.values() for s in subtasks)


def _reset_range(task: TaskSpec) -> str:
    reset = task.reset
    common = {"x": reset.x, "y": reset.y, "yaw": reset.yaw}
    own = {(axis, name): span for axis, spans in (("x", reset.x_of), ("y", reset.y_of), ("yaw", reset.yaw_of)) for name, span in spans.items()}
    for name, (low, high) in {**common, **{f"{axis}_of[{name!r}]": span for (axis, name), span in own.items()}}.items():
        if not low <= high:
            raise Wrong(f"reset.{name} goes from {low} to {high}", "put the lower end first")
    names = [item.name for item in task.objects]
    for (axis, name), (low, high) in own.items():
        if name not in names:
            raise Wrong(f"reset.{axis}_of is about {name}, and there is no such object", f"name one of {', '.join(names)}")
        if low < common[axis][0] or high > common[axis][1]:
            what = f"{name} has a range of {axis} of its own, {low} to {high}, that leaves reset.{axis}"
            raise Wrong(what, f"make reset.{axis} as wide as the widest")
    for name, (container, _) in reset.inside.items():
        if name not in names or container not in names[: names.index(name)]:
            raise Wrong(f"reset.inside puts {name} into {container}, and there are no such objects in this order", "list the container before what is in it")
    if not min(reset.min_separation, reset.joint_noise, reset.base_noise) >= 0:
        raise Wrong("min_separation, joint_noise or base_noise is below 0", "all are at least 0")
    return f"{100 * (reset.x[1] - reset.x[0]):.0f} x {100 * (reset.y[1] - reset.y[0]):.0f} cm, {np.degrees(reset.yaw[1] - reset.yaw[0]):.0f} degrees"


def _constraints(task: TaskSpec) -> str:
    try:
        rehearse(task)
    except UserError as error:
        raise Wrong(f"{error.where}: {error.what.rstrip('.')}" if error.where else error.what, error.do) from None
    return f"{len(task.constraints)}, and all subtasks come to their end" if task.constraints else "none"


OF_THE_SPEC: tuple[tuple[str, Callable[[TaskSpec], str]], ...] = (
    ("names", _names),
    ("subtasks", _subtasks),
    ("reset range", _reset_range),
    ("constraints", _constraints),
)
