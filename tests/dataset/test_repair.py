"""Repair saves exactly the demos that are whole, wherever the file was cut, and never passes filler off as data."""

from __future__ import annotations

import json
import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.repair import repair
from mimicctl.dataset.writer import DatasetWriter, leaves
from mimicctl.errors import RunFailed, UserError
from tests.episodes import make_episode

DEMOS = 40


def episode(number: int):
    image = np.random.default_rng(number).integers(0, 255, (20, 6, 6, 3), dtype=np.uint8)
    return make_episode(number, obs={**make_episode(number).obs, "table_cam": image})


def ours(path: Path) -> None:
    with DatasetWriter(path, task_id="t", lineage={"made_by": "a test"}) as writer:
        for i in range(DEMOS):
            writer.write(episode(i), ["{}"])


def isaac_labs(path: Path) -> None:
    """In the way of Isaac Lab's file handler: attributes first, everything compressed, one flush a demo."""
    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = 1
        data = file.create_group("data")
        data.attrs["total"], data.attrs["env_args"] = 0, json.dumps({"env_name": "t", "type": 2})
        for i in range(DEMOS):
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"], demo.attrs["success"] = 20, True
            demo.attrs["mimicctl_lineage"] = json.dumps({"number": i})
            for key, array in leaves(episode(i)):
                demo.create_dataset(key, data=array, compression="gzip", compression_opts=2)
            data.attrs["total"] += 20
            file.flush()


@pytest.fixture(scope="module", params=[ours, isaac_labs])
def whole(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.hdf5"
    request.param(path)
    return path


def assert_every_saved_demo_is_the_original(path: Path, *, names_kept: bool) -> None:
    with Dataset(path) as dataset:
        assert dataset.group(dataset.demos[0]).parent.attrs["total"] == 20 * len(dataset)
        for name, saved in dataset.episodes():
            number = saved.lineage["number"]
            expected, found = dict(leaves(episode(number))), dict(leaves(saved))
            assert expected.keys() == found.keys() and saved.success
            assert all(np.array_equal(found[key], array) and found[key].dtype == array.dtype for key, array in expected.items())
            assert not names_kept or name == f"demo_{number}"


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 0.99, 0.999])
def test_cut_file_gives_back_the_demos_before_the_cut(whole, tmp_path, share):
    content = whole.read_bytes()
    cut, saved = tmp_path / "cut.hdf5", tmp_path / "saved.hdf5"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="cut off"):
        Dataset(cut)
    before = cut.read_bytes()
    try:
        found = repair(cut, saved)
    except RunFailed:
        assert share <= 0.1, "demos lie before this cut"
        assert not saved.exists()
        return
    # HDF5 puts structures of a demo behind its data, and some of the next demo's before it; the very end can be unused.
    assert share * DEMOS - 3 <= len(found.saved) <= share * DEMOS + 1
    assert_every_saved_demo_is_the_original(saved, names_kept=not found.renumbered)
    assert cut.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.hdf5", "saved.hdf5"]


def test_random_cuts_never_raise_anything_but_user_errors_and_never_save_a_wrong_demo(whole, tmp_path):
    content, chance = whole.read_bytes(), random.Random(1)
    for _ in range(8):
        cut, saved = tmp_path / "cut.hdf5", tmp_path / "saved.hdf5"
        cut.write_bytes(content[: chance.randrange(1, len(content))])
        try:
            found = repair(cut, saved, overwrite=True)
        except UserError:
            continue
        assert_every_saved_demo_is_the_original(saved, names_kept=not found.renumbered)


def test_whole_file_comes_out_whole(whole, tmp_path):
    found = repair(whole, tmp_path / "saved.hdf5")
    assert len(found.saved) == DEMOS and not found.contents_damaged
    with Dataset(whole) as original, Dataset(tmp_path / "saved.hdf5") as saved:
        assert saved.content_hash() == original.content_hash()
        assert saved.lineage == original.lineage and saved.env_args == original.env_args


def test_demo_that_was_being_written_is_lost_and_said_so(whole, tmp_path):
    damaged = tmp_path / "damaged.hdf5"
    damaged.write_bytes(whole.read_bytes())
    with h5py.File(damaged, "r+") as file:
        del file["data/demo_5"].attrs["num_samples"]
        del file["data/demo_7/obs/object"]
        file["data/demo_7"].create_dataset("obs/object", (20, 39), "f4", chunks=(5, 39))
    found = repair(damaged, tmp_path / "saved.hdf5")
    assert {d.name: d.lost_because for d in found.demos if d.lost_because} == {
        "demo_5": "it was being written",
        "demo_7": "obs/object was being written",
    }
    assert len(found.saved) == DEMOS - 2


@pytest.mark.parametrize("content", [b"", b"\x89HDF", b"plain text, not a dataset"], ids=["empty", "four bytes", "text"])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    (tmp_path / "a.hdf5").write_bytes(content)
    with pytest.raises(UserError, match="not an HDF5 file"):
        repair(tmp_path / "a.hdf5", tmp_path / "b.hdf5")
    assert not (tmp_path / "b.hdf5").exists()


def test_repair_refuses_its_own_input_and_existing_outputs(whole, tmp_path):
    path = tmp_path / "a.hdf5"
    path.write_bytes(whole.read_bytes())
    before = path.read_bytes()
    with pytest.raises(UserError, match="damaged file itself"):
        repair(path, path, overwrite=True)
    (tmp_path / "b.hdf5").write_bytes(b"precious")
    with pytest.raises(UserError, match="exists already"):
        repair(path, tmp_path / "b.hdf5")
    assert path.read_bytes() == before and (tmp_path / "b.hdf5").read_bytes() == b"precious"
