"""Thirty-odd kinds of broken input: exit code 2, one clear message, no traceback, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import SOURCE, run_cli


def edited(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        shutil.copy(SOURCE, path)
        with h5py.File(path, "r+") as file:
            change(file)

    return make


def in_every_demo(change: Callable[[h5py.Group], None]) -> Callable[[Path], None]:
    return edited(lambda file: [change(demo) for demo in file["data"].values()] and None)


def replace(group: h5py.Group, path: str, values: np.ndarray) -> None:
    del group[path]
    group[path] = values


def cut(share: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(SOURCE.read_bytes()[: int(SOURCE.stat().st_size * share)])

    return make


GRASP = "obs/datagen_info/subtask_term_signals/grasp_1"
EEF = "obs/datagen_info/eef_pose/franka"

BROKEN: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("demo,step\n1,2\n") and None,
    "zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(500)) and None,
    "only the signature": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n") and None,
    "cut off at 30 %": cut(0.3),
    "cut off at 90 %": cut(0.9),
    "header overwritten": lambda path: path.write_bytes(bytes(64) + SOURCE.read_bytes()[64:]) and None,
    "no group data": edited(lambda f: f.move("data", "episodes")),
    "data is an array": edited(lambda f: (f.__delitem__("data"), f.__setitem__("data", np.zeros(3)))),
    "no demos": edited(lambda f: [f["data"].__delitem__(n) for n in list(f["data"])]),
    "demos of other names": edited(lambda f: [f["data"].move(n, n.replace("demo", "episode")) for n in list(f["data"])]),
    "env_args is no JSON": edited(lambda f: f["data"].attrs.__setitem__("env_args", "{broken")),
    "env_args is a list": edited(lambda f: f["data"].attrs.__setitem__("env_args", "[1, 2]")),
    "another task": edited(lambda f: f["data"].attrs.__setitem__("env_args", '{"env_name": "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"}')),
    "an unknown task": edited(lambda f: f["data"].attrs.__setitem__("env_args", '{"env_name": "Isaac-Lift-Teddy-v0"}')),
    "no actions": in_every_demo(lambda d: d.__delitem__("actions")),
    "actions with one axis": in_every_demo(lambda d: replace(d, "actions", np.zeros(5, np.float32))),
    "no steps": in_every_demo(lambda d: replace(d, "actions", np.zeros((0, 7), np.float32))),
    "actions shorter than poses": in_every_demo(lambda d: replace(d, "actions", d["actions"][:50])),
    "not annotated": in_every_demo(lambda d: d.__delitem__("obs/datagen_info")),
    "no obs": in_every_demo(lambda d: d.__delitem__("obs")),
    "a signal missing": in_every_demo(lambda d: d.__delitem__(GRASP)),
    "a signal never true": in_every_demo(lambda d: replace(d, GRASP, np.zeros(len(d["actions"]), bool))),
    "a signal always true": in_every_demo(lambda d: replace(d, GRASP, np.ones(len(d["actions"]), bool))),
    "signals out of order": in_every_demo(lambda d: replace(d, GRASP, np.arange(len(d["actions"])) > len(d["actions"]) - 5)),
    "NaN in poses": in_every_demo(lambda d: replace(d, EEF, np.full((len(d["actions"]), 4, 4), np.nan, np.float32))),
    "poses of another shape": in_every_demo(lambda d: replace(d, EEF, np.zeros((len(d["actions"]), 7), np.float32))),
    "object pose missing": in_every_demo(lambda d: d.__delitem__("obs/datagen_info/object_pose/cube_2")),
    "one demo without an eef": edited(lambda f: f["data/demo_3"].__delitem__(EEF)),
}


def assert_refused(done, where: Path, before: set[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    complaint = [line for line in done.stderr.splitlines() if line.startswith("mimicctl ")]
    assert len(complaint) == 1, done.stderr
    assert "\n  in  " in done.stderr and "\n  do  " in done.stderr
    assert done.stdout == ""
    assert {p.name for p in where.rglob("*")} == before


@pytest.mark.parametrize("kind", BROKEN)
def test_generate_refuses_a_broken_source(tmp_path, kind):
    BROKEN[kind](tmp_path / "broken.hdf5")
    before = {p.name for p in tmp_path.rglob("*")}
    done = run_cli(["generate", "--input-file", "broken.hdf5", "--output-file", "out.hdf5", "--trials", "1", "--workers", "1"], tmp_path)
    assert_refused(done, tmp_path, before)


@pytest.mark.parametrize("command", ["annotate", "info", "check", "split", "repair"])
def test_every_command_refuses_a_file_that_is_none(tmp_path, command):
    (tmp_path / "broken.hdf5").write_text("not a dataset")
    arguments = ["annotate", "--input-file", "broken.hdf5"] if command == "annotate" else ["dataset", command, "broken.hdf5"]
    assert_refused(run_cli(arguments, tmp_path), tmp_path, {"broken.hdf5"})


@pytest.mark.parametrize("output", ["out.txt", "folder.hdf5"])
def test_unfit_outputs_are_refused(tmp_path, output):
    (tmp_path / "folder.hdf5").mkdir()
    before = {"folder.hdf5"}
    assert_refused(run_cli(["generate", "--output-file", output, "--trials", "1"], tmp_path), tmp_path, before)
    assert_refused(run_cli(["record", "--device", "scripted", "--output-file", output], tmp_path), tmp_path, before)


def test_recording_on_a_keyboard_without_a_terminal_is_refused(tmp_path):
    done = run_cli(["record", "--device", "keyboard"], tmp_path)
    assert done.returncode == 2 and "--device scripted" in done.stderr
    assert not list(tmp_path.rglob("*.hdf5"))
