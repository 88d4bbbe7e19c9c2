"""Messages of one's own hardware, however they come: small JSON objects, of which the latest counts.

    {"axes": [0.2, 0, -1, 0, 0, 0], "gripper": 1, "resets": 0, "n": 17}

`axes` are x, y, z, roll, pitch, yaw from -1 to 1, as they are held now. The rest may be left out: `gripper` is 1 to open and -1 to close; `resets`
counts how often the episode was to be discarded; `n` counts messages. All of it is state and none of it an event, so that a message that gets
lost, comes twice or comes late does no harm: the next one says it all again.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from mimicctl.devices.base import Event, Reading
from mimicctl.errors import UserError

LARGEST = 2048
"""[bytes] of a message."""
_STALE = 0.5
"""[s] Whoever holds an axis says so again before that, or the arm stops."""
_BEHIND = 1000
"""A number that is lower by more than this is of a sender that was started anew, not of a message that came late."""


@dataclass(frozen=True)
class Message:
    """One that was understood; see the module."""

    axes: np.ndarray
    gripper: float | None
    resets: int | None
    number: int | None


def parse(data: bytes | str) -> Message:
    """
    Raises:
        ValueError: it is none, and why.
    """
    if len(data) > LARGEST:
        raise ValueError(f"it is longer than {LARGEST} bytes.")
    said = object_in(data)
    if unknown := set(said) - {"axes", "gripper", "resets", "n"}:
        raise ValueError(f'it has "{min(unknown)}", which means nothing here.')
    axes = said.get("axes")
    if not isinstance(axes, list) or len(axes) != 6 or not all(_is_number(value) for value in axes):
        raise ValueError("axes must be six finite numbers: x, y, z, roll, pitch, yaw.")
    gripper = said.get("gripper")
    if gripper is not None and (not _is_number(gripper) or abs(gripper) != 1):
        raise ValueError("gripper must be 1 (open) or -1 (close).")
    for key in ("resets", "n"):
        value = said.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ValueError(f"{key} must be a whole number that counts up.")
    return Message(np.clip(np.array(axes, dtype=float), -1, 1), None if gripper is None else float(gripper), said.get("resets"), said.get("n"))


def object_in(data: bytes | str) -> dict:
    """
    Raises:
        ValueError: it is no JSON object.
    """
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON.") from None
    if not isinstance(said, dict):
        raise ValueError("it is not an object.")
    return said


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


class Inbox:
    """The latest message, whoever sent it. Anybody puts in, one thread reads; each sender counts its messages and resets by itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: Message | None = None
        self._at: float | None = None
        self._numbers: dict[Hashable, int] = {}
        self._resets_seen: dict[Hashable, int] = {}
        self._resets = 0
        self._refused = ""

    def put(self, data: bytes | str, sender: Hashable = None) -> None:
        """Take what came in; what is no message is noted and changes nothing."""
        try:
            message = parse(data)
        except ValueError as error:
            # Anybody can send anything; a recording must not end over it.
            self.refuse(str(error))
            return
        with self._lock:
            self._take(message, sender)

    def refuse(self, why: str) -> None:
        with self._lock:
            self._refused = f"the last message was refused: {why}"

    def forget(self, sender: Hashable) -> None:
        """It is gone, and will count from the beginning if it comes again."""
        with self._lock:
            self._numbers.pop(sender, None)
            self._resets_seen.pop(sender, None)

    def forget_resets(self) -> None:
        with self._lock:
            self._resets = 0

    def read(self) -> Reading:
        with self._lock:
            latest, at, resets, note = self._latest, self._at, self._resets, self._refused
            self._resets = 0
        if latest is None:
            return Reading(np.zeros(6), note=note)
        held = latest.axes if time.monotonic() - at < _STALE else np.zeros(6)
        return Reading(held, events=(Event.RESET,) * bool(resets), gripper=latest.gripper, at=at, note=note)

    def _take(self, message: Message, sender: Hashable) -> None:
        if message.number is not None:
            if 0 < self._numbers.get(sender, 0) - message.number < _BEHIND:
                return
            self._numbers[sender] = message.number
        if message.resets is not None:
            self._resets += message.resets > self._resets_seen.get(sender, message.resets)
            self._resets_seen[sender] = message.resets
        self._latest, self._at = message, time.monotonic()
        self._refused = ""


def listening_address(text: str, setting: str) -> tuple[str, int]:
    """Of "host:port".

    Raises:
        UserError: it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UserError(f'"{text}" is no address to listen on.', where=setting, do="give host:port, as in 127.0.0.1:8900")
    return host.strip("[]"), int(port)


def address_text(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cannot_listen(address: tuple[str, int], setting: str, error: OSError) -> UserError:
    return UserError(f"Cannot listen on {address_text(address)}: {error.strerror}.", where=setting, do="choose another address or port")
