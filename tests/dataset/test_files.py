"""Datasets: what is written is read, what is committed stays, what is broken is said."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.dataset.check import check
from mimicctl.dataset.info import describe
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.repair import repair
from mimicctl.dataset.split import split_file, split_names
from mimicctl.dataset.writer import DatasetWriter, checked_output, leaves
from mimicctl.errors import RunFailed, UserError
from mimicctl.schema import Episode
from tests.episodes import make_episode

KILLS = int(os.environ.get("TEST_KILLS", "15"))


def write(path: Path, episodes, **options) -> Path:
    with DatasetWriter(path, task_id="MuJoCo-Stack-Cube-Franka-IK-Rel-v0", lineage={"made_by": "a test"}, **options) as writer:
        for episode in episodes:
            writer.write(episode)
    return path


def assert_equal(a: Episode, b: Episode) -> None:
    arrays_a, arrays_b = dict(leaves(a)), dict(leaves(b))
    assert arrays_a.keys() == arrays_b.keys()
    assert all(np.array_equal(arrays_a[path], arrays_b[path]) for path in arrays_a)


def findings(path: Path) -> list[tuple[str, str, str]]:
    with Dataset(path, need_demos=False) as dataset:
        return [(f.severity, f.demo, f.key) for f in check(dataset)]


def test_what_is_written_is_read_back(tmp_path):
    written = [make_episode(i, steps=10 + i) for i in range(3)]
    with Dataset(write(tmp_path / "a.hdf5", written)) as dataset:
        assert dataset.demos == ("demo_0", "demo_1", "demo_2")
        assert dataset.task_id.startswith("MuJoCo-Stack")
        assert dataset.format_version == 1
        for (_, read), original in zip(dataset.episodes(), written, strict=True):
            assert_equal(read, original)
            assert read.success and read.lineage == original.lineage


def test_layout_is_isaac_labs(tmp_path):
    with h5py.File(write(tmp_path / "a.hdf5", [make_episode(0, steps=12)]), "r") as file:
        assert file.attrs["format_version"] == 1
        assert json.loads(file["data"].attrs["env_args"])["type"] == 2
        assert file["data"].attrs["total"] == 12
        demo = file["data/demo_0"]
        assert demo.attrs["num_samples"] == 12 and demo.attrs["success"]
        assert demo["initial_state/rigid_object/cube_1/root_pose"].shape == (1, 7)
        assert demo["states/rigid_object/cube_1/root_pose"].shape == (12, 7)
        assert demo["actions"].dtype == np.float32


def test_demos_come_in_natural_order(tmp_path):
    with Dataset(write(tmp_path / "a.hdf5", [make_episode(i, steps=3) for i in range(12)])) as dataset:
        assert dataset.demos[2] == "demo_2" and dataset.demos[-1] == "demo_11"
        assert [episode.lineage["number"] for _, episode in dataset.episodes()] == list(range(12))


def test_appending_goes_on_where_the_numbers_end(tmp_path):
    path = write(tmp_path / "a.hdf5", [make_episode(0)])
    write(path, [make_episode(1)])
    with Dataset(path) as dataset:
        assert dataset.demos == ("demo_0", "demo_1")
        assert dataset.group("demo_0").parent.attrs["total"] == 40


def test_images_are_compressed_by_frame_and_lossless(tmp_path):
    image = np.zeros((20, 16, 16, 3), np.uint8)
    image[:, 4:8] = 200
    with h5py.File(write(tmp_path / "a.hdf5", [make_episode(0, obs={"table_cam": image})]), "r") as file:
        stored = file["data/demo_0/obs/table_cam"]
        assert stored.chunks == (1, 16, 16, 3) and stored.compression == "gzip"
        assert np.array_equal(stored[()], image)


def test_legacy_quaternions_are_turned_round_in_states_and_in_observations(tmp_path):
    path = write(tmp_path / "a.hdf5", [make_episode(0)])
    with h5py.File(path, "r+") as file:
        del file.attrs["format_version"]
        file["data/demo_0/states/rigid_object/cube_1/root_pose"][:] = [1, 2, 3, 0.9, 0.1, 0.2, 0.3]
    with Dataset(path) as dataset:
        episode = dataset.episode("demo_0")
    np.testing.assert_allclose(episode.states["rigid_object/cube_1/root_pose"][0], [1, 2, 3, 0.1, 0.2, 0.3, 0.9])
    np.testing.assert_array_equal(episode.obs["eef_quat"], make_episode(0).obs["eef_quat"][:, [1, 2, 3, 0]])
    np.testing.assert_array_equal(episode.obs["eef_pos"], make_episode(0).obs["eef_pos"])


@pytest.mark.parametrize("shape", [(20,), (20, 1), (1, 20)])
def test_signals_of_any_shape_are_read_flat(tmp_path, shape):
    info = {"subtask_term_signals/grasp_1": (np.arange(20) > 7).reshape(shape)}
    with Dataset(write(tmp_path / "a.hdf5", [make_episode(0, datagen_info=info)])) as dataset:
        signal_read = dataset.episode("demo_0").datagen_info["subtask_term_signals/grasp_1"]
    assert signal_read.dtype == bool and signal_read.shape == (20,) and signal_read[8] and not signal_read[7]


def test_content_hash_follows_the_content_and_not_the_layout(tmp_path):
    a = write(tmp_path / "a.hdf5", [make_episode(0)])
    b = write(tmp_path / "b.hdf5", [make_episode(0)])
    c = write(tmp_path / "c.hdf5", [make_episode(1)])
    hashes = []
    for path in (a, b, c):
        with Dataset(path) as dataset:
            hashes.append(dataset.content_hash())
    assert hashes[0] == hashes[1] != hashes[2]


CHILD = """
import sys
from pathlib import Path
from mimicctl.dataset.writer import DatasetWriter
from tests.episodes import make_episode
with DatasetWriter(Path(sys.argv[1]), task_id="t", lineage={}) as writer:
    for i in range(100000):
        writer.write(make_episode(i), [str(i)])
        print(i + 1, flush=True)
