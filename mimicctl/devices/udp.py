"""Hardware of one's own, by UDP: whatever sends small JSON messages can drive the robot. `messages` says what they are."""

from __future__ import annotations

import contextlib
import socket
import threading

from mimicctl.devices.base import Reading
from mimicctl.devices.messages import LARGEST, Inbox, address_text, cannot_listen, listening_address
from mimicctl.errors import RunFailed

_SETTING = "record.udp_address"


class UdpSource:
    """
    Args:
        address: "host:port" to listen on; the host is 127.0.0.1 unless others are to be heard.
    """

    name = "udp"

    def __init__(self, address: str) -> None:
        self._address = listening_address(address, _SETTING)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._inbox = Inbox()

    def start(self) -> None:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(self._address)
        except OSError as error:
            self.close()
            raise cannot_listen(self._address, _SETTING, error) from None
        self._thread = threading.Thread(target=self._listen, args=(self._socket,), name="udp", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._socket is not None:
            # Wakes the thread, which close alone does not.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None
        if self._thread is not None:
            # The port is free once nobody receives on it.
            self._thread.join()
            self._thread = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, the port that was found if 0 was asked for."""
        if self._socket is None:
            raise RunFailed("The device is not started.", where="--device udp")
        return self._socket.getsockname()[:2]

    def reset(self) -> None:
        self._inbox.forget_resets()

    def help(self) -> str:
        address = self._address if self._socket is None else self.address
        return (
            f'  UDP to {address_text(address)}: {{"axes": [x, y, z, roll, pitch, yaw], "gripper": 1 or -1, "resets": 0, "n": 1}}\n'
            "  A higher number of resets discards and starts again. Ctrl-C stops."
        )

    def read(self) -> Reading:
        return self._inbox.read()

    def _listen(self, listening: socket.socket) -> None:
        while True:
            try:
                data = listening.recv(LARGEST + 1)
            except OSError:
                return  # closed
            if not data and self._socket is not listening:
                return
            self._inbox.put(data)
