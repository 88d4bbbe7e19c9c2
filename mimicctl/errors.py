"""The one kind of exception that a user is meant to read."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """A mistake in what was asked for: bad input, a missing file, a setting that cannot work.

    The command line shows it as up to three lines and exits with code 2. Nothing may have been
    written by the time it is raised.

    Args:
        what: one sentence that says what is wrong.
        where: the file, demo, key or setting it is wrong in.
        do: what to do about it, as a command where there is one.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.do = what, where, do

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  in  {self.where}")
        if self.do:
            lines.append(f"  do  {self.do}")
        return "\n".join(lines)


class RunFailed(UserError):
    """The request was sound but the run did not reach its goal. Exit code 1."""

    exit_code = 1


_MOST_LISTED = 12


def listed(problems: Sequence[str]) -> str:
    """Several places for `where`, one a line; beyond a dozen their number."""
    lines = list(problems[:_MOST_LISTED])
    if len(problems) > _MOST_LISTED:
        lines.append(f"... and {len(problems) - _MOST_LISTED} more")
    return "\n      ".join(lines)
