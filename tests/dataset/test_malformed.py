"""Files that are HDF5 but not what they should be: findings and plain messages, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.dataset.check import check
from mimicctl.dataset.info import describe
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from tests.episodes import make_episode

Change = Callable[[h5py.File], object]


def put(path: str, value: object) -> Change:
    def change(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file[path] = value

    return change


def mark(path: str, name: str, value: object) -> Change:
    return lambda file: file[path].attrs.__setitem__(name, value)


BROKEN: dict[str, Change] = {
    "observation is one number": put("data/demo_1/obs/x", 3.0),
    "observation is text": put("data/demo_1/obs/x", "hello"),
    "observation is empty": put("data/demo_1/obs/x", h5py.Empty("f4")),
    "observation is a record": put("data/demo_1/obs/x", np.zeros(20, [("a", "f4")])),
    "observation leads nowhere": put("data/demo_1/obs/x", h5py.SoftLink("/nope")),
    "observation is in another file": put("data/demo_1/obs/x", h5py.ExternalLink("nope.hdf5", "/x")),
    "actions are missing": lambda file: file.__delitem__("data/demo_1/actions"),
    "actions are flat": put("data/demo_1/actions", np.zeros(20)),
    "actions are one number": put("data/demo_1/actions", 1.0),
    "env_args is cut off": mark("data", "env_args", "{"),
    "env_args is a list": mark("data", "env_args", "[]"),
    "env_args is not text": mark("data", "env_args", 3),
    "env_args is not unicode": mark("data", "env_args", np.bytes_(b"\xff\xfe")),
    "total is text": mark("data", "total", "x"),
    "num_samples is text": mark("data/demo_1", "num_samples", "x"),
    "num_samples is two numbers": mark("data/demo_1", "num_samples", np.array([1, 2])),
    "seed is text": mark("data/demo_1", "seed", "x"),
    "lineage is cut off": mark("data/demo_1", "mimicctl_lineage", "{"),
    "format_version is text": mark("/", "format_version", "x"),
    "data is an array": put("data", 1),
    "demo is an array": put("data/demo_1", np.zeros(3)),
    "demo leads nowhere": put("data/demo_9", h5py.SoftLink("/nope")),
    "demo has nothing in it": lambda file: file.create_group("data/demo_7"),
    "demo has a number of another script": lambda file: file.create_group("data/demo_\u00b2"),
    "mask is an array": put("mask", 3),
    "mask is one name": put("mask/train", "demo_0"),
    "mask is numbers": put("mask/train", np.arange(3)),
    "attempts are not JSON": put("mimicctl/attempts", np.array([b"{", b"x"])),
    "attempts are not objects": put("mimicctl/attempts", np.array([b"3"])),
    "attempts are a group": lambda file: file.create_group("mimicctl/attempts"),
}


@pytest.fixture(params=BROKEN.values(), ids=list(BROKEN))
def broken(request, tmp_path) -> Path:
    path = tmp_path / "a.hdf5"
    with DatasetWriter(path, task_id="t", lineage={}) as writer:
        for i in range(3):
            writer.write(make_episode(i))
    with h5py.File(path, "r+") as file:
        request.param(file)
    return path


def load_all(path: Path) -> None:
    with Dataset(path) as dataset:
        assert isinstance(dataset.task_id, str) and isinstance(dataset.masks, dict) and len(dataset.content_hash()) == 64
        assert all(isinstance(attempt, dict) for attempt in dataset.attempts())
        assert all(len(episode) == len(episode.actions) for _, episode in dataset.episodes())


def check_all(path: Path) -> None:
    with Dataset(path, need_demos=False) as dataset:
        assert all(finding.what and finding.do for finding in check(dataset))


def describe_all(path: Path) -> None:
    assert json.loads(json.dumps(describe(path).as_dict()))["path"] == str(path)


@pytest.mark.parametrize("use", [load_all, check_all, describe_all, split_file], ids=["load", "check", "info", "split"])
def test_malformed_file_is_used_or_refused_in_plain_words(broken, use):
    try:
        use(broken)
    except UserError as error:
        assert error.what and error.where


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("observation is one number", "obs/x"),
        ("observation is text", "obs/x"),
        ("actions are one number", "actions"),
        ("num_samples is text", "attrs[num_samples]"),
        ("total is text", "data.attrs[total]"),
        ("env_args is cut off", "data.attrs[env_args]"),
    ],
)
def test_check_names_the_malformed_part(tmp_path, change, key):
    path = tmp_path / "a.hdf5"
    with DatasetWriter(path, task_id="t", lineage={}) as writer:
        for i in range(2):
            writer.write(make_episode(i))
    with h5py.File(path, "r+") as file:
        BROKEN[change](file)
    with Dataset(path) as dataset:
        assert key in {finding.key for finding in check(dataset)}


def test_same_text_has_the_same_hash_in_two_files(tmp_path):
    hashes = set()
    for name in "ab":
        path = tmp_path / f"{name}.hdf5"
        with DatasetWriter(path, task_id="t", lineage={}) as writer:
            writer.write(make_episode(0))
        with h5py.File(path, "r+") as file:
            file["data/demo_0/obs/instruction"] = ["stack", "the", "cubes"]
        with Dataset(path) as dataset:
            hashes.add(dataset.content_hash())
    assert len(hashes) == 1


def test_hand_made_signals_in_a_row_are_no_finding(tmp_path):
    path = tmp_path / "a.hdf5"
    signal = {"subtask_term_signals/grasp_1": (np.arange(20) > 7).reshape(1, 20)}
    with DatasetWriter(path, task_id="t", lineage={}) as writer:
        writer.write(make_episode(0, datagen_info=signal))
    with Dataset(path) as dataset:
        assert [f for f in check(dataset) if f.severity == "error"] == []
