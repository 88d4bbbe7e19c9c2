"""Annotation: by replay, by hand, and what is left out and why."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest

from mimicctl.annotation.auto import annotate_auto
from mimicctl.annotation.manual import Marks, signals_from
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import RunFailed, UserError


@pytest.fixture
def recording(tmp_path, source_file):
    """Three bundled demonstrations without their annotation."""
    path = tmp_path / "recording.hdf5"
    shutil.copy(source_file, path)
    with h5py.File(path, "r+") as file:
        for name in list(file["data"]):
            del file["data"][name]["obs/datagen_info"]
            if int(name[5:]) > 2:
                del file["data"][name]
    return path


def test_signals_are_found_in_order_and_the_result_can_be_generated_from(recording, tmp_path):
    path, found = annotate_auto(recording, str(tmp_path / "annotated.hdf5"))
    assert [a.written_as for a in found] == ["demo_0", "demo_1", "demo_2"]
    assert all(0 < a.rises["grasp_1"] < a.rises["stack_1"] < a.rises["grasp_2"] for a in found)
    with Dataset(path) as dataset:
        info = dataset.episode("demo_1").datagen_info
        assert info["eef_pose/franka"].shape[1:] == (4, 4) and info["subtask_term_signals/grasp_2"].dtype == bool
        assert dataset.demo_lineage("demo_1")["parent"]["demo"] == "demo_1"


def test_wrong_actions_fall_back_to_the_recorded_states(recording, tmp_path):
    with h5py.File(recording, "r+") as file:
        file["data/demo_0/actions"][:, :3] = 0
    _, found = annotate_auto(recording, str(tmp_path / "a.hdf5"))
    assert [a.replayed for a in found] == ["states", "actions", "actions"]
    assert found[0].written_as == "demo_0"


def truncate_demo(file: h5py.File, name: str, steps: int) -> None:
    demo = file["data"][name]
    paths = []
    demo.visititems(lambda path, item: paths.append(path) if isinstance(item, h5py.Dataset) and not path.startswith("initial") else None)
    for path in paths:
        values = demo[path][:steps]
        del demo[path]
        demo[path] = values
    demo.attrs["num_samples"] = steps


def test_unfinished_demos_are_left_out_with_the_reason_and_strict_fails(recording, tmp_path):
    with h5py.File(recording, "r+") as file:
        truncate_demo(file, "demo_1", 60)
    path, found = annotate_auto(recording, str(tmp_path / "a.hdf5"))
    assert "success" in found[1].problem and not found[1].written_as
    with Dataset(path) as dataset:
        assert len(dataset) == 2
    with pytest.raises(RunFailed, match="1 of 3"):
        annotate_auto(recording, str(tmp_path / "b.hdf5"), strict=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "recording.hdf5"]


def test_recordings_without_a_start_state_are_refused(recording, tmp_path):
    with h5py.File(recording, "r+") as file:
        for demo in file["data"].values():
            del demo["initial_state"]
    with pytest.raises(UserError, match="initial_state"):
        annotate_auto(recording, str(tmp_path / "a.hdf5"))


def test_recordings_of_another_action_layout_are_refused(recording, tmp_path):
    with pytest.raises(UserError, match="takes 8"):
        annotate_auto(recording, str(tmp_path / "a.hdf5"), task_id="MuJoCo-Stack-Cube-Franka-IK-Abs-v0")


# By hand --------------------------------------------------------------------------------------------------


def test_marks_move_mark_and_undo():
    marks = Marks(("grasp_1", "stack_1"), 50)
    for key in "]].s":
        marks.press(key)
    assert marks.steps == [21] and not marks.complete()
    marks.press("s")
    assert marks.steps == [21] and "after" in marks.message
    for key in "]s":
        marks.press(key)
    assert marks.steps == [21, 31] and marks.complete()
    marks.press("u")
    assert marks.steps == [21] and marks.step == 31
    for _ in range(10):
        marks.press("[")
    assert marks.step == 0
    marks.press("n")
    assert "stack_1 is not marked" in marks.message
    assert "1" in marks.timeline(40)


def test_marked_signals_are_false_before_and_true_from_the_mark_on():
    signal = signals_from(["grasp_1"], [7], 20)["subtask_term_signals/grasp_1"]
    assert np.flatnonzero(signal)[0] == 7 and signal[7:].all()
