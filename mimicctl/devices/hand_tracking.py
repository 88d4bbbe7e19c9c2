"""Tracked hands and controllers as a device. Whoever has them, a web page or a program of one's own, feeds samples; the session takes commands."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mimicctl.devices.base import Command, Event, OperatorView
from mimicctl.devices.driving import SPEEDS, shaping
from mimicctl.devices.hand_retargeting import HandFeel, HandRetargeter
from mimicctl.devices.hands import INDEX_TIP, LITTLE_TIP, RING_TIP, SIDES, HandSample, grasps, pinches, squeezes
from mimicctl.errors import UserError
from mimicctl.tasks import TaskSpec

if TYPE_CHECKING:
    from mimicctl.config import RecordSettings

_STALE = 0.5
"""[s] Samples older than this are as good as none."""
_METRES_A_SECOND, _RADIANS_A_SECOND = 1.0, 3.0
"""How far ahead of the arm its target may be, times the control rate. The arm itself, which lags, is slower."""
_GESTURE_SECONDS = 0.6
"""For which a gesture is held before it counts, since fingers touch by chance, too."""

_BUTTONS = (("primary", (Event.START, Event.SAVE)), ("secondary", (Event.RESET,)))
"""A session heeds START only where it waits for it, and SAVE only while it records."""
_GESTURES = ((RING_TIP, (Event.START, Event.SAVE)), (LITTLE_TIP, (Event.RESET,)))


class Feeder(Protocol):
    """What brings samples from outside, between `start` and `close`."""

    def start(self) -> None: ...

    def close(self) -> None: ...

    def help(self) -> str: ...


class HandTracking:
    """
    Args:
        settings: which hand, and how the arm follows it.
        task: what units its commands have. Where it has an eef "left" and one "right", each follows the hand of that name.
        feeder: makes what calls `feed` of its own accord between start and close; None if somebody else does.
        clock: [s]; for tests.

    Raises:
        UserError: a setting is of axes, which a hand has none of, or names one that does not exist.
    """

    name = "hands"
    human = True

    def __init__(
        self,
        settings: RecordSettings,
        task: TaskSpec,
        *,
        feeder: Callable[[HandTracking], Feeder] = lambda tracking: _Elsewhere(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._unit = settings, task.command_scale
        self._feeder, self._clock = feeder(self), clock
        sides = task.eef_names if len(task.eef_names) > 1 else (settings.hand,)
        self._arms = {eef: _Arm(side, HandRetargeter(_feel(settings, task), task.fingers)) for eef, side in zip(task.eef_names, sides, strict=True)}
        self._gesturing = [side for side in SIDES if side not in sides] or list(SIDES)
        self._lock = threading.Lock()
        self._samples: Mapping[str, HandSample] = {}
        self._at: float | None = None
        self._buttons: set[tuple[str, str]] = set()
        self._gestures = {tip: _Held() for tip, _ in _GESTURES}
        self._refused = ""
        self.state = "no input yet"
        self._events: list[Event] = []
        self._forget_counts()

    def start(self) -> None:
        self._feeder.start()

    def close(self) -> None:
        self._feeder.close()

    def reset(self) -> None:
        """Forget the anchor, what was asked for and not yet taken, and the counts. A clutch that is held goes on from where the arm is now."""
        with self._lock:
            self._events.clear()
            self._forget_counts()
        for arm in self._arms.values():
            arm.retargeter.reset()

    def _forget_counts(self) -> None:
        self._fed = self._late = self._steps = self._unseen = 0
        self._ages: deque[float] = deque(maxlen=100_000)
        self._taken: float | None = None

    def feed(self, samples: Mapping[str, HandSample], at: float | None = None) -> None:
        """The latest there is of both hands, from any thread. The last call counts; one that is older than that is dropped.

        Args:
            samples: "left" and "right"; a hand that is not seen is left out.
            at: when they were so, `time.monotonic()`; None: now.
        """
        with self._lock:
            # A time to come, of a clock that is wrong, would make all that follows late.
            at = self._clock() if at is None else min(at, self._clock())
            if self._at is not None and at < self._at:
                self._late += 1
                return
            self._fed += 1
            self._refused = ""
            self._samples, self._at = {side: sample for side, sample in samples.items() if sample.tracked}, at
            self._events += self._asked(at)

    def refuse(self, why: str) -> None:
        """Something came that was no sample; said until one comes that is."""
        with self._lock:
            self._refused = f"the last message was refused: {why}"

    def _asked(self, at: float) -> list[Event]:
        """What the latest samples ask for that those before did not."""
        pressed = {(side, name) for side, sample in self._samples.items() for name, _ in _BUTTONS if getattr(sample, name)}
        new = {name for _, name in pressed - self._buttons}
        # A controller that is lost for a moment has not let go of its buttons.
        self._buttons = pressed | {(side, name) for side, name in self._buttons if side not in self._samples}
        asked = [event for name, events in _BUTTONS if name in new for event in events]
        for tip, events in _GESTURES:
            hands = [self._samples[side] for side in self._gesturing if side in self._samples]
            shown = any(pinches(hand, tip) is True and pinches(hand, INDEX_TIP) is False for hand in hands)
            if self._gestures[tip].for_long(shown, at):
                asked += events
        return asked

    @property
    def _helper(self) -> str:
        """The hand that drives no arm; "" if both do."""
        return self._gesturing[0] if len(self._arms) == 1 else ""

    def command(self, view: OperatorView) -> Command:
        with self._lock:
            samples, at, events = self._samples, self._at, tuple(self._events)
            self._events.clear()
        fresh = at is not None and self._clock() - at < _STALE
        seen = {eef: samples.get(arm.side) if fresh else None for eef, arm in self._arms.items()}
        self._count(at, None not in seen.values())
        first, *rest = self._arms
        commands = {}
        for eef, view_of_it in {first: view, **view.others}.items():
            arm, sample = self._arms[eef], seen[eef]
            arm.clutch = self._engaged(arm, sample, samples.get(self._helper))
            delta = arm.retargeter.follow(sample if arm.clutch else None, view_of_it.eef_pose)
            commands[eef] = Command(delta / self._unit, arm.retargeter.gripper, events)
        self.state = self._state(at, fresh, {eef: sample is not None for eef, sample in seen.items()})
        return replace(commands[first], others={eef: commands[eef] for eef in rest})

    def _engaged(self, arm: _Arm, sample: HandSample | None, helper: HandSample | None) -> bool:
        if sample is None:
            return False
        # Where both hands drive, there is none left to pinch for a bare one.
        if self._settings.hand_clutch == "always" or (sample.joints is not None and not self._helper):
            return True
        held = squeezes(sample) if sample.joints is None else helper is not None and grasps(helper)
        return arm.clutch if held is None else held

    def _state(self, at: float | None, fresh: bool, seen: Mapping[str, bool]) -> str:
        """For the operator."""
        if self._refused:
            return self._refused
        if at is None or not fresh:
            return "no input yet" if at is None else f"no input for {self._clock() - at:.0f} s"
        states = []
        for eef, arm in self._arms.items():
            if not seen[eef]:
                states.append(f"the {arm.side} hand is not seen")
                continue
            follows = "following" if arm.clutch else "clutch released"
            states.append(follows if self._helper else f"{arm.side} {follows}")
        return ", ".join(states)

    def _count(self, at: float | None, seen: bool) -> None:
        self._steps += 1
        self._unseen += not seen
        if at is not None and at != self._taken:
            self._taken = at
            self._ages.append(self._clock() - at)

    def facts(self) -> dict[str, Any]:
        """What came in since the last reset, for the lineage. Ages in milliseconds, of each sample when a control step took it."""
        ages = 1000 * np.array(self._ages)
        return {
            "hand": self._settings.hand if self._helper else "both",
            "mode": self._settings.hand_mode,
            "samples": self._fed,
            "late_samples": self._late,
            "steps": self._steps,
            "steps_unseen": self._unseen,
            "age_ms": {"median": float(np.median(ages)), "p99": float(np.percentile(ages, 99))} if len(ages) else None,
        }

    def help(self) -> str:
        hand, helper = self._settings.hand, self._helper
        hold = self._settings.hand_clutch == "hold"
        if not helper:
            lines = ["  Each arm follows the hand of its side" + (", a controller while you squeeze it." if hold else " whenever it is seen.")]
        elif hold:
            lines = [
                f"  The arm follows the {hand} hand while you squeeze its controller;",
                f"  without one, while the {helper} hand pinches thumb and index finger.",
            ]
        else:
            lines = [f"  The arm follows the {hand} hand whenever it is seen."]
        lines += [
            f"  Gripper: {f'the {hand}' if helper else 'that'} trigger, or thumb and index finger (together is closed).",
            "  A or X begin, or save as it is   B or Y discard, start again   Ctrl-C stop",
            f"  Or {f'the {helper}' if helper else 'a'} thumb, held: to ring finger begin, save; to little finger discard.",
        ]
        return "\n".join([line for line in (self._feeder.help(),) if line] + lines)


@dataclass
class _Arm:
    """One that follows a hand.

    Attributes:
        side: of the hand.
        clutch: whether it follows now.
    """

    side: str
    retargeter: HandRetargeter
    clutch: bool = False


class _Elsewhere:
    """Somebody else calls `feed`."""

    def start(self) -> None: ...

    def close(self) -> None: ...

    def help(self) -> str:
        return ""


class _Held:
    """Whether something has been so for long enough; said once each time."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._said = False

    def for_long(self, so: bool, at: float) -> bool:
        if not so:
            self._since, self._said = None, False
            return False
        self._since = at if self._since is None else self._since
        due = not self._said and at - self._since >= _GESTURE_SECONDS
        self._said = self._said or due
        return due


def _feel(settings: RecordSettings, task: TaskSpec) -> HandFeel:
    for name in ("position_sensitivity", "rotation_sensitivity", "dead_zone"):
        if getattr(settings, name) is not None:
            what = f"record.{name} is of axes, which a hand has none of."
            raise UserError(what, where="--device hands", do="use record.sensitivity, record.axis_scale or record.hand_dead_bands")
    briskness = SPEEDS[settings.speed] / task.control_hz
    return HandFeel(
        absolute=settings.hand_mode == "absolute",
        scale=shaping((1.0, 1.0), factor=settings.sensitivity, invert=settings.invert, axis_scale=settings.axis_scale).scale,
        smoothing=settings.hand_smoothing,
        dead_bands=(settings.hand_dead_bands[0], settings.hand_dead_bands[1]),
        # Where fingers are followed, a wrist is, and whatever way it turns.
        yaw_only=not task.fingers if settings.hand_yaw_only is None else settings.hand_yaw_only,
        point=settings.hand_point,
        turn=settings.hand_turn,
        step=(_METRES_A_SECOND * briskness, _RADIANS_A_SECOND * briskness),
    )
