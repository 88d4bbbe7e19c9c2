"""The browser as a device: its keys, whose releases it knows of, its gamepads, and the buttons of the page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mimicctl.config import RecordSettings
from mimicctl.devices import Command, Device, Event, OperatorView, Reading, shaping_for
from mimicctl.devices.driving import OPEN, gripper_after
from mimicctl.devices.hand_tracking import HandTracking
from mimicctl.devices.key_map import NAMED, KeyMap
from mimicctl.devices.pad_map import PadMap
from mimicctl.tasks.spec import TaskSpec
from mimicctl.web.inputs import Inputs, Sample

_PAGE_EVENTS = {"start": Event.START, "save": Event.SAVE, "reset": Event.RESET, "switch": Event.SWITCH, "quit": Event.QUIT}

# The standard layout of the browsers' Gamepad API, by SDL's names.
_PAD_AXES = ("LEFTX", "LEFTY", "RIGHTX", "RIGHTY")
_PAD_BUTTONS = (
    "A", "B", "X", "Y", "LEFTSHOULDER", "RIGHTSHOULDER", "TRIGGERLEFT", "TRIGGERRIGHT", "BACK", "START", "LEFTSTICK", "RIGHTSTICK",
    "DPAD_UP", "DPAD_DOWN", "DPAD_LEFT", "DPAD_RIGHT", "GUIDE",
)  # fmt: skip


class PageDevice:
    """What the page that drives asks for, with whichever of its inputs; they share one gripper.

    Args:
        settings: sensitivities and the like, as of the devices that the browser stands in for.

    Attributes:
        inputs: of all pages.
        key_map: of the browser's keyboard.
    """

    name = "web"
    human = True

    def __init__(self, task: TaskSpec, settings: RecordSettings) -> None:
        # Sensitivities of axes are not of hands, which are in metres.
        self._hands = HandTracking(settings.model_copy(update=dict.fromkeys(("position_sensitivity", "rotation_sensitivity", "dead_zone"))), task)
        self.inputs = Inputs(self._hands.feed)
        self.key_map = KeyMap(settings.keys, on_floor=task.on_floor)
        self._pad_map = PadMap(settings.gamepad_map)
        self._keys_shape, self._pad_shape = (shaping_for(name, task, settings) for name in ("keyboard", "gamepad"))
        self._gripper, self._hands_used = OPEN, False
        self._one_arm = len(task.eef_names) == 1

    def start(self) -> None: ...

    def close(self) -> None: ...

    @property
    def state(self) -> str:
        """How the hands are followed, if hands drive."""
        return self._hands.state if self._hands_used else ""

    def help(self) -> str:
        return "  The browser drives; the page shows how. Ctrl-C here stops."

    def reset(self) -> None:
        self.inputs.sample()
        self.inputs.take_facts()
        self._hands.reset()
        self._hands_used = False
        self._gripper = OPEN

    def facts(self) -> dict[str, Any]:
        """Of the line to the browser since the last reset. The loop goes from an input to the picture of a command with it [ms]."""
        facts = self.inputs.take_facts()
        loop = {"median": float(np.median(facts.loops_ms)), "p99": float(np.percentile(facts.loops_ms, 99))} if facts.loops_ms else None
        line = {"messages": facts.messages, "skipped_messages": facts.skipped, "steps_without_news": facts.stale_steps, "loop_ms": loop}
        return line | ({"hands": self._hands.facts()} if self._hands_used else {})

    def command(self, view: OperatorView) -> Command:
        sample = self.inputs.sample()
        keys, pad = self._of_keys(sample), self._of_pad(sample)
        if not self._one_arm:
            # Keys and sticks have axes for one; hands drive both, and hold them still before they are there.
            self._hands_used |= sample.message is not None and sample.message.hands is not None
            hands = self._hands.command(view)
            return replace(hands, events=(*events_of(sample), *keys.events, *pad.events, *hands.events))
        for reading in (keys, pad):
            self._gripper = gripper_after(self._gripper, reading)
        delta, events = self._keys_shape(keys.axes) + self._pad_shape(pad.axes), (*events_of(sample), *keys.events, *pad.events)
        # Asked even when the message is stale: it keeps the hand's anchor and says that nothing is seen.
        if self._hands_used or (sample.message is not None and sample.message.hands is not None):
            self._hands_used = True
            hands = self._hands.command(view)
            delta, events, self._gripper = delta + hands.delta, (*events, *hands.events), hands.gripper
        return Command(delta, self._gripper, events)

    def _of_keys(self, sample: Sample) -> Reading:
        held, pressed = set(sample.message.keys if sample.message is not None else ()), _pressed(sample, "key:")
        # A tap that began and ended since the last sample counts as well.
        held |= set(pressed if sample.message is not None else ())
        return self.key_map.reading([NAMED.get(name, name) for name in held], [NAMED.get(name, name) for name in pressed], None)

    def _of_pad(self, sample: Sample) -> Reading:
        pressed = [_PAD_BUTTONS[int(number)] for number in _pressed(sample, "pad:") if number.isdigit() and int(number) < len(_PAD_BUTTONS)]
        pad = sample.message.pad if sample.message is not None else None
        sticks = dict(zip(_PAD_AXES, pad.axes, strict=False)) if pad is not None else {}
        buttons = dict(zip(_PAD_BUTTONS, pad.buttons, strict=False)) if pad is not None else {}
        return self._pad_map.reading(lambda name: float(np.clip(sticks.get(name, 0.0), -1, 1)), lambda name: buttons.get(name, 0.0) > 0.5, pressed, None)


class PageButtons:
    """A device that drives by itself, with the page for a look and for its buttons."""

    def __init__(self, device: Device) -> None:
        self._device, self.inputs = device, Inputs()
        self.name, self.human = device.name, device.human
        if hasattr(device, "facts"):
            self.facts = device.facts

    def start(self) -> None:
        self._device.start()

    def close(self) -> None:
        self._device.close()

    def help(self) -> str:
        return self._device.help()

    def reset(self) -> None:
        self.inputs.sample()
        self._device.reset()

    def command(self, view: OperatorView) -> Command:
        command = self._device.command(view)
        return replace(command, events=(*command.events, *events_of(self.inputs.sample())))


def events_of(sample: Sample) -> tuple[Event, ...]:
    """What the page's own buttons ask for."""
    return tuple(_PAGE_EVENTS[name] for name in _pressed(sample, "ui:") if name in _PAGE_EVENTS)


def _pressed(sample: Sample, kind: str) -> list[str]:
    """Names without their kind, each as often as it was pressed. In what order is not known."""
    return [name.removeprefix(kind) for name, times in sample.presses.items() if name.startswith(kind) for _ in range(min(times, 8))]
