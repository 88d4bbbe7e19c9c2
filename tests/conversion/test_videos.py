"""Dataset to videos and back: names, counts, what is refused, resuming, and exchange with Isaac Lab's scripts by way of OpenCV."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from mimicctl.conversion import from_video, to_video
from mimicctl.conversion.encodings import DEFAULT_KEYS, encoder, sources
from mimicctl.conversion.from_video import read_videos
from mimicctl.conversion.to_video import VideoFormat, make_videos
from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset, file_sha256
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed, UserError
from mimicctl.video import VideoWriter, probe, read_frames
from tests.cameras import TASK, camera_episode, camera_file

SMALL = VideoFormat(96, 80, 20)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def edit(path: Path, change) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def stored(path: Path, demo: str, key: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[f"data/{demo}/obs/{key}"][()]


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    """A folder with a.hdf5, three demos, and all its videos in a/."""
    folder = tmp_path_factory.mktemp("converted")
    make_videos(camera_file(folder / "a.hdf5"), folder / "a", form=SMALL)
    return folder


@pytest.fixture
def work(tmp_path, converted) -> Path:
    """A copy of `converted` in which augmented/ holds the table_cam videos only."""
    shutil.copytree(converted, tmp_path, dirs_exist_ok=True)
    (tmp_path / "augmented").mkdir()
    for i in range(3):
        shutil.copy(tmp_path / "a" / f"demo_{i}_table_cam.mp4", tmp_path / "augmented")
    return tmp_path


# To videos --------------------------------------------------------------------------------------------


def test_each_demo_and_key_has_a_video_of_as_many_frames_as_the_demo_has_steps(converted):
    assert names(converted / "a") == sorted(f"demo_{i}_{key}.mp4" for i in range(3) for key in DEFAULT_KEYS)
    for i in range(3):
        facts = probe(converted / "a" / f"demo_{i}_table_cam_depth.mp4")
        assert (facts.frames, facts.width, facts.height, facts.rate) == (12 + 2 * i, 96, 80, 20)


@pytest.mark.parametrize("key", DEFAULT_KEYS)
def test_videos_show_what_is_stored(converted, key):
    arrays = [stored(converted / "a.hdf5", "demo_1", source) for source in sources(key)]
    wanted = encoder(key)(*arrays)
    wanted = np.repeat(wanted[..., None], 3, axis=-1) if wanted.ndim == 3 else wanted
    shown = np.stack(list(read_frames(converted / "a" / f"demo_1_{key}.mp4", (48, 40))))
    assert shown.shape == wanted.shape
    error = np.abs(shown.astype(int) - wanted)
    assert np.median(error) <= 2 and error.mean() < 6  # edges are soft after scaling up and down
    other = encoder(key)(*(array[::-1] for array in arrays))
    assert np.abs(shown.astype(int) - (other[..., None] if other.ndim == 3 else other)).mean() > error.mean() + 0.5, "the order of frames does not show"


def test_colours_come_back_as_they_were(tmp_path):
    """Each level too dark would show in the pictures that a policy learns from."""
    colour = np.array([200, 30, 60], np.uint8)
    with VideoWriter(tmp_path / "v.mp4", (96, 80), 30) as writer:
        for _ in range(5):
            writer.write(np.broadcast_to(colour, (40, 48, 3)))
    frames = np.stack(list(read_frames(tmp_path / "v.mp4", (48, 40)))).astype(int)
    assert np.abs(frames - colour).max() <= 1


def test_the_defaults_are_isaac_labs(tmp_path):
    make_videos(camera_file(tmp_path / "a.hdf5", 1), tmp_path / "v", keys=["table_cam"])
    facts = probe(tmp_path / "v" / "demo_0_table_cam.mp4")
    assert (facts.width, facts.height, facts.rate, facts.frames) == (1280, 704, 30, 12)


def test_numbers_in_names_are_those_of_the_demos_and_one_demo_can_be_chosen(tmp_path):
    path = camera_file(tmp_path / "a.hdf5", 2)
    edit(path, lambda f: f["data"].move("demo_1", "demo_41"))
    make_videos(path, tmp_path / "v", keys=["wrist_cam", "wrist_cam"], demo=41, form=SMALL)
    assert names(tmp_path / "v") == ["demo_41_wrist_cam.mp4"]


def test_usual_keys_that_the_dataset_lacks_are_told_of_not_asked_for(tmp_path):
    path = camera_file(tmp_path / "a.hdf5", 1)
    edit(path, lambda f: f["data/demo_0/obs"].__delitem__("table_cam_normals"))
    made = make_videos(path, tmp_path / "v", form=SMALL)
    assert made.plan.absent == ("table_cam_normals", "table_cam_shaded_segmentation")
    assert {job.key for job in made.plan.jobs} == {"table_cam", "wrist_cam", "table_cam_segmentation", "table_cam_depth"}


def test_chunks_that_span_frames_are_converted_alike(tmp_path):
    """Isaac Lab leaves the chunking to h5py, which puts pieces of many frames into a chunk."""
    path = camera_file(tmp_path / "a.hdf5", 1)
    pictures = stored(path, "demo_0", "table_cam")

    def rechunk(file: h5py.File) -> None:
        del file["data/demo_0/obs/table_cam"]
        file["data/demo_0/obs"].create_dataset("table_cam", data=pictures, chunks=(7, 20, 24, 1), compression="gzip")

    edit(path, rechunk)
    make_videos(path, tmp_path / "v", keys=["table_cam"], form=SMALL)
    shown = np.stack(list(read_frames(tmp_path / "v" / "demo_0_table_cam.mp4", (48, 40))))
    assert np.median(np.abs(shown.astype(int) - pictures)) <= 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f["data/demo_2/obs"].__delitem__("wrist_cam"), "demo_2 of {path}: no obs/wrist_cam"),
        (lambda f: f["data/demo_1/obs"].__delitem__("table_cam_normals"), "no obs/table_cam_normals, which table_cam_shaded_segmentation is made of"),
        (lambda f: f["data/demo_1/actions"].resize((3, 7)), "frames, and there are 3 steps"),
        (lambda f: (f["data/demo_1/obs"].__delitem__("table_cam"), f["data/demo_1/obs"].create_dataset("table_cam", data=np.zeros((14, 3)))), "not pictures"),
    ],
)
def test_what_cannot_be_converted_is_all_listed_and_nothing_is_written(tmp_path, spoil, message):
    path = camera_file(tmp_path / "a.hdf5")

    def change(file: h5py.File) -> None:
        actions = file["data/demo_1/actions"][()]
        del file["data/demo_1/actions"]
        file["data/demo_1"].create_dataset("actions", data=actions, maxshape=(None, 7))
        spoil(file)
        del file["data/demo_0/obs/table_cam_depth"]

    edit(path, change)
    with pytest.raises(UserError) as caught:
        make_videos(path, tmp_path / "v", keys=DEFAULT_KEYS, form=SMALL)
    assert message.format(path=path) in caught.value.where and f"demo_0 of {path}: no obs/table_cam_depth" in caught.value.where
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"form": VideoFormat(95, 80)}, "even"), ({"demo": 7}, "There is no demo_7"), ({"keys": ["tabel_cam"]}, "it has table_cam, table_cam_depth")],
)
def test_wrong_wishes_are_answered(converted, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        make_videos(converted / "a.hdf5", tmp_path / "v", **options)


def test_without_pictures_there_is_nothing_to_convert(source_file, tmp_path):
    with pytest.raises(UserError, match="no pictures at all"):
        make_videos(source_file, tmp_path / "v")


def test_segmentation_that_cannot_be_shown_is_noticed_before_anything_is_written(tmp_path):
    odd = np.random.default_rng(0).normal(0, 0.3, (12, 40, 48, 4)).astype(np.float32)
    with DatasetWriter(tmp_path / "a.hdf5", task_id=TASK, lineage={}) as writer:
        writer.write(camera_episode(0, 12, table_cam_segmentation=odd))
    with pytest.raises(UserError) as caught:
        make_videos(tmp_path / "a.hdf5", tmp_path / "v", form=SMALL)
    assert "cannot be restored" in caught.value.where and not (tmp_path / "v").exists()


def test_a_damaged_picture_is_noticed_before_anything_is_written(tmp_path):
    path = camera_file(tmp_path / "a.hdf5", 2)
    with h5py.File(path) as file:
        at = file["data/demo_1/obs/table_cam"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        make_videos(path, tmp_path / "v", form=SMALL)
    assert "demo_1 of" in caught.value.where and "obs/table_cam cannot be read" in caught.value.where and not (tmp_path / "v").exists()


def test_a_picture_that_is_damaged_later_on_ends_the_run_and_is_named(tmp_path):
    path = camera_file(tmp_path / "a.hdf5", 2)
    with h5py.File(path) as file:
        at = file["data/demo_1/obs/table_cam"].id.get_chunk_info(9).byte_offset
    content = bytearray(path.read_bytes())
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(RunFailed) as caught:
        make_videos(path, tmp_path / "v", keys=["table_cam"], form=SMALL)
    assert "table_cam of demo_1" in caught.value.where and set(names(tmp_path / "v")) <= {"demo_0_table_cam.mp4"}


# Files that are there ---------------------------------------------------------------------------------


def test_existing_videos_are_kept_resumed_or_replaced_but_never_unasked(work):
    folder, one = work / "a", work / "a" / "demo_1_wrist_cam.mp4"
    with pytest.raises(UserError, match=r"18 of 18 videos exist already[\s\S]*--resume[\s\S]*--overwrite"):
        make_videos(work / "a.hdf5", folder, form=SMALL)
    one.unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    made = make_videos(work / "a.hdf5", folder, form=SMALL, resume=True)
    assert [job.path for job in made.plan.jobs] == [one] and len(made.plan.kept) == 17
    assert all(path.stat().st_mtime_ns == t for path, t in before.items())
    assert len(make_videos(work / "a.hdf5", folder, form=SMALL, overwrite=True).plan.jobs) == 18
    assert all(path.stat().st_mtime_ns != t for path, t in before.items())


@pytest.mark.parametrize("how", ["another size", "another rate", "another demo", "not a video", "not ours"])
def test_resuming_refuses_videos_that_it_would_not_make(work, how):
    one, form = work / "a" / "demo_0_table_cam.mp4", SMALL
    if how == "another size":
        form = VideoFormat(64, 64, 20)
    elif how == "another rate":
        form = VideoFormat(96, 80, 30)
    elif how == "another demo":
        shutil.copy(work / "a" / "demo_1_table_cam.mp4", one)
    elif how == "not a video":
        one.write_bytes(b"x" * 1000)
    else:
        opencv_video(one, np.zeros((12, 80, 96, 3), np.uint8))
    with pytest.raises(UserError, match="would not make") as caught:
        make_videos(work / "a.hdf5", work / "a", form=form, resume=True)
    assert str(one) in caught.value.where


def test_a_conversion_that_was_killed_is_resumed_to_the_same_videos(work, tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from mimicctl.conversion import to_video as t; count = [0]; real = t.VideoWriter.write\n"
        "def write(self, picture):\n count[0] += 1\n count[0] >= 70 and os.kill(os.getpid(), signal.SIGKILL)\n real(self, picture)\n"
        f"t.VideoWriter.write = write; t.make_videos({str(work / 'a.hdf5')!r}, {str(tmp_path / 'b')!r}, form=t.VideoFormat(96, 80, 20), workers=2)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == -signal.SIGKILL
    left = [name for name in names(tmp_path / "b") if not name.startswith(".")]
    assert 1 <= len(left) < 18 and all(probe(tmp_path / "b" / name).frames >= 12 for name in left)
    made = make_videos(work / "a.hdf5", tmp_path / "b", form=SMALL, resume=True)
    assert len(made.plan.kept) == len(left)
    assert names(tmp_path / "b") == names(work / "a")
    # Not byte by byte: now and then FFmpeg's encoding differs a little from one process to the next.
    for name in names(work / "a"):
        resumed, straight = (np.stack(list(read_frames(folder / name, (96, 80)))) for folder in (tmp_path / "b", work / "a"))
        assert resumed.shape == straight.shape
        assert np.abs(resumed.astype(int) - straight).mean() < 1


def test_ctrl_c_leaves_whole_videos_only(work, tmp_path):
    command = [sys.executable, "-m", "mimicctl", "convert", "hdf5-to-mp4", "--input-file", str(work / "a.hdf5"), "--output-dir", "c"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list((tmp_path / "c").glob("*.mp4")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130 and log.splitlines()[-1].endswith("stopped.") and "Traceback" not in log
    left = names(tmp_path / "c")
    assert 1 <= len(left) < 18 and not [name for name in left if name.startswith(".")]


def test_a_full_disk_is_said(converted, tmp_path, monkeypatch):
    def full(self, picture):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(to_video.VideoWriter, "write", full)
    with pytest.raises(RunFailed, match="free some space; --resume"):
        make_videos(converted / "a.hdf5", tmp_path / "v", form=SMALL)
    assert names(tmp_path / "v") == []


# And back ---------------------------------------------------------------------------------------------


def test_a_demo_for_each_video_with_all_but_the_pictures_as_it_was(work):
    split_file(work / "a.hdf5")
    made = read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5")
    with Dataset(work / "a.hdf5") as a, Dataset(made.path) as b:
        assert b.demos == a.demos and b.total == a.total == b.group("demo_0").parent.attrs["total"]
        assert b.masks == a.masks and b.task_id == TASK and b.control_hz == 20 and b.format_version == 1
        for name in b.demos:
            old, new = dict(a.arrays(name)), dict(b.arrays(name))
            assert old.keys() == new.keys()
            assert [path for path in old if old[path].tobytes() != new[path].tobytes()] == ["obs/table_cam"]
            pictures = new["obs/table_cam"]
            assert pictures.dtype == np.uint8 and np.median(np.abs(pictures.astype(int) - old["obs/table_cam"])) <= 2
            assert b.attributes(name)["success"] and b.attributes(name)["num_samples"] == len(pictures)
        lineage = b.demo_lineage("demo_2")
        assert lineage["parent"]["demo"] == "demo_2" and lineage["parent"]["number"] == 2
        assert lineage["augmented"] == {
            "camera": "table_cam",
            "video": "demo_2_table_cam.mp4",
            "video_sha256": file_sha256(work / "augmented" / "demo_2_table_cam.mp4"),
        }
        assert b.lineage["inputs"] == [{"file": "a.hdf5", "file_sha256": file_sha256(work / "a.hdf5"), "lineage": {"made_by": "test"}}]


def test_augmented_and_original_demos_merge_into_one_dataset(work):
    """Isaac Lab's script copies the originals too, so that its documented next step has them twice."""
    read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5")
    merged = merge([work / "a.hdf5", work / "b.hdf5"], work / "c.hdf5")
    assert len(merged.plan.moves) == 6 and merged.plan.duplicates == ()


