"""Which control does what: a device's usual map with the changes of the config file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mimicctl.devices.base import Event
from mimicctl.errors import UserError, listed

EVENTS = {"start": Event.START, "save": Event.SAVE, "reset": Event.RESET}
"""What maps call them."""


def actions_by_control(
    usual: Mapping[str, str], changes: Mapping[str, str], control: Callable[[str, str], str | None], *, setting: str, controls: str
) -> dict[str, str]:
    """
    Args:
        usual: what is done, to the name of the control that does it.
        control: what the device calls the control of this action and name; None if it has none like that.
        setting: where the changes come from.
        controls: names of all there are, for a person.

    Raises:
        UserError: there is nothing like that to be done, no such control, or one that is to do two things; all at once.
    """
    actions: dict[str, str] = {}
    wrong = [f'"{action}" is nothing to be done' for action in changes if action not in usual]
    for action, usually in usual.items():
        name = changes.get(action, usually)
        found = control(action, name)
        if found is None:
            wrong.append(f'"{name}" cannot be used for {action}')
        elif found in actions:
            wrong.append(f'"{name}" would do both {actions[found]} and {action}')
        else:
            actions[found] = action
    if wrong:
        raise UserError("The map of controls does not fit.", where=f"{setting}\n      {listed(wrong)}", do=f"there are {', '.join(usual)}; {controls}")
    return actions
