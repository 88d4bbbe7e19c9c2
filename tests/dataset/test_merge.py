"""Merging: what is carried, what is refused before anything is written, and that chunks are copied as they are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from mimicctl.dataset import merge as merging
from mimicctl.dataset.merge import merge
from mimicctl.dataset.merge_plan import plan_merge
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed, UserError
from tests.cameras import SIM_ARGS, TASK, camera_file
from tests.episodes import make_episode


def make_file(path: Path, numbers: range, *, task: str = "t", sim_args: dict | None = None, **changes: object) -> Path:
    env_args = {"sim_args": SIM_ARGS if sim_args is None else sim_args}
    with DatasetWriter(path, task_id=task, lineage={"made_by": "test", "file": path.stem}, env_args=env_args) as writer:
        for number in numbers:
            writer.write(make_episode(number, 20 + number, **changes))
    return path


def edit(path: Path, change) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    return make_file(tmp_path / "a.hdf5", range(12)), make_file(tmp_path / "b.hdf5", range(20, 23))


# What is carried --------------------------------------------------------------------------------------


def test_demos_are_in_natural_order_renumbered_and_whole(tmp_path, pair):
    merged = merge(pair, tmp_path / "c.hdf5")
    with Dataset(merged.path) as dataset, Dataset(pair[0]) as a, Dataset(pair[1]) as b:
        assert dataset.demos == tuple(f"demo_{i}" for i in range(15))
        assert [dataset.demo_lineage(n)["number"] for n in dataset.demos] == [*range(12), 20, 21, 22]
        assert (dataset.task_id, dataset.control_hz, dataset.format_version) == ("t", 20.0, 1)
        assert dataset.group("demo_0").parent.attrs["total"] == dataset.total == a.total + b.total
        for merged_name, source, name in (("demo_2", a, "demo_2"), ("demo_11", a, "demo_11"), ("demo_14", b, "demo_2")):
            assert {p: x.tobytes() for p, x in dataset.arrays(merged_name)} == {p: x.tobytes() for p, x in source.arrays(name)}
            assert dataset.attributes(merged_name)["num_samples"] == source.attributes(name)["num_samples"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "b.hdf5", "c.hdf5"]


def test_lineage_tells_file_and_demo_also_of_a_merge_of_merges(tmp_path, pair):
    c = merge(pair, tmp_path / "c.hdf5").path
    d = merge([make_file(tmp_path / "x.hdf5", range(30, 31)), c], tmp_path / "d.hdf5").path
    with Dataset(d) as dataset:
        origin = dataset.demo_lineage("demo_15")["merged_from"]
        assert origin == {"input": 1, "demo": "demo_14", "merged_from": {"input": 1, "demo": "demo_2"}}
        inputs = dataset.lineage["inputs"]
        assert [i["file"] for i in inputs] == ["x.hdf5", "c.hdf5"]
        assert inputs[1]["lineage"]["inputs"][1]["lineage"] == {"made_by": "test", "file": "b"}
        assert inputs[1]["file_sha256"] == hashlib.sha256(c.read_bytes()).hexdigest()


def test_masks_are_carried_under_the_new_names(tmp_path, pair):
    expected = {}
    for path, shift in zip(pair, (0, 12), strict=True):
        for key, names in split_file(path).items():
            expected.setdefault(key, []).extend(f"demo_{int(n[5:]) + shift}" for n in names)
    edit(pair[1], lambda f: f["mask"].create_dataset("better", data=np.array([b"demo_2"])))
    with Dataset(merge(pair, tmp_path / "c.hdf5").path) as dataset:
        assert {key: list(names) for key, names in dataset.masks.items()} == {**expected, "better": ["demo_14"]}


def test_pictures_are_copied_chunk_by_chunk_without_recompression(tmp_path):
    a, b = camera_file(tmp_path / "a.hdf5", 2), tmp_path / "b.hdf5"
    edit(a, lambda f: f["data"].move("demo_1", "demo_7"))
    shutil.copy(a, b)
    edit(b, lambda f: [f[f"data/{n}/actions"].write_direct(f[f"data/{n}/actions"][()] * 0.5) for n in f["data"]])
    path = merge([a, b], tmp_path / "c.hdf5").path
    with h5py.File(path) as merged, h5py.File(a) as source:
        for name, old in (("demo_0", "demo_0"), ("demo_1", "demo_7")):
            new, was = merged[f"data/{name}/obs/table_cam"], source[f"data/{old}/obs/table_cam"]
            assert (new.chunks, new.compression, new.compression_opts) == (was.chunks, "gzip", 2)
            assert [new.id.read_direct_chunk((t, 0, 0, 0)) for t in range(len(new))] == [was.id.read_direct_chunk((t, 0, 0, 0)) for t in range(len(was))]


def test_demos_that_are_there_already_are_left_out_and_told_of(tmp_path):
    a, b = camera_file(tmp_path / "a.hdf5", 2), camera_file(tmp_path / "b.hdf5", 4)
    split_file(a)
    split_file(b)
    # The same motion with other pictures is another demo, as after augmentation; one pixel is enough.
    edit(b, lambda f: f["data/demo_1/obs/wrist_cam"].__setitem__((5, 3, 3, 0), 77))
    merged = merge([a, b], tmp_path / "c.hdf5")
    assert [(d.source, d.demo, d.same_as) for d in merged.plan.duplicates] == [(1, "demo_0", (0, "demo_0"))]
    with Dataset(merged.path) as dataset:
        assert [dataset.demo_lineage(n)["merged_from"]["demo"] for n in dataset.demos] == ["demo_0", "demo_1", "demo_1", "demo_2", "demo_3"]
        assert dataset.lineage["left_out"][0]["demo"] == "demo_0"
        assert sum(map(len, dataset.masks.values())) == 5
        assert dataset.total == merged.plan.steps


def test_legacy_files_stay_legacy(tmp_path, pair):
    for path in pair:
        edit(path, lambda f: f.attrs.__delitem__("format_version"))
    with h5py.File(merge(pair, tmp_path / "c.hdf5").path) as file:
        assert "format_version" not in file.attrs


# What is refused --------------------------------------------------------------------------------------


def spoil(tmp_path: Path, how: str) -> list[Path]:
    """Three files, of which the second and third do not fit the first."""
    a = make_file(tmp_path / "a.hdf5", range(2), task="MuJoCo-X-v0")
    make = {
        "task": lambda p, n: make_file(p, n, task="MuJoCo-Y-v0"),
        "rate": lambda p, n: make_file(p, n, task="MuJoCo-X-v0", sim_args={"dt": 0.01, "decimation": 2}),
        "quaternions": lambda p, n: edit(make_file(p, n, task="MuJoCo-X-v0"), lambda f: f.attrs.__delitem__("format_version")),
        "shape": lambda p, n: make_file(p, n, task="MuJoCo-X-v0", actions=np.zeros((30, 8), np.float32)),
        "type": lambda p, n: make_file(p, n, task="MuJoCo-X-v0", actions=np.zeros((30, 7), np.float64)),
        "missing": lambda p, n: edit(make_file(p, n, task="MuJoCo-X-v0"), lambda f: f["data/demo_0/obs"].__delitem__("object")),
        "more": lambda p, n: edit(make_file(p, n, task="MuJoCo-X-v0"), lambda f: f["data/demo_0"].create_dataset("obs/extra", data=[1])),
        "length": lambda p, n: edit(make_file(p, n, task="MuJoCo-X-v0"), lambda f: f["data/demo_1"].attrs.__setitem__("num_samples", 3)),
        "masks": lambda p, n: make_file(p, n, task="MuJoCo-X-v0"),
        "mask": lambda p, n: edit(make_file(p, n, task="MuJoCo-X-v0"), lambda f: f.create_dataset("mask/x", data=np.array([b"demo_9"]))),
    }[how]
    if how == "masks":
        split_file(a)
    return [a, make(tmp_path / "b.hdf5", range(5, 7)), make(tmp_path / "c.hdf5", range(8, 10))]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("task", "task MuJoCo-Y-v0, but MuJoCo-X-v0 in a.hdf5"),
        ("rate", "50 Hz, but 20 Hz in a.hdf5"),
        ("quaternions", "quaternions are wxyz, but xyzw in a.hdf5"),
        ("shape", "actions is (T, 8) float32, but (T, 7) float32 in demo_0 of a.hdf5"),
        ("type", "actions is (T, 7) float64"),
        ("missing", "no obs/object, which demo_0 of a.hdf5 has"),
        ("more", "obs/extra, which demo_0 of a.hdf5 does not have"),
        ("length", "num_samples says 3"),
        ("masks", "no mask/train and mask/valid"),
        ("mask", "masks name 1 demos that are not there, for instance demo_9"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_every_reason_and_nothing_is_written(tmp_path, how, message):
    inputs = spoil(tmp_path, how)
    with pytest.raises(UserError) as caught:
        merge(inputs, tmp_path / "out.hdf5")
    where = caught.value.where
    assert message in where and str(inputs[1]) in where and str(inputs[2]) in where
    assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))


def test_common_keys_keep_what_all_demos_have(tmp_path):
    inputs = spoil(tmp_path, "missing")
    with pytest.raises(UserError, match="--common-keys"):
        merge(inputs, tmp_path / "out.hdf5")
    merged = merge(inputs, tmp_path / "out.hdf5", common_keys=True)
    assert merged.plan.dropped_keys == ("obs/object",)
    with Dataset(merged.path) as dataset, Dataset(inputs[0]) as a:
        assert {len(list(dataset.arrays(n))) for n in dataset.demos} == {len(list(a.arrays("demo_0"))) - 1}
        assert dict(dataset.arrays("demo_0"))["states/articulation/robot/joint_position"].shape == (20, 9)
        assert dataset.attributes("demo_1")["num_samples"] == 21 and dataset.demo_lineage("demo_1")["number"] == 1


def test_common_keys_keep_the_attributes_of_groups(tmp_path, pair):
    with h5py.File(pair[0], "a") as file:
        file["data/demo_0/obs/extra"] = np.zeros(3)
        file["data/demo_0/obs"].attrs["unit"] = "m"
        file["data/demo_0/states/articulation"].attrs["frame"] = "world"
    merge(pair, tmp_path / "c.hdf5", common_keys=True)
    with h5py.File(tmp_path / "c.hdf5") as file:
        demo = file["data/demo_0"]
        assert "extra" not in demo["obs"] and demo["obs"].attrs["unit"] == "m" and demo["states/articulation"].attrs["frame"] == "world"


@pytest.mark.parametrize("common_keys", [False, True])
def test_recorded_and_generated_demos_merge(tmp_path, common_keys):
    recorded = make_file(tmp_path / "a.hdf5", range(1))
    generated = make_file(tmp_path / "b.hdf5", range(1, 2), intended_actions=np.ones((21, 7), np.float32))
    if common_keys:
        edit(recorded, lambda file: file["data/demo_0/obs"].__delitem__("object"))
    with Dataset(merge([recorded, generated], tmp_path / "c.hdf5", common_keys=common_keys).path) as dataset:
        assert "intended_actions" not in dataset.group("demo_0")
        assert np.all(dataset.episode("demo_1").intended_actions == 1)


def test_common_keys_do_not_help_against_another_shape(tmp_path):
    with pytest.raises(UserError, match="actions is"):
        merge(spoil(tmp_path, "shape"), tmp_path / "out.hdf5", common_keys=True)


def test_the_mimic_infix_names_the_same_task(tmp_path):
    a, b = make_file(tmp_path / "a.hdf5", range(1), task="Isaac-X-v0"), make_file(tmp_path / "b.hdf5", range(1, 2), task="Isaac-X-Mimic-v0")
    assert len(plan_merge([a, b]).moves) == 2


@pytest.mark.parametrize("shape", [(20,), (20, 1), (1, 20)])
def test_signals_fit_whatever_their_shape(tmp_path, shape):
    def file(name: str, number: int, shape: tuple) -> Path:
        return make_file(tmp_path / name, range(number, number + 1), datagen_info={"subtask_term_signals/grasp": np.ones(shape, bool)})

    assert len(plan_merge([file("a.hdf5", 0, (20,)), file("b.hdf5", 1, shape)]).moves) == 2


def test_output_is_not_replaced_unasked_and_never_an_input(tmp_path, pair):
    target = tmp_path / "c.hdf5"
    target.write_bytes(b"precious")
    with pytest.raises(UserError, match="--overwrite") as caught:
        merge(pair, target)
    assert "--resume" not in str(caught.value) and target.read_bytes() == b"precious"
    for link in (pair[1], tmp_path / "link.hdf5"):
        if link != pair[1]:
            link.symlink_to(pair[1])
        with pytest.raises(UserError, match="one of the inputs"):
            merge(pair, link, overwrite=True)
    with pytest.raises(UserError, match="given twice"):
        merge([pair[0], pair[0]], target, overwrite=True)
    assert len(merge(pair, target, overwrite=True).plan.moves) == 15


@pytest.mark.parametrize("spliced", [True, False])
def test_a_merge_that_fails_half_way_leaves_the_old_output(tmp_path, pair, monkeypatch, spliced):
    target = merge(pair, tmp_path / "c.hdf5").path
    before = target.read_bytes()

    def full(dataset, data, move, plan, copy=merging._copy_demo):
        if move.name == "demo_9":
            raise OSError(28, "No space left on device")
        copy(dataset, data, move, plan)

    def full_for_a_file(path, part, on_progress, append=merging.append):
        if part.path == pair[1]:
            raise OSError(28, "No space left on device")
        return append(path, part, on_progress)

    if spliced:
        monkeypatch.setattr(merging, "append", full_for_a_file)
    else:
        monkeypatch.setattr(merging, "part_of", lambda *_: None)
        monkeypatch.setattr(merging, "_copy_demo", full)
    with pytest.raises(RunFailed, match="free some space"):
        merge(pair, target, overwrite=True)
    assert target.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "b.hdf5", "c.hdf5"]


def test_a_disk_that_is_too_small_is_noticed_first(tmp_path, pair, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(RunFailed, match="are free"):
        merge(pair, tmp_path / "c.hdf5")


def test_a_damaged_input_is_said_before_anything_is_written(tmp_path, pair):
    path = tmp_path / "z.hdf5"
    with DatasetWriter(path, task_id="t", lineage={}, env_args={"sim_args": SIM_ARGS}) as writer:
        writer.write(make_episode(7, 20))

    def compress(file: h5py.File) -> int:
        actions = file["data/demo_0/actions"][()]
        del file["data/demo_0/actions"]
        stored = file["data/demo_0"].create_dataset("actions", data=actions, chunks=actions.shape, compression="gzip")
        return stored.id.get_chunk_info(0).byte_offset

    with h5py.File(path, "r+") as file:
        at = compress(file)
    content = bytearray(path.read_bytes())
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged") as caught:
        merge([path, pair[0]], tmp_path / "c.hdf5")
    assert str(path) in caught.value.where and not (tmp_path / "c.hdf5").exists()


def test_kill_leaves_the_old_output_and_the_next_merge_works(tmp_path, pair):
    target = merge(pair, tmp_path / "c.hdf5").path
    before = target.read_bytes()
    child = os.fork()
    if not child:
        try:
            merge(pair, target, overwrite=True, on_progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done >= 7 else None)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and target.read_bytes() == before
    merge(pair, target, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "b.hdf5", "c.hdf5"]


# As it is typed ---------------------------------------------------------------------------------------


def test_isaac_labs_spelling_dry_run_and_the_next_command(tmp_path, pair, mimicctl):
    dry = mimicctl("merge", "--input_files", "a.hdf5", "b.hdf5", "--output_file", "c.hdf5", "--dry-run")
    assert dry.returncode == 0 and "demo_12 to demo_14" in dry.stdout and not (tmp_path / "c.hdf5").exists()
    done = mimicctl("merge", "a.hdf5", "b.hdf5", "--output-file", "c.hdf5", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["demos"] == 15 and told["moves"][12] == {"file": str(pair[1]), "demo": "demo_0", "name": "demo_12"}
    assert mimicctl("dataset", "check", "c.hdf5").returncode == 0
    again = mimicctl("merge", "a.hdf5", "b.hdf5", "--output-file", "c.hdf5")
    assert again.returncode == 2 and "--overwrite" in again.stderr
    replaced = mimicctl("merge", "b.hdf5", "a.hdf5", "--output-file", "c.hdf5", "--overwrite")
    assert replaced.returncode == 0 and f"Next: mimicctl train --dataset {tmp_path / 'c.hdf5'}" in replaced.stdout


def test_without_names_the_last_outputs_are_merged(tmp_path, mimicctl):
    (tmp_path / "datasets").mkdir()
    refused = mimicctl("merge")
    assert refused.returncode == 2 and "no two datasets" in refused.stderr
    make_file(tmp_path / "datasets" / "generated.hdf5", range(2), task=TASK)
    make_file(tmp_path / "datasets" / "augmented.hdf5", range(4, 6), task=TASK)
    done = mimicctl("merge")
    assert done.returncode == 0 and "generated.hdf5" in done.stderr and str(tmp_path / "datasets" / "merged.hdf5") in done.stdout


@pytest.mark.parametrize(("arguments", "message"), [(["a.hdf5"], "two files"), (["a.hdf5", "no.hdf5"], "no such file")])
def test_mistakes_are_answered(pair, mimicctl, arguments, message):
    done = mimicctl("merge", *arguments, "--output-file", "c.hdf5")
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
