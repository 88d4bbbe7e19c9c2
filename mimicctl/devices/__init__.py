"""Teleoperation devices, by name: those that come with mimicctl, and those of other packages.

Another package adds one by an entry point in the group `mimicctl.devices`: a function of the `RecordSettings` that gives a `Device`, or an
`AxisSource`, which is driven like the keyboard.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from mimicctl.devices.base import AXES, AxisSource, Command, Device, Event, OperatorView, Reading
from mimicctl.errors import UserError
from mimicctl.tasks import Arrive, HandOver, Lift, LiftTogether, PlaceIn, Pour, PutInto, Stack, TaskSpec

if TYPE_CHECKING:
    from mimicctl.config import RecordSettings
    from mimicctl.devices.driving import Shaping

__all__ = ["AXES", "AxisSource", "Command", "Device", "Event", "OperatorView", "Reading", "device_names", "lacking", "make_device", "refuse_body", "shaping_for"]

GROUP = "mimicctl.devices"
"""Of entry points by which other packages add devices."""


@dataclass(frozen=True)
class _Feel:
    """What a device does unless the settings say otherwise.

    Attributes:
        sensitivities: raw action units at full deflection, of translation and of rotation: Isaac Lab's for this task.
        dead_zone, axis_scale: as in the settings.
    """

    sensitivities: tuple[float, float] = (0.05, 0.05)
    dead_zone: float = 0.0
    axis_scale: Mapping[str, float] = field(default_factory=dict)


_FEELS = {
    "keyboard": _Feel(),
    # The D-pad, which is either pressed or not, is scaled as by Isaac Lab. Sticks do not come back to their very centre: Isaac Lab's dead zone of
    # 0.01 is less than the play of most, and the arm would creep; 0.24, which Xbox games are advised to use, costs a quarter of the way.
    "gamepad": _Feel((0.1, 0.1), 0.1, {"roll": 0.8, "pitch": 0.8}),
    "spacemouse": _Feel(),
    "udp": _Feel(),
    "websocket": _Feel(),
}

_FLAT = {"z": 0.0, "roll": 0.0, "pitch": 0.0}
"""Axes that a base on a floor does not have."""
# Isaac Lab's SE(2) devices: 0.8 m/s ahead, 0.4 m/s sideways, 1 rad/s; with a gamepad 1, 1, 1.
_SE2_FEEL = _Feel((0.8, 1.0), axis_scale={**_FLAT, "y": 0.5})
_SE2_FEELS = {"gamepad": _Feel((1.0, 1.0), 0.1, _FLAT)}


def device_names() -> list[str]:
    """What --device takes."""
    return [*_FEELS, "hands", "isaac-teleop", "scripted", *(found.name for found in entry_points(group=GROUP))]


def make_device(task: TaskSpec, settings: RecordSettings, seed: int) -> Device:
    """The device that the settings name.

    Args:
        seed: of the scripted operator's choices.

    Raises:
        UserError: there is none of that name, or one of another package cannot be made.
    """
    if settings.device == "scripted":
        return _scripted(task, settings.speed, seed)
    if settings.device == "isaac-teleop":
        from mimicctl.devices.isaac_teleop import IsaacTeleop

        return IsaacTeleop(task, settings)
    refuse_body(task, f"--device {settings.device}")
    if settings.device == "hands":
        from mimicctl.devices.hand_socket import hands_over_websocket

        if task.on_floor:
            raise UserError(f"{task.task_id} has no arm for a hand to move.", where="--device hands", do="drive it with the keyboard or a gamepad")
        return hands_over_websocket(task, settings)
    source = _source(task, settings)
    if len(task.eef_names) > 1 and not hasattr(source, "command"):
        raise UserError(
            f"{task.task_id} has {len(task.eef_names)} arms, and {settings.device} has axes for one.",
            where="--device",
            do="use --device hands, --device scripted, or --web, which takes both hands of a headset",
        )
    return source if hasattr(source, "command") else _driven(source, task, settings)


def lacking(task: TaskSpec) -> tuple[str, ...]:
    """Axes that the task's robot does not have."""
    if task.on_floor:
        return tuple(_FLAT)
    return ("roll", "pitch") if task.robot == "cable_robot" else ()


def refuse_body(task: TaskSpec, where: str) -> None:
    """UserError if a person would have to drive the robot's body beside its arms: no device does."""
    if task.has_body:
        do = "use --device scripted, or generate from the demonstrations that come with the task"
        raise UserError(f"{task.task_id} has a body beside its arms, and no device of a person drives both.", where=where, do=do)