def test_videos_pair_naturally_several_to_a_demo(work):
    folder = work / "augmented"
    for name in ("demo_1_v10.mp4", "demo_1_v9.mp4", "demo_01_x.MP4"):
        shutil.copy(folder / "demo_1_table_cam.mp4", folder / name)
    (folder / "demo_2_table_cam.mp4").unlink()
    made = read_videos(work / "a.hdf5", folder, work / "b.hdf5")
    assert [(p.demo, p.video.name) for p in made.pairs] == [
        ("demo_0", "demo_0_table_cam.mp4"),
        ("demo_1", "demo_1_table_cam.mp4"),
        ("demo_1", "demo_1_v9.mp4"),
        ("demo_1", "demo_1_v10.mp4"),
        ("demo_1", "demo_01_x.MP4"),
    ]
    assert made.without == ("demo_2",)


def test_every_video_that_does_not_fit_is_named_and_nothing_is_written(work):
    folder = work / "augmented"
    shutil.copy(folder / "demo_1_table_cam.mp4", folder / "demo_2_longer.mp4")
    shutil.copy(folder / "demo_1_table_cam.mp4", folder / "demo_7_new.mp4")
    shutil.copy(folder / "demo_1_table_cam.mp4", folder / "episode_1.mp4")
    shutil.copy(folder / "demo_1_table_cam.mp4", folder / "demo_1_table_cam_control_edge.mp4")
    shutil.copy(work / "a" / "demo_1_wrist_cam.mp4", folder)
    shutil.copy(work / "a" / "demo_1_table_cam_shaded_segmentation.mp4", folder)
    (folder / "demo_0_broken.mp4").write_bytes((folder / "demo_0_table_cam.mp4").read_bytes()[:500])
    with pytest.raises(UserError) as caught:
        read_videos(work / "a.hdf5", folder, work / "b.hdf5")
    assert caught.value.what.startswith("7 of 10 videos")
    for problem in (
        "demo_2_longer.mp4: 14 frames, and demo_2 has 16 steps",
        "demo_7_new.mp4: there is no demo_7 in a.hdf5",
        "episode_1.mp4: the name does not begin with demo_<number>_",
        "demo_1_table_cam_control_edge.mp4: shows table_cam_control_edge, not table_cam",
        "demo_1_wrist_cam.mp4: shows wrist_cam, not table_cam",
        "demo_1_table_cam_shaded_segmentation.mp4: shows table_cam_shaded_segmentation, not table_cam",
        "demo_0_broken.mp4: this is not a readable video",
    ):
        assert problem in caught.value.where
    assert names(work) == ["a", "a.hdf5", "augmented"]


