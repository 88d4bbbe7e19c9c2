"""MP4 files, one frame at a time, by way of PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from mimicctl.errors import RunFailed, UserError

_CODEC = "libx264"
_OPTIONS = {"preset": "veryfast", "crf": "17"}
"""Visually lossless: the pictures come back to train on. Slower presets save a tenth of the space at three times the time."""

_BT601 = 5
"""Colour space of the stream, written into it. Readers that do not look (OpenCV among them) take it for this one anyway."""

_LIMITED_RANGE = 1

_BY_ITSELF = 1
"""FFmpeg's AV_PICTURE_TYPE_I, which x264 makes a keyframe of. 0 leaves it to the encoder."""


_SCALING = 0x2 | 0x40000 | 0x2000
"""libswscale's SWS_BILINEAR, SWS_ACCURATE_RND and SWS_FULL_CHR_H_INT. Without the last two every colour comes out one or two levels too dark.
PyAV before 18 has no names for them."""


def import_av() -> ModuleType:
    try:
        import av
    except ImportError:
        raise UserError("Videos need PyAV, which is not installed.", do='pip install "mimicctl[video]"') from None
    av.logging.set_level(av.logging.PANIC)  # what goes wrong is in the exceptions
    return av


@dataclass(frozen=True)
class VideoFacts:
    """What a video says of itself. `comment` is the text that its writer left there."""

    frames: int
    width: int
    height: int
    rate: float
    comment: str


def probe(path: Path) -> VideoFacts:
    """Frames, size and rate, from the table of contents.

    Raises:
        UserError: it is no video that can be read.
    """
    av = import_av()
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
            return VideoFacts(frames, stream.width, stream.height, float(stream.average_rate or 0), container.metadata.get("comment", ""))
    except (av.error.FFmpegError, IndexError):
        raise UserError("This is not a readable video.", where=str(path), do="make it again") from None


class VideoWriter:
    """Frames to an MP4 file that appears when it is complete. A context manager; an exception in its block leaves nothing behind.

    Args:
        path: the file; replaced if it is there.
        size: (width, height) that frames are scaled to, bicubically. Both even.
        rate: frames per second.
        comment: kept in the file.
        keyframe_every: frames from one that can be decoded without others to the next; None: the encoder's choice.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: int, comment: str = "", keyframe_every: int | None = None) -> None:
        av = import_av()
        self._path, self._size, self._frame = path, size, av.VideoFrame
        self._partial = hidden_partial(path)
        self._stack = contextlib.ExitStack()
        self._stack.callback(self._partial.unlink, missing_ok=True)
        self._container = self._stack.enter_context(av.open(str(self._partial), "w", format="mp4"))
        self._container.metadata["comment"] = comment
        options = _OPTIONS if keyframe_every is None else _OPTIONS | {"g": str(keyframe_every), "bf": "0"}
        self._stream = self._container.add_stream(_CODEC, rate=rate, options=options)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = *size, "yuv420p"
        context.colorspace, context.color_range = _BT601, _LIMITED_RANGE
        context.thread_count = 1  # several videos are written at once
        self._scaler = av.video.reformatter.VideoReformatter()
        self._count = 0

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, picture: np.ndarray, *, by_itself: bool = False) -> None:
        """Append (H, W, 3) uint8 RGB or (H, W) uint8 grey.

        Args:
            by_itself: it and those after it can be decoded without any before it, wherever it stands.
        """
        frame = self._frame.from_ndarray(np.ascontiguousarray(picture), format="rgb24" if picture.ndim == 3 else "gray")
        width, height = self._size
        frame = self._scaler.reformat(
            frame, width=width, height=height, format="yuv420p", interpolation="BICUBIC", dst_colorspace=_BT601, dst_color_range=_LIMITED_RANGE
        )
        frame.pts = self._count
        frame.pict_type = _BY_ITSELF if by_itself else 0
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def written(self) -> int:
        """Bytes on disk so far; what the encoder holds back is not among them."""
        return self._partial.stat().st_size

    def __exit__(self, kind: object, *rest: object) -> None:
        with self._stack:
            if kind is None:
                self._container.mux(self._stream.encode())
                self._container.close()
                self._partial.replace(self._path)


def hidden_partial(path: Path) -> Path:
    """Where a video is while it is being written."""
    return path.with_name(f".{path.name}.partial")


def read_frames(path: Path, size: tuple[int, int], start: float = 0.0) -> Iterator[np.ndarray]:
    """(height, width, 3) uint8 RGB frames, scaled bilinearly to `size` (width, height).

    Args:
        start: time of the first one that is wanted [s].

    Raises:
        RunFailed: it cannot be decoded to its end.
    """
    av = import_av()
    scaler = av.video.reformatter.VideoReformatter()
    width, height = size
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            earliest = start - 0.5 / float(stream.average_rate or 1)
            if start:
                container.seek(max(0, int(earliest / stream.time_base)), stream=stream)
            for frame in container.decode(stream):
                if start and frame.time < earliest:
                    continue
                scaled = scaler.reformat(frame, width=width, height=height, format="rgb24", interpolation=_SCALING)
                yield np.ascontiguousarray(scaled.to_ndarray())  # FFmpeg's rows may be longer than the picture is wide
    except av.error.FFmpegError as error:
        raise RunFailed(f"The video cannot be decoded: {error.strerror}.", where=str(path), do="make it again") from None
