"""What a browser says of its keys, pads and hands, many times a second.

Everything is state and nothing an event: which keys are down now, and how often each was pressed since the page was opened. A message that is
left out because the line is slow does no harm: the next one says it all again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mimicctl.devices.hands import HandSample, hands_from_webxr

LARGEST = 32 * 1024
"""[bytes] of a message; two hands of 25 joints take a quarter of it."""
STALE = 0.5
"""[s] A page that holds a key says so again before that, or the robot stops."""
_MOST_PAGES = 32

_Name = Annotated[str, Field(max_length=24)]
_Count = Annotated[int, Field(ge=0, le=2**31)]
_Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Pad(_Part):
    """A gamepad of the standard layout, as the browser's Gamepad API numbers it."""

    axes: Annotated[list[_Number], Field(max_length=8)]
    buttons: Annotated[list[_Number], Field(max_length=32)]


class Message(_Part):
    """
    Attributes:
        page: which page says it; drawn by chance when it was opened.
        n: number of the message.
        seen: number of the last picture that was drawn.
        loop_ms: how long it last took from an input to the picture that shows a command with it; None before the first.
        skipped: messages that were not sent because the line was full.
        claims: how often this page asked to be the one that drives.
        keys: held down, lower case.
        presses: of keys ("key:r"), pad buttons ("pad:2") and buttons of the page ("ui:save"), since the page was opened.
        pad: None without one.
        hands: those that are tracked, as `hands_from_webxr` has it; None outside of VR.
    """

    page: Annotated[str, Field(min_length=1, max_length=32)]
    n: _Count
    seen: _Count = 0
    loop_ms: _Number | None = None
    skipped: _Count = 0
    claims: _Count = 0
    keys: Annotated[list[_Name], Field(max_length=16)] = []
    presses: Annotated[dict[_Name, _Count], Field(max_length=64)] = {}
    pad: Pad | None = None
    hands: Annotated[Any, AfterValidator(lambda said: None if said is None else hands_from_webxr(said))] = None


def parse(text: str) -> Message:
    """
    Raises:
        ValueError: it is none, and why.
    """
    try:
        return Message.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(str(part) for part in first['loc']) or 'it'}: {first['msg']}") from None


@dataclass(frozen=True)
class Sample:
    """What the page that drives does now.

    Attributes:
        message: None while there is none, or it is stale.
        presses: how often each was pressed since the last sample.
    """

    message: Message | None = None
    presses: dict[str, int] = field(default_factory=dict)


@dataclass
class LinkFacts:
    """Of the line to the browser, while an attempt is under way."""

    loops_ms: list[float] = field(default_factory=list)
    messages: int = 0
    skipped: int = 0
    stale_steps: int = 0


class Inputs:
    """The latest of every page; one of them drives. Fed from the server's thread and read from the session's.

    Args:
        on_hands: is given every one of the driver's samples of hands, since their buttons are states of which none may be missed.
    """

    def __init__(self, on_hands: Callable[[Mapping[str, HandSample]], None] = lambda hands: None) -> None:
        self._on_hands = on_hands
        self._lock = threading.Lock()
        self._latest: OrderedDict[str, tuple[Message, float]] = OrderedDict()
        self._driver = ""
        self._acted_on: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._facts = LinkFacts()

    @property
    def driver(self) -> str:
        """The page whose input counts: the first, until another one claims it."""
        return self._driver

    def feed(self, message: Message) -> None:
        with self._lock:
            before, _ = self._latest.get(message.page, (None, 0.0))
            if before is not None and message.n <= before.n:
                return
            self._latest[message.page] = message, time.monotonic()
            self._latest.move_to_end(message.page)
            while len(self._latest) > _MOST_PAGES:
                self._latest.popitem(last=False)
            claimed = message.claims > (before.claims if before is not None else 0)
            if claimed or not self._driver:
                self._hand_over(message)
            if message.page == self._driver:
                if message.hands is not None:
                    self._on_hands(message.hands)
                self._facts.messages += 1
                self._facts.skipped += message.skipped - (before.skipped if before is not None else message.skipped)
                if message.loop_ms is not None and (before is None or message.loop_ms != before.loop_ms):
                    self._facts.loops_ms.append(message.loop_ms)

    def leave(self, page: str) -> None:
        """A page is gone; if it drove, the next to say something does."""
        with self._lock:
            if page == self._driver:
                self._driver = ""

    def sample(self) -> Sample:
        with self._lock:
            message, at = self._latest.get(self._driver, (None, 0.0))
            if message is None:
                self._facts.stale_steps += 1
                return Sample()
            presses = {name: count - self._acted_on.get(name, 0) for name, count in message.presses.items() if count > self._acted_on.get(name, 0)}
            self._acted_on, self._used = dict(message.presses), {message.page: message.n}
            if time.monotonic() - at > STALE:
                self._facts.stale_steps += 1
                return Sample(None, presses)
            return Sample(message, presses)

    def used(self, page: str) -> int:
        """Number of the last message of a page that a command was made of; 0 before."""
        return self._used.get(page, 0)

    def take_facts(self) -> LinkFacts:
        """Since they were last taken."""
        with self._lock:
            taken, self._facts = self._facts, LinkFacts()
            return taken

    def _hand_over(self, message: Message) -> None:
        # What a page pressed before it drove, or while its line was cut, is not done late.
        if message.page != self._driver:
            self._driver = message.page
            self._acted_on = dict(message.presses)
