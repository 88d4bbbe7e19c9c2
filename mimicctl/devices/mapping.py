"""Maps of controls that a person may change: what is done, and the control for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mimicctl.devices.base import Event
from mimicctl.errors import UserError, listed

EVENTS = {"start": Event.START, "save": Event.SAVE, "reset": Event.RESET, "swing": Event.SWITCH}
"""What maps call them."""


def actions_by_control(
    names: Mapping[str, str], known: Iterable[str], control: Callable[[str, str], str | None], *, device: str, kind: str, setting: str, controls: str
) -> dict[str, str]:
    """Control, as the device calls it, to what it does.

    Args:
        names: what is done to the name of the control for it.
        known: what can be done.
        control: what the device calls the control of this action and name; None if it has none like that.
        device, kind, setting, controls: for a person: whose map it is, "key" or the like, where the names come from, and which there are.

    Raises:
        UserError: there is nothing like that to be done, no such control, or one that is to do two things; all at once.
    """
    actions: dict[str, str] = {}
    wrong = [f'"{action}" is nothing to be done' for action in names if action not in known]
    for action, name in names.items():
        found = control(action, name)
        if found is None:
            wrong.append(f'"{name}" (for {action}) is no {kind}')
        elif found in actions:
            wrong.append(f'"{name}" would do both {actions[found]} and {action}')
        else:
            actions[found] = action
    if wrong:
        do = f"there are {', '.join(known)}; {controls}"
        raise UserError(f"The map of the {device} does not fit.", where=f"{setting}\n      {listed(wrong)}", do=do)
    return actions
