"""Stretches of videos, one after the other in a new file, with their packets as they are: nothing is decoded, and nothing of what lay between them is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimicctl.conversion.lerobot.folder import Clip
from mimicctl.video import hidden_partial, import_av

if TYPE_CHECKING:
    import av

_TICKS = 1000
"""Of a frame, in the times of the new file."""


class Splice:
    """A video that appears when the block ends. A context manager; an exception in its block leaves nothing behind.

    Args:
        path: the file; replaced if it is there.
        fps: frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._partial = path, hidden_partial(path)
        self._rate = Fraction(fps).limit_denominator(1001)
        self._stack = ExitStack()
        self._stack.callback(self._partial.unlink, missing_ok=True)
        self._container = self._stack.enter_context(import_av().open(str(self._partial), "w", format="mp4"))
        self._stream: Any = None
        self._coding: tuple[Any, ...] = ()
        self.frames = 0

    def __enter__(self) -> Splice:
        return self

    def takes(self, clip: Clip) -> bool:
        """Whether its packets can follow those that are there: they are coded alike."""
        return self._stream is None or coding_of(clip.video) == self._coding

    def append(self, clip: Clip, length: int) -> None:
        """Add `length` frames.

        Raises:
            ValueError: they do not begin with a frame that can be decoded without others, or are not all there.
        """
        with import_av().open(str(clip.video)) as source:
            stream = source.streams.video[0]
            if self._stream is None:
                self._stream = self._container.add_stream_from_template(stream, opaque=True)  # without an encoder
                self._coding = coding_of(clip.video)
            taken = 0
            for number, packet in _packets(source, stream, self._rate, clip.first):
                if number >= clip.first + length:
                    break
                if taken == 0 and not (packet.is_keyframe and number == clip.first):
                    raise ValueError("its pictures depend on those before it")
                decoded = round(packet.dts * stream.time_base * self._rate)
                packet.stream, packet.time_base = self._stream, 1 / (self._rate * _TICKS)
                packet.pts, packet.dts = ((self.frames + n - clip.first) * _TICKS for n in (number, decoded))
                packet.duration = _TICKS
                self._container.mux(packet)
                taken += 1
        if taken != length:
            raise ValueError(f"{taken} of its {length} pictures are there")
        self.frames += length

    def written(self) -> int:
        """Bytes on disk so far."""
        return self._partial.stat().st_size

    def __exit__(self, kind: object, *rest: object) -> None:
        with self._stack:
            if kind is None and self._stream is not None:
                self._container.close()
                self._partial.replace(self._path)


def coding_of(path: Path) -> tuple[Any, ...]:
    """What has to be the same for packets to follow one another in a stream."""
    with import_av().open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.name, context.width, context.height, context.pix_fmt, bytes(context.extradata or b"")


def stored_pictures(clip: Clip, length: int, fps: float) -> list[bytes]:
    """The packets of `length` frames as they are stored, in the order of the file."""
    rate = Fraction(fps).limit_denominator(1001)
    found = []
    with import_av().open(str(clip.video)) as source:
        for number, packet in _packets(source, source.streams.video[0], rate, clip.first):
            if number >= clip.first + length:
                break
            found.append(bytes(packet))
    return found


def begins_by_itself(clip: Clip, fps: float) -> bool:
    """Whether the first frame of a clip can be decoded without those before it."""
    with import_av().open(str(clip.video)) as source:
        number, packet = next(_packets(source, source.streams.video[0], Fraction(fps).limit_denominator(1001), clip.first), (-1, None))
        return number == clip.first and packet.is_keyframe


def _packets(source: av.container.InputContainer, stream: av.VideoStream, rate: Fraction, first: int) -> Iterator[tuple[int, av.Packet]]:
    """Packets from frame `first` on, each with the number of its frame."""
    if first:
        source.seek(int(first / rate / stream.time_base), stream=stream)
    for packet in source.demux(stream):
        if packet.pts is not None and packet.dts is not None and (number := round(packet.pts * stream.time_base * rate)) >= first:
            yield number, packet
