"""How attempts begin and end, by the settings: by themselves, or, in a session, by the operator."""

from __future__ import annotations

from mimicctl.config import RecordSettings
from mimicctl.recording.session import Rules
from mimicctl.tasks import TaskSpec

SESSION_PAD = {"start": "start", "reset": "back", "save": "a"}
"""Buttons of a gamepad in a session, where the settings name no others: Start begins and ends, Back (Select) discards."""


def for_device(settings: RecordSettings) -> RecordSettings:
    """The settings as a device is to have them."""
    return settings.model_copy(update={"gamepad_map": SESSION_PAD | settings.gamepad_map}) if settings.session else settings


def rules_of(settings: RecordSettings, task: TaskSpec, wanted: int, *, human: bool) -> Rules:
    """
    Args:
        wanted: demonstrations; 0 is without end.
        human: whether a person drives, or at least begins.
    """
    start, step_hz = ("motion", task.control_hz) if human else ("at_once", 0.0)
    if settings.session:
        start = "command"
    return Rules(
        wanted,
        settings.num_success_steps,
        by_hand=settings.session,
        start=start if settings.start == "auto" else settings.start,
        countdown=settings.countdown,
        rest=settings.rest,
        step_hz=step_hz if settings.step_hz is None else settings.step_hz,
    )
