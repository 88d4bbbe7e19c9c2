"""Where the pictures of saved episodes are in what a crashed LeRobot session leaves: in videos, in those of single episodes, or in image files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mimicctl.conversion.lerobot.folder import Clip, LeRobotFolder, picture_size
from mimicctl.conversion.lerobot.reader import Clips
from mimicctl.conversion.lerobot.statistics import Colours, Stats
from mimicctl.errors import RunFailed
from mimicctl.video import VideoWriter, read_frames

_TINY = (16, 16)
"""Pictures that are only counted are scaled to this."""


class Gone(Exception):
    """Why an episode is lost."""


class Pictures:
    """Of one camera.

    Args:
        lengths: number of steps of each episode whose rows are whole, in order.
        said: rows of the table of episodes, as far as there are any, by number.
        scratch: folder for videos of what there are single images of.

    Attributes:
        encoded: episodes of which there were.
    """

    def __init__(self, folder: LeRobotFolder, name: str, lengths: Mapping[int, int], said: Mapping[int, Mapping[str, Any]], scratch: Path) -> None:
        self._folder, self._name, self._scratch = folder, name, scratch
        feature = folder.features[name]
        self._size = picture_size(feature["shape"])
        self._depth = bool((feature.get("info") or {}).get("is_depth_map"))
        self._videos = sorted((folder.root / "videos" / name).glob("*/*.mp4"))
        self._lengths = lengths
        self._frames = cache(_decodable)
        self._places = self._placed(said)
        self.encoded: list[int] = []

    def _placed(self, said: Mapping[int, Mapping[str, Any]]) -> dict[int, Clip]:
        """Episodes that are in the videos. Each follows the one before it; whole episodes are in a file."""
        found: dict[int, Clip] = {}
        file = first = next_one = 0
        for number, length in self._lengths.items():
            if (known := self._said(said.get(number, {}))) is not None:
                file, first, next_one = *known, number
            if number != next_one or file >= len(self._videos):
                continue  # how many pictures there are before its own, nobody says
            if first and first == self._frames(self._videos[file]):
                file, first = file + 1, 0
            if file < len(self._videos) and first + length <= self._frames(self._videos[file]):
                found[number] = Clip(self._videos[file], first)
                first, next_one = first + length, number + 1
        return found

    def _said(self, row: Mapping[str, Any]) -> tuple[int, int] | None:
        """By the table of episodes: which of the videos, and the first frame in it."""
        prefix = f"videos/{self._name}/"
        if row.get(f"{prefix}chunk_index") is None:
            return None
        place = {key: int(row[prefix + key]) for key in ("chunk_index", "file_index")}
        video = self._folder.root / self._folder.info["video_path"].format(video_key=self._name, **place)
        file = self._videos.index(video) if video in self._videos else len(self._videos)
        return file, round(float(row[f"{prefix}from_timestamp"]) * self._folder.fps)

    def clip(self, number: int) -> Clip:
        """
        Raises:
            Gone: there are no pictures of that episode, or not all.
        """
        if number in self._places:
            return self._places[number]
        length = self._lengths[number]
        # A video of its own, before it is put behind the others; where LeRobot encodes while it records, only the last episode has one.
        kinds = [f"{number:03d}", *(["streaming"] if number == max(self._lengths) else [])]
        for video in (video for kind in kinds for video in self._folder.root.glob(f"tmp*/{self._name}_{kind}.mp4")):
            if self._frames(video) == length:
                return Clip(video, 0)
        images = sorted((self._folder.root / "images" / self._name / f"episode-{number:06d}").glob("frame-*.png"))
        if len(images) >= length:
            return self._encode(number, images[:length])
        if images:
            raise Gone(f"{self._name} has {len(images)} pictures of it, not {length}")
        if cut := next((video for video in self._videos if not self._frames(video)), None):
            raise Gone(f"{cut.relative_to(self._folder.root)} was cut off, and no picture in it can be read")
        raise Gone(f"the videos of {self._name} end before it does" if self._videos else f"{self._name} has no pictures of it")

    def _encode(self, number: int, images: Sequence[Path]) -> Clip:
        from PIL import Image

        path = self._scratch / f"{self._name}_{number}.mp4"
        self._scratch.mkdir(exist_ok=True)
        height, width = self._size
        try:
            with VideoWriter(path, (width, height), round(self._folder.fps), keyframe_every=2) as video:
                for image in images:
                    with Image.open(image) as picture:
                        video.write(np.asarray(picture.convert("RGB")))
        except (OSError, ValueError, SyntaxError):  # of Pillow, on a file that is no picture
            raise Gone(f"its pictures of {self._name} cannot be read") from None
        self.encoded.append(number)
        return Clip(path, 0)

    def statistics(self, clip: Clip, length: int) -> Stats | None:
        """Of an episode, all of whose pictures are decoded for it; None of depth, which is counted otherwise.

        Raises:
            Gone: one of them cannot be decoded.
        """
        height, width = self._size
        colours = Colours()
        try:
            for picture in Clips((width, height), self._folder.fps).read(clip, length):
                colours.add(picture[None])
        except RunFailed as error:
            raise Gone(f"{self._name}: {error.what}") from None
        return None if self._depth else colours.stats()


def _decodable(video: Path) -> int:
    """How many pictures of a video can be decoded, from its beginning."""
    count = 0
    with suppress(RunFailed, IndexError):
        for _ in read_frames(video, _TINY):
            count += 1
    return count