@pytest.mark.parametrize(("folder", "message"), [("nowhere", "no such folder"), ("empty", "no videos")])
def test_a_folder_without_videos_is_said(work, folder, message):
    (work / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        read_videos(work / "a.hdf5", work / folder, work / "b.hdf5")


@pytest.mark.parametrize("size", [(200, 200), (37, 53)], ids=["Isaac Lab's", "odd"])
def test_pictures_of_any_size_come_back(tmp_path, size):
    path = camera_file(tmp_path / "a.hdf5", 1, size=size)
    make_videos(path, tmp_path / "v", keys=["table_cam"], form=VideoFormat(320, 240, 20))
    read_videos(path, tmp_path / "v", tmp_path / "b.hdf5")
    before, after = stored(path, "demo_0", "table_cam"), stored(tmp_path / "b.hdf5", "demo_0", "table_cam")
    assert after.shape == before.shape == (12, *size, 3)
    assert np.median(np.abs(after.astype(int) - before)) <= 2


def test_another_camera_can_have_been_augmented(work):
    (work / "wrist").mkdir()
    shutil.copy(work / "a" / "demo_1_wrist_cam.mp4", work / "wrist")
    read_videos(work / "a.hdf5", work / "wrist", work / "b.hdf5", camera="wrist_cam")
    assert np.array_equal(stored(work / "b.hdf5", "demo_0", "table_cam"), stored(work / "a.hdf5", "demo_1", "table_cam"))
    with pytest.raises(UserError, match="no pictures obs/nose_cam"):
        read_videos(work / "a.hdf5", work / "augmented", work / "c.hdf5", camera="nose_cam")


def test_files_of_the_older_kind_stay_so(work):
    edit(work / "a.hdf5", lambda f: f.attrs.__delitem__("format_version"))
    read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5")
    with h5py.File(work / "b.hdf5") as file:
        assert "format_version" not in file.attrs


def test_the_output_is_not_replaced_unasked_and_never_the_input(work):
    (work / "b.hdf5").write_bytes(b"precious")
    with pytest.raises(UserError, match=r"--resume continues it, --overwrite"):
        read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5")
    with pytest.raises(UserError, match="output is the input"):
        read_videos(work / "a.hdf5", work / "augmented", work / "a.hdf5", overwrite=True)
    assert (work / "b.hdf5").read_bytes() == b"precious"
    read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5", overwrite=True)
    again = read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5", resume=True)
    assert again.resumed_at == 3
    (work / "augmented" / "demo_1_table_cam.mp4").unlink()
    with pytest.raises(UserError, match="other demos or videos"):
        read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5", resume=True)


def test_a_killed_conversion_back_is_resumed_to_the_same_demos(work):
    whole = read_videos(work / "a.hdf5", work / "augmented", work / "whole.hdf5")
    child = os.fork()
    if not child:

        def kill(done: int, total: int) -> None:
            if done == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5", on_progress=kill)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]) and not (work / "b.hdf5").exists()
    resumed = read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5", resume=True)
    assert resumed.resumed_at == 2
    with Dataset(whole.path) as one, Dataset(resumed.path) as other:
        assert one.content_hash() == other.content_hash()
    assert not list(work.glob("*partial*")) and not list(work.glob(".*"))


def test_what_was_begun_with_other_videos_is_not_continued(work, monkeypatch):
    real = from_video._compressed_frames

    def fails_at_last(pair):
        if pair.demo == "demo_2":
            raise RunFailed("The video breaks off.")
        return real(pair)

    monkeypatch.setattr(from_video, "_compressed_frames", fails_at_last)
    with pytest.raises(RunFailed):
        read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5")
    monkeypatch.undo()
    with VideoWriter(work / "augmented" / "demo_0_table_cam.mp4", (96, 80), 20) as writer:
        for _ in range(12):
            writer.write(np.zeros((40, 48, 3), np.uint8))
    with pytest.raises(UserError, match="other demos or videos"):
        read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5", resume=True)
    assert len(read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5", overwrite=True).pairs) == 3


def test_a_video_that_breaks_off_ends_the_run_and_is_named(work):
    video = work / "augmented" / "demo_2_table_cam.mp4"
    with VideoWriter(video, (96, 80), 20) as writer:
        for _ in range(16):
            writer.write(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8))
    content = bytearray(video.read_bytes())
    start, end = content.index(b"mdat") + 4, content.rindex(b"moov") - 4
    content[(start + end) // 2 : end] = b"\xff" * (end - (start + end) // 2)
    video.write_bytes(content)
    with pytest.raises(RunFailed) as caught:
        read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5")
    assert str(video) in caught.value.where and not (work / "b.hdf5").exists()


# Exchange with Isaac Lab's scripts --------------------------------------------------------------------


def opencv_video(path: Path, pictures: np.ndarray) -> None:
    """As Isaac Lab writes videos: OpenCV, mp4v, bicubic."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (1280, 704))
    for picture in pictures:
        writer.write(cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), (1280, 704), interpolation=cv2.INTER_CUBIC))
    writer.release()


def opencv_frames(path: Path, size: tuple[int, int]) -> np.ndarray:
    """As Isaac Lab reads them back."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(cv2.resize(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), size, interpolation=cv2.INTER_LINEAR))
    return np.stack(frames)


def test_theirs_are_read_here(work):
    pictures = stored(work / "a.hdf5", "demo_1", "table_cam")
    shutil.rmtree(work / "augmented")
    (work / "augmented").mkdir()
    opencv_video(work / "augmented" / "demo_1_table_cam.mp4", pictures)
    read_videos(work / "a.hdf5", work / "augmented", work / "b.hdf5")
    error = np.abs(stored(work / "b.hdf5", "demo_0", "table_cam").astype(int) - pictures)
    assert np.median(error) <= 4 and error.mean() < 6  # mp4v loses more


def test_ours_are_read_there_with_the_same_colours(tmp_path):
    path = camera_file(tmp_path / "a.hdf5", 1)
    make_videos(path, tmp_path / "v", keys=["table_cam", "table_cam_segmentation"])
    for key in ("table_cam", "table_cam_segmentation"):
        pictures = stored(path, "demo_0", key)[..., :3]
        frames = opencv_frames(tmp_path / "v" / f"demo_0_{key}.mp4", (48, 40))
        assert frames.shape == pictures.shape
        error = np.abs(frames.astype(int) - pictures)
        assert np.median(error, axis=(0, 1, 2)).max() <= 2 and error.mean() < 5


# As it is typed ---------------------------------------------------------------------------------------


def test_there_and_back_with_isaac_labs_spelling(converted, tmp_path, mimicctl):
    shutil.copy(converted / "a.hdf5", tmp_path)
    there = mimicctl(
        "convert", "hdf5-to-mp4", "--input_file", "a.hdf5", "--output_dir", "v", "--input_keys", "table_cam", "wrist_cam",
        "--video_height", "80", "--video_width", "96", "--framerate", "20", "--demo_id", "1", "--json",
    )  # fmt: skip
    assert there.returncode == 0, there.stderr
    told = json.loads(there.stdout)
    assert names(tmp_path / "v") == ["demo_1_table_cam.mp4", "demo_1_wrist_cam.mp4"]
    assert told["videos"][0] == {"file": str(tmp_path / "v" / "demo_1_table_cam.mp4"), "demo": "demo_1", "key": "table_cam", "frames": 14}
    (tmp_path / "v" / "demo_1_wrist_cam.mp4").unlink()
    back = mimicctl("convert", "mp4-to-hdf5", "--input_file", "a.hdf5", "--videos_dir", "v", "--output_file", "b.hdf5")
    assert back.returncode == 0, back.stderr
    assert str(tmp_path / "b.hdf5") in back.stdout and "2 demos of a.hdf5, left out" in back.stdout and "Next: mimicctl merge a.hdf5" in back.stdout
    assert mimicctl("merge", "a.hdf5", "b.hdf5", "--output-file", "c.hdf5").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hdf5-to-mp4"], "no dataset to convert"),
        (["hdf5-to-mp4", "--input-file", "a.hdf5", "--video-width", "0"], "convert.video_width"),
        (["mp4-to-hdf5", "--input-file", "a.hdf5", "--videos-dir", "nowhere"], "no such folder"),
        (["mp4-to-hdf5", "--input-file", "no.hdf5"], "no such file"),
    ],
)
def test_mistakes_are_answered(converted, mimicctl, arguments, message):
    done = mimicctl("convert", *arguments, cwd=converted)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_without_pyav_the_extra_is_named(converted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"mimicctl\[video\]"):
        make_videos(converted / "a.hdf5", tmp_path / "v")
