"""Tracked hands over a WebSocket, from any program that has them: a headset's, a glove's, a camera's."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from mimicctl.devices.hand_tracking import HandTracking
from mimicctl.devices.hands import hands_from_webxr
from mimicctl.devices.messages import object_in
from mimicctl.devices.websocket import MessageServer
from mimicctl.tasks import TaskSpec

if TYPE_CHECKING:
    from mimicctl.config import RecordSettings

_LARGEST = 16_384
"""[bytes] Two hands with all joints and radii take about 5000."""


def hands_over_websocket(task: TaskSpec, settings: RecordSettings) -> HandTracking:
    """A device that listens for what `hands_from_webxr` takes."""
    return HandTracking(settings, task, feeder=lambda tracking: _HandSocket(settings.websocket_address, tracking))


class _HandSocket:
    """Feeds a device with what comes."""

    def __init__(self, address: str, tracking: HandTracking) -> None:
        self._tracking = tracking
        self._server = MessageServer(address, _LARGEST, self._take, refused=tracking.refuse)
        self.start, self.close = self._server.start, self._server.close

    def _take(self, data: str | bytes, socket: Hashable) -> None:
        try:
            self._tracking.feed(hands_from_webxr(object_in(data)))
        except ValueError as error:
            self._tracking.refuse(str(error))

    def help(self) -> str:
        return f"  Hands from {self._server.url()} as WebXR has them; docs/teleop.md says how."