"""


def test_killed_writer_leaves_a_file_that_opens_and_holds_every_committed_demo(tmp_path):
    path, root, before = tmp_path / "a.hdf5", Path(__file__).parents[2], 0
    for attempt in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], cwd=root, stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        time.sleep(random.Random(attempt).uniform(0, 0.25))
        child.send_signal(signal.SIGKILL)
        committed = sum(1 for _ in child.stdout) + 1
        child.wait()
        with h5py.File(path, "r") as file:
            demos = len(file["data"])
            # The child may have been killed between a commit and its line about it.
            assert committed <= demos - before <= committed + 1
            assert len(file["mimicctl/attempts"]) == demos
            assert file["data"].attrs["total"] == 20 * demos
            assert all(len(file["data"][name]["actions"]) == 20 for name in file["data"])
        before = demos
    write(path, [make_episode(7)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5"]


def test_second_writer_of_a_file_is_refused(tmp_path):
    with (
        DatasetWriter(tmp_path / "a.hdf5", task_id="t", lineage={}) as writer,
        pytest.raises(UserError, match="Another process"),
    ):
        DatasetWriter(writer.path, task_id="t", lineage={})


def test_readers_of_a_file_being_written_see_a_whole_version(tmp_path):
    with DatasetWriter(tmp_path / "a.hdf5", task_id="t", lineage={}) as writer:
        for i in range(5):
            writer.write(make_episode(i))
            with Dataset(writer.path) as dataset:
                assert len(dataset) == i + 1
                assert dataset.episode(f"demo_{i}").lineage["number"] == i


@pytest.mark.parametrize("name", ["data.txt", "folder.hdf5"])
def test_unfit_outputs_are_refused(tmp_path, name):
    (tmp_path / "folder.hdf5").mkdir()
    with pytest.raises(UserError):
        checked_output(tmp_path / name)


# Check, split, repair ---------------------------------------------------------------------------------


def test_a_sound_split_dataset_has_no_findings(tmp_path):
    path = write(tmp_path / "a.hdf5", [make_episode(i) for i in range(5)])
    assert findings(path) == [("warning", "", "mask")]
    split_file(path)
    assert findings(path) == []


def poison(path: Path, change) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def set_nan(file: h5py.File) -> None:
    file["data/demo_1/obs/object"][3, 5] = np.nan


def shorten(file: h5py.File) -> None:
    values = file["data/demo_1/obs/object"][:10]
    del file["data/demo_1/obs/object"]
    file["data/demo_1/obs/object"] = values


def drop_key(file: h5py.File) -> None:
    del file["data/demo_1/obs/object"]


def widen(file: h5py.File) -> None:
    del file["data/demo_1/obs/object"]
    file["data/demo_1/obs/object"] = np.zeros((20, 40), np.float32)


def empty(file: h5py.File) -> None:
    del file["data/demo_1/actions"]
    file["data/demo_1/actions"] = np.zeros((0, 7), np.float32)


def exceed(file: h5py.File) -> None:
    file["data/demo_1/actions"][4, 0] = 1.5


def miscount(file: h5py.File) -> None:
    file["data/demo_1"].attrs["num_samples"] = 7


def gap(file: h5py.File) -> None:
    file.move("data/demo_1", "data/demo_9")


def bad_mask(file: h5py.File) -> None:
    file["mask/train"] = np.array([b"demo_77"])
    file["mask/valid"] = np.array([b"demo_0"])


def no_env(file: h5py.File) -> None:
    del file["data"].attrs["env_args"]


def fail(file: h5py.File) -> None:
    file["data/demo_1"].attrs["success"] = False


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (set_nan, ("error", "demo_1", "obs/object")),
        (shorten, ("error", "demo_1", "obs/object")),
        (drop_key, ("error", "demo_1", "obs/object")),
        (widen, ("error", "demo_1", "obs/object")),
        (empty, ("error", "demo_1", "actions")),
        (exceed, ("error", "demo_1", "actions")),
        (miscount, ("error", "demo_1", "attrs[num_samples]")),
        (gap, ("warning", "", "data")),
        (bad_mask, ("error", "demo_77", "mask/train")),
        (no_env, ("error", "", "data.attrs[env_args]")),
        (fail, ("warning", "demo_1", "attrs[success]")),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_check_finds(tmp_path, change, finding):
    path = write(tmp_path / "a.hdf5", [make_episode(i) for i in range(3)])
    assert finding in findings(poison(path, change))


def test_split_is_seeded_disjoint_and_leaves_the_data_alone(tmp_path):
    path = write(tmp_path / "a.hdf5", [make_episode(i, steps=3) for i in range(10)])
    with Dataset(path) as dataset:
        before = dataset.content_hash()
    masks = split_file(path, seed=3)
    assert len(masks["train"]) == 8 and len(masks["valid"]) == 2
    assert masks == split_file(path, seed=3)
    with pytest.raises(UserError, match="masks already"):
        split_file(path, seed=4)
    assert split_file(path, seed=4, overwrite=True) != masks
    with Dataset(path) as dataset:
        assert dataset.content_hash() == before
        assert not set(dataset.masks["train"]) & set(dataset.masks["valid"])
    with h5py.File(path, "r") as file:
        assert file["mask/train"].dtype.kind == "S"


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_split_keeps_something_to_train_on(count):
    masks = split_names([f"demo_{i}" for i in range(count)])
    assert masks["train"] and len(masks["train"]) + len(masks["valid"]) == count
    assert count == 1 or masks["valid"]


def test_truncated_file_is_named_as_such_and_repair_saves_the_whole_demos(tmp_path):
    path = write(tmp_path / "a.hdf5", [make_episode(i, steps=200) for i in range(8)])
    size, saved_counts = path.stat().st_size, set()
    for share in (0.15, 0.3, 0.5, 0.7, 0.9, 0.99):
        cut = tmp_path / f"cut_{share}.hdf5"
        cut.write_bytes(path.read_bytes()[: int(size * share)])
        with pytest.raises(UserError, match="cut off"):
            Dataset(cut)
        target = tmp_path / f"saved_{share}.hdf5"
        try:
            found = repair(cut, target)
        except RunFailed:
            assert not target.exists()
            continue
        saved = found.saved
        saved_counts.add(len(saved))
        with Dataset(target) as dataset, Dataset(path) as original:
            assert list(dataset.demos) == saved
            for name in saved:
                assert_equal(dataset.episode(name), original.episode(name))
    assert saved_counts - {0}, "no cut left anything to save"
    assert sorted(p.name for p in tmp_path.glob(".*")) == []


def test_describe_counts_what_is_there(tmp_path, source_file):
    info = describe(source_file)
    assert len(info.lengths) == 10 == info.annotated == info.succeeded
    assert info.keys["actions"] == ((7,), "float32")
    assert json.dumps(info.as_dict())
