"""`mimicctl dataset` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from mimicctl.dataset.writer import DatasetWriter
from tests.episodes import make_episode


def make_file(folder: Path, demos: int = 12) -> Path:
    with DatasetWriter(folder / "a.hdf5", task_id="t", lineage={}) as writer:
        for i in range(demos):
            writer.write(make_episode(i))
    return folder / "a.hdf5"


def test_cut_file_is_refused_repaired_split_and_sound(tmp_path, mimicctl):
    path = make_file(tmp_path)
    path.write_bytes(path.read_bytes()[: int(0.8 * path.stat().st_size)])
    refused = mimicctl("dataset", "info", "a.hdf5")
    assert refused.returncode == 2 and "cut off" in refused.stderr and "dataset repair" in refused.stderr
    repaired = mimicctl("dataset", "repair", "a.hdf5", "--json")
    saved = json.loads(repaired.stdout)["saved"]
    assert repaired.returncode == 0 and 6 <= len(saved) < 12
    assert mimicctl("dataset", "split", "a.repaired.hdf5").returncode == 0
    checked = mimicctl("dataset", "check", "a.repaired.hdf5", "--json")
    assert checked.returncode == 0 and json.loads(checked.stdout)["findings"] == []


def test_check_exits_1_on_errors_and_0_on_warnings(tmp_path, mimicctl):
    path = make_file(tmp_path, 2)
    warned = mimicctl("dataset", "check", "a.hdf5", "--json")
    assert warned.returncode == 0 and [f["severity"] for f in json.loads(warned.stdout)["findings"]] == ["warning"]
    with h5py.File(path, "r+") as file:
        file["data/demo_1/obs/object"][3, 5] = np.nan
    failed = mimicctl("dataset", "check", "a.hdf5", "--json")
    found = json.loads(failed.stdout)["findings"]
    assert failed.returncode == 1 and ("demo_1", "obs/object") in {(f["demo"], f["key"]) for f in found}


def test_nothing_to_save_exits_1_and_writes_nothing(tmp_path, mimicctl):
    path = make_file(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:300])
    failed = mimicctl("dataset", "repair", "a.hdf5")
    assert failed.returncode == 1 and "Nothing can be saved" in failed.stderr and "Traceback" not in failed.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]
