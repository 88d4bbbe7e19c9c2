"""Annotation: by replay, by hand, and what is left out and why."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from mimicctl.annotation.auto import annotate_auto
from mimicctl.annotation.manual import Marks, tracks_of
from mimicctl.annotation.session import ManualSession
from mimicctl.dataset.masks import DISCARDED, change_masks
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation.source import first_rise, subtask_ends
from mimicctl.tasks import DEFAULT_TASK, Subtask, find_task
from tests.conftest import ROOT


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


def test_discarded_recordings_are_left_out(recording, tmp_path):
    change_masks(recording, lambda dataset: {DISCARDED: ["demo_1"]})
    _, found = annotate_auto(recording, str(tmp_path / "a.hdf5"), strict=True)
    assert [a.written_as for a in found] == ["demo_0", "", "demo_1"] and "discarded" in found[1].problem


# By hand --------------------------------------------------------------------------------------------------

STACK = find_task(DEFAULT_TASK)
TWO_ARMS = dataclasses.replace(STACK, subtasks={"left": STACK.subtasks["franka"], "right": STACK.subtasks["franka"][2:]})


def test_marks_keep_order_and_room_and_can_be_undone():
    marks = Marks(tracks_of(STACK), 200)
    assert marks.next() == ("franka", 0) and marks.range("franka", 0) == (1, 200 - 1 - 21 - 11 - 11)
    assert "not 0" in marks.mark("franka", 0, 0)
    assert marks.mark("franka", 0, 30) == "" and marks.next() == ("franka", 1)
    assert "step 41 to" in marks.mark("franka", 1, 40) and marks.mark("franka", 1, 41) == ""
    assert marks.mark("franka", 2, 178) == "" and marks.complete()
    assert marks.mark("franka", 1, 60) == ""
    assert marks.undo() == 60 and marks.steps == {"franka": [30, 41, 178]}
    marks.clear("franka", 0)
    assert marks.next() == ("franka", 0) and marks.undo() is None and marks.steps["franka"][0] == 30
    assert [marks.undo() for _ in range(3)] == [178, 41, 30] and not marks.changed


@pytest.mark.parametrize("length", [187, 60])
def test_every_mark_that_is_allowed_leaves_segments_that_generation_can_use(length):
    tracks, rng = tracks_of(STACK), np.random.default_rng(0)
    for _ in range(200):
        marks = Marks(tracks, length)
        for number in rng.permutation(3):
            low, high = marks.range("franka", int(number))
            marks.mark("franka", int(number), int(rng.choice([low, high])) if low <= high else low)
        if marks.complete():
            subtask_ends(STACK.subtasks["franka"], marks.signals(), length, "here")


def test_the_tightest_marks_are_the_last_that_generation_can_use():
    marks = Marks(tracks_of(STACK), 200)
    for number in range(3):
        low, _ = marks.range("franka", number)
        assert marks.mark("franka", number, low) == ""
    info = marks.signals()
    info["subtask_term_signals/stack_1"] = np.arange(200) >= marks.steps["franka"][1] - 1
    with pytest.raises(UserError, match="too short"):
        subtask_ends(STACK.subtasks["franka"], info, 200, "here")


def test_each_arm_has_marks_of_its_own():
    marks = Marks(tracks_of(TWO_ARMS), 200)
    assert marks.mark("right", 0, 50) == "" and marks.next() == ("left", 0) and marks.next("right") is None
    for number, step in enumerate((20, 60, 100)):
        assert marks.mark("left", number, step) == ""
    assert marks.complete() and marks.steps == {"left": [20, 60, 100], "right": [50]}


def test_both_arms_of_a_task_are_marked_and_written(tmp_path):
    with ManualSession(ROOT / "mimicctl" / "data" / "lift_tray_dual_franka.hdf5", tmp_path / "a.hdf5") as session:
        eefs = list(session.tracks)
        assert eefs == ["left", "right"] and session.judged("demo_0").marks.next() == ("left", 0)
        first = next(s.step for s in session.look("demo_0").suggestions if s.signal == "grasp_left")
        assert session.mark("demo_0", "left", 0, first) == ""
        assert session.judged("demo_0").marks.next() == ("right", 0) and "grasp_right" in session.accept("demo_0")
        assert session.mark("demo_0", "right", 0, first + 1) == "" and session.accept("demo_0") == ""
        found = session.finish()
    assert set(found[0].rises) == {"grasp_left", "grasp_right"}
    with Dataset(tmp_path / "a.hdf5") as dataset:
        assert first_rise(dataset.episode("demo_0").datagen_info["subtask_term_signals/grasp_right"]) == first + 1


def test_starts_and_ends_alternate():
    track = tracks_of(STACK, starts=True)["franka"]
    assert [b.path.removeprefix("subtask_") for b in track.boundaries] == [
        "start_signals/grasp_1", "term_signals/grasp_1", "start_signals/stack_1", "term_signals/stack_1",
        "start_signals/grasp_2", "term_signals/grasp_2", "start_signals/stack_2",
    ]  # fmt: skip
    marks = Marks({"franka": track}, 200)
    assert marks.mark("franka", 0, 10) == marks.mark("franka", 1, 20) == ""
    assert "step 41 to" in marks.mark("franka", 2, 30) and marks.mark("franka", 2, 41) == ""
    unnamed = dataclasses.replace(STACK, subtasks={"franka": (Subtask("a", "cube_1", "a"), Subtask("b", "cube_2"))})
    with pytest.raises(UserError, match="does not name"):
        tracks_of(unnamed, starts=True)


def test_marked_signals_are_false_before_and_true_from_the_mark_on():
    marks = Marks(tracks_of(STACK), 100)
    marks.mark("franka", 0, 7)
    signal = marks.signals()["subtask_term_signals/grasp_1"]
    assert np.flatnonzero(signal)[0] == 7 and signal[7:].all() and len(marks.signals()) == 1


def test_suggestions_are_what_auto_finds_and_what_the_gripper_does(recording, tmp_path):
    _, found = annotate_auto(recording, str(tmp_path / "auto.hdf5"))
    with ManualSession(recording, tmp_path / "a.hdf5") as session:
        seen = session.look("demo_0")
        assert {s.signal: s.step for s in seen.suggestions if s.signal} == found[0].rises
        assert [s.label for s in seen.suggestions if not s.signal] == ["gripper closes", "gripper opens"] * 2
        assert seen.success and seen.replayed == "actions"


def mark_as_suggested(session: ManualSession, name: str) -> None:
    for suggestion in session.look(name).suggestions:
        if suggestion.signal:
            assert session.mark(name, *session.judged(name).marks.next(), suggestion.step) == ""


def test_a_session_is_continued_changed_and_written_as_auto_writes_it(recording, tmp_path):
    output = tmp_path / "a.hdf5"
    with ManualSession(recording, output) as session:
        mark_as_suggested(session, "demo_0")
        assert session.accept("demo_0") == "" and "not marked yet" in session.accept("demo_1")
        session.mark("demo_1", "franka", 0, 33)
        with pytest.raises(UserError, match="Another process"):
            ManualSession(recording, output, resume=True)
    with pytest.raises(UserError, match="exists already") as refused:
        ManualSession(recording, output)
    assert "--resume" in refused.value.do
    with ManualSession(recording, output, resume=True) as session:
        assert session.verdict("demo_0") == "accepted" and session.judged("demo_1").marks.steps == {"franka": [33, None, None]}
        session.skip("demo_1")
        mark_as_suggested(session, "demo_2")
        session.accept("demo_2")
        session.mark("demo_2", "franka", 0, session.judged("demo_2").marks.steps["franka"][0] - 1)
        assert session.verdict("demo_2") == ""
        session.accept("demo_2")
        found = session.finish()
    assert [(a.written_as, a.problem) for a in found] == [("demo_0", ""), ("", "skipped by the annotator"), ("demo_1", "")]
    auto, expected = annotate_auto(recording, str(tmp_path / "auto.hdf5"))
    with Dataset(output) as by_hand, Dataset(auto) as by_replay:
        a, b = by_hand.episode("demo_0").datagen_info, by_replay.episode("demo_0").datagen_info
        assert a.keys() == b.keys() and np.array_equal(a["target_eef_pose/franka"], b["target_eef_pose/franka"])
        assert first_rise(by_hand.episode("demo_1").datagen_info["subtask_term_signals/grasp_1"]) == expected[2].rises["grasp_1"] - 1
        assert by_hand.demo_lineage("demo_1")["parent"]["demo"] == "demo_2"


def test_starts_are_written_where_isaac_lab_looks_for_them(recording, tmp_path):
    output = tmp_path / "a.hdf5"
    with ManualSession(recording, output, starts=True) as session:
        for number, step in enumerate((5, 30, 55, 80, 105, 130, 160)):
            assert session.mark("demo_0", "franka", number, step) == ""
        session.accept("demo_0")
        session.finish()
    with Dataset(output) as dataset:
        info = dataset.episode("demo_0").datagen_info
        assert first_rise(info["subtask_start_signals/stack_2"]) == 160 and first_rise(info["subtask_term_signals/stack_1"]) == 80
    with pytest.raises(UserError, match="Something else"):
        ManualSession(recording, output, resume=True)


def test_marks_of_another_recording_are_not_taken_over(recording, tmp_path):
    with ManualSession(recording, tmp_path / "a.hdf5") as session:
        mark_as_suggested(session, "demo_0")
        session.accept("demo_0")
    with h5py.File(recording, "r+") as file:
        file["data/demo_0/actions"][0, 0] += 0.01
    with ManualSession(recording, tmp_path / "a.hdf5", resume=True) as session:
        with pytest.raises(RunFailed, match="No demonstration"):
            session.finish()
        assert session.judged("demo_0").verdict == "" and session.judged("demo_0").marks.next() == ("franka", 0)
    assert not (tmp_path / "a.hdf5").exists()


def test_a_demo_that_cannot_be_replayed_does_not_stand_in_the_way_of_others(recording, tmp_path):
    with h5py.File(recording, "r+") as file:
        del file["data/demo_1/initial_state/rigid_object/cube_2"]
    with ManualSession(recording, tmp_path / "a.hdf5") as session:
        assert "does not fit" in session.problem("demo_1") and not session.problem("demo_0")
        mark_as_suggested(session, "demo_2")
        session.accept("demo_2")
        found = session.finish()
    assert [a.written_as for a in found] == ["", "", "demo_0"] and "does not fit" in found[1].problem


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boundaries": {}, "demos": {"demo_0": 3}}'])
def test_damaged_notes_are_refused(recording, tmp_path, text):
    (tmp_path / "a.marks.json").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        ManualSession(recording, tmp_path / "a.hdf5", resume=True)
    assert not (tmp_path / ".a.hdf5.lock").exists()
