"""Segments that begin where their start signals do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl import poses
from mimicctl.annotation.auto import annotate_auto, start_signals
from mimicctl.config import GenerateSettings
from mimicctl.config_layers import resolve
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.generation.overrides import with_overrides
from mimicctl.generation.source import SourceDemo, SourcePool, first_rise, subtask_starts
from mimicctl.tasks import DEFAULT_TASK, Subtask, find_task
from tests.conftest import SOURCE

SUBTASKS = (Subtask("grasp", "cube_2", "grasp_1", (0, 5), start_signal="grasp_1"), Subtask("stack", "cube_1", start_signal="stack_1"))


def signals(*steps: int, length: int = 100) -> dict[str, np.ndarray]:
    names = [subtask.start_signal for subtask in SUBTASKS]
    return {f"subtask_start_signals/{name}": np.arange(length) >= step for name, step in zip(names, steps, strict=False)}


# What auto marks --------------------------------------------------------------------------------------------------


def down_and_up() -> tuple[np.ndarray, np.ndarray]:
    """Comes down 1 cm a step, closes in step 20, and goes up."""
    height = np.concatenate([0.2 - 0.01 * np.arange(20), 0.01 * np.arange(80)])
    track = poses.compose(np.broadcast_to(np.eye(3), (100, 3, 3)), np.stack([0 * height, 0 * height, height], axis=-1))
    return track, np.where(np.arange(100) < 20, 1.0, -1.0)[:, None]


def test_a_skill_begins_within_reach_of_its_grasp_and_without_one_where_the_last_has_ended():
    marked = start_signals(SUBTASKS, (30, 100), *down_and_up())
    starts = [first_rise(signal) for signal in marked.values()]
    assert 9 <= starts[0] <= 11  # 10 cm above where the gripper closes
    assert starts[1] == 35  # the latest that the grasp may end
    assert subtask_starts(SUBTASKS, (30, 100), marked, "here") == tuple(starts)


def test_auto_marks_starts_that_generation_can_use(recording, tmp_path):
    path, found = annotate_auto(recording, str(tmp_path / "annotated.hdf5"), starts=True)
    assert all(annotation.written_as for annotation in found)
    subtasks = find_task(DEFAULT_TASK).subtasks["franka"]
    with Dataset(path) as dataset:
        info = dataset.episode("demo_0").datagen_info
    starts = [first_rise(info[f"subtask_start_signals/{s.start_signal}"]) for s in subtasks]
    ends = [first_rise(info[f"subtask_term_signals/{s.term_signal}"]) for s in subtasks[:-1]]
    assert all(start < end and end + 20 < later for start, end, later in zip(starts, ends, starts[1:], strict=False))


def test_auto_marks_no_starts_of_a_task_that_does_not_name_them(recording, tmp_path, monkeypatch):
    unnamed = dataclasses.replace(find_task(DEFAULT_TASK), subtasks={"franka": tuple(dataclasses.replace(s, start_signal=None) for s in SUBTASKS)})
    monkeypatch.setattr("mimicctl.annotation.auto.task_read_as", lambda *_: unnamed)
    with pytest.raises(UserError, match="does not name its start signals"):
        annotate_auto(recording, str(tmp_path / "a.hdf5"), starts=True)


# What a run asks for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marked", "offsets", "said"),
    [
        (signals(10), (0, 0), '"stack_1" of "stack" is not in the file'),
        (signals(10, 200), (0, 0), '"stack_1" of "stack" never goes from false to true'),
        (signals(10, 34), (0, 0), '"stack" could begin at step 34, before the latest end of "grasp", at step 35'),
        (signals(10, 36), (-2, 0), '"stack" could begin at step 34'),
        (signals(10, 90), (0, 10), '"stack" is too short: it could begin at step 100 and end at step 100'),
    ],
)
def test_marks_that_leave_no_segment_are_refused_with_demo_and_subtask(marked, offsets, said):
    subtasks = (SUBTASKS[0], dataclasses.replace(SUBTASKS[1], start_offset_range=offsets))
    with pytest.raises(UserError) as caught:
        subtask_starts(subtasks, (30, 100), marked, "demo_3 of file")
    assert said in caught.value.what and caught.value.where == "demo_3 of file"


def test_starts_are_drawn_on_their_own():
    subtasks = tuple(dataclasses.replace(s, start_offset_range=(-2, 1)) for s in SUBTASKS)
    task = dataclasses.replace(find_task(DEFAULT_TASK), subtasks={"franka": subtasks})
    pool = SourcePool((SourceDemo("demo_0", {}, {}, {}, {}, {"franka": (30, 100)}, {"franka": (10, 50)}),))
    rng = np.random.default_rng(0)
    drawn = {tuple(pool.draw_bounds(task, rng)[0]["franka"]) for _ in range(500)}
    assert {start for (start, _), _ in drawn} == {8, 9, 10, 11} and {start for _, (start, _) in drawn} == {48, 49, 50, 51}
    assert {end for (_, end), _ in drawn} == {30, 31, 32, 33, 34, 35} and {end for _, (_, end) in drawn} == {100}


def test_isaac_labs_name_of_the_range_is_understood_and_an_idle_one_refused():
    overrides = ["generate.subtasks.franka[1].subtask_start_offset_range=[-2, 3]"]
    settings = resolve({"generate.use_skillgen": True}, overrides=overrides).config.generate
    assert with_overrides(find_task(DEFAULT_TASK), settings).subtasks["franka"][1].start_offset_range == (-2, 3)
    with pytest.raises(UserError, match="only use_skillgen goes"):
        with_overrides(find_task(DEFAULT_TASK), resolve({}, overrides=overrides).config.generate)


@pytest.mark.parametrize(("flags", "shape"), [({}, "arch"), ({"use_skillgen": True}, "plan"), ({"use_skillgen": True, "bridge": "straight"}, "straight")])
def test_skills_are_reached_by_a_planned_bridge_unless_another_is_asked_for(flags, shape):
    assert GenerateSettings(**flags).bridge_shape == shape


# Runs -----------------------------------------------------------------------------------------------------------------


def run(path: Path, **settings):
    options = {"output_file": str(path), "trials": 4, "guarantee": False, "workers": 1, "num_envs": 4, "use_skillgen": True, "bridge": "arch", **settings}
    return generate(DEFAULT_TASK, 3, GenerateSettings(**options), None)


def test_any_bridge_leads_to_the_same_skills(tmp_path):
    cut, whole = run(tmp_path / "a.hdf5"), run(tmp_path / "b.hdf5", use_skillgen=False)
    assert cut.report.successes >= 2
    with Dataset(cut.path) as one, Dataset(whole.path) as other:
        assert one.content_hash() != other.content_hash()
        assert one.lineage["settings"]["use_skillgen"] and "use_skillgen" not in other.lineage["settings"]


def test_sources_without_marks_are_refused_with_demo_and_subtask(tmp_path):
    unmarked = tmp_path / "unmarked.hdf5"
    unmarked.write_bytes(SOURCE.read_bytes())
    with h5py.File(unmarked, "r+") as file:
        del file["data/demo_4/obs/datagen_info/subtask_start_signals/stack_1"]
    with pytest.raises(UserError) as caught:
        generate(DEFAULT_TASK, 3, GenerateSettings(output_file=str(tmp_path / "a.hdf5"), use_skillgen=True, bridge="arch"), unmarked)
    assert "stack red on blue" in caught.value.what and "demo_4" in caught.value.where and "--annotate-subtask-start-signals" in caught.value.do
    assert list(tmp_path.iterdir()) == [unmarked]


def test_a_task_that_names_no_starts_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not name its start signals"):
        generate("MuJoCo-Drive-Tiago-v0", 3, GenerateSettings(output_file=str(tmp_path / "a.hdf5"), use_skillgen=True, bridge="arch"), None)


# A base that goes by itself -------------------------------------------------------------------------------------------


def test_navigation_is_refused_where_nothing_navigates(tmp_path):
    settings = GenerateSettings(output_file=str(tmp_path / "a.hdf5"), use_navigation_controller=True)
    with pytest.raises(UserError, match='no end-effector called "body"'):
        generate(DEFAULT_TASK, 3, settings, None)


def test_navigation_is_refused_where_the_env_does_not_tell_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("mimicctl.generation.engine.BODY", "franka")
    settings = GenerateSettings(output_file=str(tmp_path / "a.hdf5"), use_navigation_controller=True)
    with pytest.raises(UserError, match="does not say how its robot gets"):
        generate(DEFAULT_TASK, 3, settings, None)
    assert not list(tmp_path.iterdir())