def _source(task: TaskSpec, settings: RecordSettings) -> AxisSource | Device:
    if settings.device == "keyboard":
        from mimicctl.devices.keyboard import Keyboard

        return Keyboard(settings.keys, on_floor=task.on_floor)
    if settings.device == "gamepad":
        from mimicctl.devices.gamepad import Gamepad

        return Gamepad(settings.gamepad, settings.gamepad_map)
    if settings.device == "spacemouse":
        from mimicctl.devices.spacemouse import SpaceMouse

        return SpaceMouse(serial=settings.spacemouse_serial)
    if settings.device == "udp":
        from mimicctl.devices.udp import UdpSource

        return UdpSource(settings.udp_address)
    if settings.device == "websocket":
        from mimicctl.devices.websocket import WebSocketSource

        return WebSocketSource(settings.websocket_address)
    for found in entry_points(group=GROUP):
        if found.name == settings.device:
            return _of_another_package(found, settings)
    raise UserError(f'There is no device "{settings.device}".', where="--device", do=f"choose one of {', '.join(device_names())}")


def _of_another_package(found: EntryPoint, settings: RecordSettings) -> AxisSource | Device:
    try:
        return found.load()(settings)
    except UserError:
        raise
    except Exception as error:
        # Whatever somebody else's code does; it is named, so that its author is asked and not we.
        what = f"The device {found.name} of {found.value} cannot be made ({type(error).__name__}: {error})."
        raise UserError(what, where="--device", do="mend or reinstall that package, or choose another device") from error


def _driven(source: AxisSource, task: TaskSpec, settings: RecordSettings) -> Device:
    from mimicctl.devices.driving import Driven

    note = ""
    if task.on_floor and settings.device != "keyboard":
        note = "  A base goes along x and y and turns by yaw; the other axes and the gripper do nothing."
    elif not task.on_floor and (axes := lacking(task)):
        note = f"  This robot has no {' and no '.join(axes)}; what is said to move them does nothing."
    return Driven(source, shaping_for(settings.device, task, settings), note)


def shaping_for(device: str, task: TaskSpec, settings: RecordSettings) -> Shaping:
    """How the axes of a device of that name are shaped, by its own feel for such a task and the settings.

    Raises:
        UserError: the settings name an axis that there is not.
    """
    from mimicctl.devices.driving import SPEEDS, shaping

    feel = _SE2_FEELS.get(device, _SE2_FEEL) if task.on_floor else _FEELS.get(device, _Feel())
    asked = (settings.position_sensitivity, settings.rotation_sensitivity)
    return shaping(
        tuple(mine if mine is not None else theirs for mine, theirs in zip(asked, feel.sensitivities, strict=True)),
        factor=settings.sensitivity * SPEEDS[settings.speed],
        invert=settings.invert,
        axis_scale={axis: feel.axis_scale.get(axis, 1.0) * settings.axis_scale.get(axis, 1.0) for axis in (*feel.axis_scale, *settings.axis_scale)},
        dead_zone=feel.dead_zone if settings.dead_zone is None else settings.dead_zone,
    )


def _scripted(task: TaskSpec, speed: str, seed: int) -> Device:
    from mimicctl.devices.scripted import PickAndLift, PickAndPlace, PickAndPutInto, ScriptedOperator
    from mimicctl.devices.scripted_carry import ScriptedCarrier
    from mimicctl.devices.scripted_drive import ScriptedDriver
    from mimicctl.devices.scripted_hand_over import ScriptedHandOver
    from mimicctl.devices.scripted_pair import ScriptedPair
    from mimicctl.devices.scripted_place import ScriptedPlace
    from mimicctl.devices.scripted_pour import ScriptedPour

    # What is placed goes into a bin of obstacles.
    if task.has_body and isinstance(task.goal, PutInto):
        return ScriptedCarrier(task, speed=speed, seed=seed)
    if task.obstacles and not isinstance(task.goal, PlaceIn):
        what = f"The scripted operator of {task.task_id} would run into the {task.obstacles[0].name}."
        raise UserError(what, where="--device scripted", do=f"drive yourself, or generate from demonstrations of {task.sources_of or 'a person'}")
    match task.goal:
        case Stack(names):
            errands = [PickAndPlace(up.name, low.name, up.edge, low.edge) for low, up in itertools.pairwise(task.object(name) for name in names)]
        case Lift(name, height):
            errands = [PickAndLift(name, height)]
        case PutInto(name, container, _, (_, _, floor)):
            calm = 0 if task.swing_cancellation is None else round(task.control_hz)
            errands = [PickAndPutInto(task.object(name), task.object(container), floor, calm)]
        case PlaceIn():
            return ScriptedPlace(task, speed=speed, seed=seed)
        case Pour():
            return ScriptedPour(task, speed=speed, seed=seed)
        case HandOver():
            return ScriptedHandOver(task, speed=speed, seed=seed)
        case LiftTogether():
            return ScriptedPair(task.goal, speed=speed, seed=seed)
        case Arrive(mark):
            return ScriptedDriver(mark, task.hand[0].half_size[:2], {item.name: item.edge for item in task.objects if not item.is_mark}, speed=speed, seed=seed)
    return ScriptedOperator(errands, speed=speed, seed=seed)
