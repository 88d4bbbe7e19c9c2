"""A file that says how a run goes, for programs that watch over it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mimicctl.errors import UserError

_EVERY = 1.0
"""Seconds between two versions of the file."""

_REASONS = 5
"""Failures that are told of, the last ones."""


class StatusFile:
    """Replaces `path` about once a second with what `describe` returns, and once more at the end. A context manager.

    Its `state` is "running", then "finished", "interrupted" (Ctrl-C, SIGTERM) or "failed". A process that was killed leaves "running" behind, and `updated` stands still.

    Args:
        path: the file; None for none.
        describe: JSON-able facts about the run; called in a thread.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path | None, describe: Callable[[], dict[str, Any]]) -> None:
        self._path, self._describe = path, describe
        self._started = _now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> StatusFile:
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._write("running")
            except OSError as error:
                raise UserError(f"The status file cannot be written: {error.strerror}.", where=str(self._path), do="choose another --status-file") from None
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._path is None:
            return
        self._over.set()
        self._thread.join()
        if kind is None:
            self._write_if_possible("finished")
        elif issubclass(kind, (KeyboardInterrupt, SystemExit)):
            self._write_if_possible("interrupted")
        else:
            self._write_if_possible("failed", str(error))

    def _beat(self) -> None:
        while not self._over.wait(_EVERY):
            self._write_if_possible("running")

    def _write_if_possible(self, state: str, error: str = "") -> None:
        with contextlib.suppress(OSError):  # a full disk: the run itself has to say so, and here the next second may be better
            self._write(state, error)

    def _write(self, state: str, error: str = "") -> None:
        who = {"pid": os.getpid(), "host": socket.gethostname(), "started": self._started, "updated": _now()}
        content = {"state": state, **({"error": error} if error else {}), **self._describe(), **who}
        new = self._path.with_name(f".{self._path.name}.new")
        new.write_text(json.dumps(content, indent=1))
        os.replace(new, self._path)


def last_failures(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trial and reason of the failures that came last, the newest first."""
    failed = (attempt for attempt in reversed(attempts) if not attempt["success"])
    return [{"trial": attempt["trial"], "reason": attempt["reason"]} for attempt in itertools.islice(failed, _REASONS)]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
