"""How long `mimicctl convert hdf5-to-mp4` takes, beside ffmpeg alone with the same frames, size, encoder and settings; and the way back.

    pip install -e ".[video]" imageio-ffmpeg
    python benchmarks/convert.py [--demos 8] [--steps 200] [--workers 0] [--rounds 3] [--folder DIR]

All six of Isaac Lab's keys are converted. ffmpeg gets the pictures as raw bytes, one file a video, in two ways: the videos one after the other with as
many threads as it likes, and as many at once as there are workers with one thread each. It is compared with the faster.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mimicctl.conversion.encodings import DEFAULT_KEYS, encoder, sources
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.video import probe
from tests.cameras import TASK, camera_episode


def make_dataset(path: Path, demos: int, steps: int) -> None:
    with DatasetWriter(path, task_id=TASK, lineage={}) as writer:
        for number in range(demos):
            writer.write(camera_episode(number, steps, size=(200, 200)))


def write_raw(dataset: Path, folder: Path) -> list[Path]:
    """The pictures of each demo and key, one after the other, without a header."""
    folder.mkdir()
    files = []
    with Dataset(dataset) as opened:
        for name in opened.demos:
            for key in DEFAULT_KEYS:
                pictures = encoder(key)(*(opened.group(name)[f"obs/{source}"][()] for source in sources(key)))
                files.append(folder / f"{name}_{key}.{'gray' if pictures.ndim == 3 else 'rgb24'}")
                pictures.tofile(files[-1])
    return files


def ffmpeg(raw: Path, folder: Path, threads: int) -> None:
    program = shutil.which("ffmpeg") or __import__("imageio_ffmpeg").get_ffmpeg_exe()
    read = ["-f", "rawvideo", "-pix_fmt", raw.suffix[1:], "-s", "200x200", "-r", "30", "-i", str(raw)]
    write = ["-vf", "scale=1280:704:flags=bicubic", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-crf", "17"]
    write += ["-threads", str(threads), "-filter_threads", str(threads or 1)]
    subprocess.run([program, "-y", "-loglevel", "error", *read, *write, str(folder / f"{raw.stem}.mp4")], check=True, stdin=subprocess.DEVNULL)


def run_ffmpeg(files: list[Path], folder: Path, at_once: int) -> None:
    folder.mkdir()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda raw: ffmpeg(raw, folder, 0 if at_once == 1 else 1), files))


def run_mimicctl(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "mimicctl", "convert", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(work, *arguments) -> tuple[float, float]:
    """Seconds of wall clock and of processors; only the second means much on a machine that others use."""

    def processors() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    start, used = time.perf_counter(), processors()
    work(*arguments)
    return time.perf_counter() - start, processors() - used


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--demos", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    workers = options.workers or os.cpu_count() or 1
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        dataset, videos = folder / "a.hdf5", folder / "videos"
        make_dataset(dataset, options.demos, options.steps)
        raw = write_raw(dataset, folder / "raw")
        frames = options.demos * options.steps * len(DEFAULT_KEYS)
        seconds: dict[str, list[tuple[float, float]]] = {"mimicctl": [], "ffmpeg, one by one": [], f"ffmpeg, {workers} at once": []}
        there = ["hdf5-to-mp4", "--input-file", str(dataset), "--output-dir", str(videos), "--workers", str(workers)]
        for _ in range(options.rounds):
            shutil.rmtree(videos, ignore_errors=True)
            seconds["mimicctl"].append(timed(run_mimicctl, *there))
            for name, at_once in (("ffmpeg, one by one", 1), (f"ffmpeg, {workers} at once", workers)):
                seconds[name].append(timed(run_ffmpeg, raw, folder / "ffmpeg", at_once))
                shutil.rmtree(folder / "ffmpeg")
        for name, times in seconds.items():
            wall, used = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"{name:<20} {wall:6.1f} s  {frames / wall:5.0f} frames/s  {used:6.1f} s of processors   all: {', '.join(f'{t:.1f}' for t, _ in times)}")
        ours, *theirs = seconds.values()
        wall, used = (statistics.median(mine[i] / min(o[i] for o in others) for mine, *others in zip(ours, *theirs, strict=True)) for i in (0, 1))
        assert all(probe(video).frames == options.steps for video in videos.iterdir())
        print(f"{frames} frames, 1280 x 704: mimicctl takes {wall:.2f} times as long as ffmpeg alone, {used:.2f} times the processor time (median of rounds)")
        augmented = folder / "augmented"
        augmented.mkdir()
        for video in videos.glob("*_table_cam.mp4"):
            video.rename(augmented / video.name)
        back = ["mp4-to-hdf5", "--input-file", str(dataset), "--videos-dir", str(augmented), "--output-file", str(folder / "b.hdf5")]
        middle = statistics.median(timed(run_mimicctl, *back, "--overwrite", "--workers", str(workers))[0] for _ in range(options.rounds))
        count = options.demos * options.steps
        print(f"and back: {count} frames in {middle:.1f} s, {count / middle:.0f} frames/s, with the states, wrist camera, depth and normals copied")
        print(f"peak memory: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000:.0f} MB")


if __name__ == "__main__":
    main()
