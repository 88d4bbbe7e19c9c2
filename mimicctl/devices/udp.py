"""Hardware of one's own, by UDP: whatever sends small JSON messages can drive the robot.

    {"axes": [0.2, 0, -1, 0, 0, 0], "gripper": 1, "resets": 0, "n": 17}

`axes` are x, y, z, roll, pitch, yaw from -1 to 1, as they are held now. The rest may be left out: `gripper` is 1 to open and -1 to close; `resets`
counts how often the episode was to be discarded; `n` counts messages. All of it is state and none of it an event, so that a message that gets
lost, comes twice or comes late does no harm: the next one says it all again.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass

import numpy as np

from mimicctl.devices.base import Event, Reading
from mimicctl.errors import RunFailed, UserError

_LARGEST = 2048
"""[bytes] of a message; longer ones are not read to their end."""
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


class UdpSource:
    """
    Args:
        address: "host:port" to listen on; the host is 127.0.0.1 unless others are to be heard.
    """

    name = "udp"

    def __init__(self, address: str) -> None:
        self._address = _parsed(address)
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._latest: Message | None = None
        self._at: float | None = None
        self._resets_seen: int | None = None
        self._resets = 0
        self._refused = ""

    def start(self) -> None:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(self._address)
        except OSError as error:
            self.close()
            where = "record.udp_address"
            raise UserError(f"Cannot listen on {_text(self._address)}: {error.strerror}.", where=where, do="choose another address or port") from None
        threading.Thread(target=self._listen, args=(self._socket,), name="udp", daemon=True).start()

    def close(self) -> None:
        if self._socket is not None:
            # Wakes the thread, which close alone does not.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, the port that was found if 0 was asked for."""
        if self._socket is None:
            raise RunFailed("The device is not started.", where="--device udp")
        return self._socket.getsockname()[:2]

    def reset(self) -> None:
        with self._lock:
            self._resets = 0

    def help(self) -> str:
        host, port = self._address if self._socket is None else self.address
        return (
            f'  UDP to {_text((host, port))}: {{"axes": [x, y, z, roll, pitch, yaw], "gripper": 1 or -1, "resets": 0, "n": 1}}\n'
            "  A higher number of resets discards and starts again. Ctrl-C stops."
        )

    def read(self) -> Reading:
        with self._lock:
            latest, at, resets, note = self._latest, self._at, self._resets, self._refused
            self._resets = 0
        if latest is None:
            return Reading(np.zeros(6), note=note)
        held = latest.axes if time.monotonic() - at < _STALE else np.zeros(6)
        return Reading(held, events=(Event.RESET,) * bool(resets), gripper=latest.gripper, at=at, note=note)

    def _listen(self, listening: socket.socket) -> None:
        while True:
            try:
                data = listening.recv(_LARGEST + 1)
            except OSError:
                return  # closed
            if not data and self._socket is not listening:
                return
            try:
                message = parse(data)
            except ValueError as error:
                with self._lock:
                    # Anybody can send anything here; a recording must not end over it.
                    self._refused = f"the last message was refused: {error}"
                continue
            with self._lock:
                self._take(message)

    def _take(self, message: Message) -> None:
        before = self._latest
        if before is not None and None not in (before.number, message.number) and 0 < before.number - message.number < _BEHIND:
            return
        if message.resets is not None:
            self._resets += self._resets_seen is not None and message.resets > self._resets_seen
            self._resets_seen = message.resets
        self._latest, self._at = message, time.monotonic()
        self._refused = ""


def parse(data: bytes) -> Message:
    """
    Raises:
        ValueError: it is none, and why.
    """
    if len(data) > _LARGEST:
        raise ValueError(f"it is longer than {_LARGEST} bytes.")
    try:
        said = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError("it is not JSON.") from None
    if not isinstance(said, dict):
        raise ValueError("it is not an object with axes.")
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


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UserError(f'"{address}" is no address to listen on.', where="record.udp_address", do="give host:port, as in 127.0.0.1:8900")
    return host.strip("[]"), int(port)


def _text(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
