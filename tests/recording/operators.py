"""Devices that do what a list says."""

from __future__ import annotations

import numpy as np

from mimicctl.devices import Command, Event, OperatorView


def ask(event: Event) -> Command:
    return Command(np.zeros(6), 1.0, (event,))


class Says:
    """Gives the commands of a list, and then for ever the last one.

    Args:
        then: the last one.
    """

    name, human = "list", True

    def __init__(self, *commands: Command, then: Command | None = None) -> None:
        self.commands, self._then = list(commands), then or ask(Event.QUIT)

    def start(self) -> None: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...

    def help(self) -> str:
        return ""

    def command(self, view: OperatorView) -> Command:
        return self.commands.pop(0) if self.commands else self._then
