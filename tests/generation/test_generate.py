"""Generation end to end: the same demos however it is run, resumed or killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.config import GenerateSettings
from mimicctl.dataset.masks import DISCARDED, change_masks
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import partial_path
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation.engine import generate
from mimicctl.tasks import DEFAULT_TASK, find_task

KILLS = int(os.environ.get("TEST_KILLS", "8"))

def run(path: Path, trials: int = 6, resume: bool = False, overwrite: bool = False, seed: int = 3, source: Path | None = None, **settings):
    options = GenerateSettings(**{"output_file": str(path), "trials": trials, "workers": 1, "num_envs": 3, **settings})
    return generate(DEFAULT_TASK, seed, options, source, resume=resume, overwrite=overwrite)


def fingerprint(path: Path) -> tuple[str, list]:
    with Dataset(path) as dataset:
        return dataset.content_hash(), dataset.attempts()


def demos_so_far(partial: Path) -> int:
    """Demos in an unfinished file, 0 where there is none. While its run lives it opens at any moment."""
    if not partial.exists():
        return 0
    try:
        with h5py.File(partial, "r") as file:
            return len(file["data"])
    except OSError:
        assert not partial.exists(), "the run has not ended, and its file does not open"
        return 0


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("reference") / "a.hdf5").path


@pytest.mark.parametrize(("num_envs", "workers"), [(1, 1), (8, 1), (2, 2)])
def test_demos_do_not_depend_on_how_the_work_is_spread(tmp_path, reference, num_envs, workers):
    assert fingerprint(run(tmp_path / "a.hdf5", num_envs=num_envs, workers=workers).path) == fingerprint(reference)


def test_another_seed_gives_other_demos(tmp_path, reference):
    assert fingerprint(run(tmp_path / "a.hdf5", seed=4).path)[0] != fingerprint(reference)[0]


def test_killed_run_keeps_what_was_committed_and_resumes_to_the_same_demos(tmp_path, reference):
    command = [sys.executable, "-m", "mimicctl", "generate", "--trials", "6", "--seed", "3", "--output-file", "a.hdf5", "--workers", "2", "--num-envs", "1"]
    partial, kills = tmp_path / "a.partial.hdf5", 0
    for attempt in range(8):
        child = subprocess.Popen([*command, *(["--resume"] if attempt else [])], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        committed = 0
        while child.poll() is None and committed <= kills:
            time.sleep(0.02)
            committed = demos_so_far(partial)
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
        if not partial.exists():  # it was killed between its last commit's rename and its end
            assert (tmp_path / "a.hdf5").exists()
            break
        with Dataset(partial, need_demos=False) as dataset:
            assert len(dataset) >= committed
            assert sum(a["success"] for a in dataset.attempts()) == len(dataset)
    assert kills >= 2
    run(tmp_path / "a.hdf5", resume=True)
    assert fingerprint(tmp_path / "a.hdf5") == fingerprint(reference)
    assert not partial.exists()


def test_intended_actions_are_the_actions_without_the_noise(reference):
    task = find_task(DEFAULT_TASK)
    free, contact = task.subtasks["franka"][0].action_noise, task.subtasks["franka"][0].contact_noise
    with Dataset(reference) as dataset:
        episodes = [episode for _, episode in dataset.episodes()]
    noise = np.concatenate([episode.actions - episode.intended_actions for episode in episodes])
    assert np.all(noise[:, 6] == 0)
    spread = np.abs(noise[:, :6]).mean(axis=1)
    assert contact / 2 < np.percentile(spread, 10) < 2 * contact
    assert free / 2 < np.percentile(spread, 90) < 2 * free
    assert abs(noise[:, :6].mean()) < free / 10


@pytest.mark.slow
def test_random_kills_lose_nothing_and_the_end_is_the_same(tmp_path):
    trials, partial, held = 1000, tmp_path / "a.partial.hdf5", 0
    command = [sys.executable, "-m", "mimicctl", "generate", "--trials", str(trials), "--seed", "3", "--output-file", "a.hdf5"]
    for attempt in range(KILLS):
        flags = ["--resume"] if partial.exists() else ["--overwrite"]
        child = subprocess.Popen([*command, *flags], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Every other kill waits for progress: on a busy machine all of them would come while the run is still starting up.
        while child.poll() is None and not (demos_so_far(partial) > held if attempt % 2 else partial.exists()):
            time.sleep(0.02)
        time.sleep(random.Random(attempt).uniform(0.0, 1.5))
        assert child.poll() is None, "ended before it was killed"
        seen = demos_so_far(partial)
        child.send_signal(signal.SIGKILL)
        child.wait()
        if not partial.exists():
            continue
        with Dataset(partial, need_demos=False) as dataset:
            assert len(dataset) >= max(seen, held)
            held = len(dataset)
            assert sum(a["success"] for a in dataset.attempts()) == held
            assert all(len(dataset.group(name)["actions"]) == dataset.length(name) for name in dataset.demos)
    print(f"{KILLS} kills, {held} of {trials} demos by then")
    assert held
    run(tmp_path / "a.hdf5", trials=trials, workers=2, resume=True)
    assert fingerprint(tmp_path / "a.hdf5") == fingerprint(run(tmp_path / "b.hdf5", trials=trials, workers=2).path)


def test_workers_of_a_killed_run_end(tmp_path):
    command = [sys.executable, "-m", "mimicctl", "generate", "--output-file", "a.hdf5", "--workers", "2", "--num-envs", "2"]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    while len(workers := children.read_text().split()) < 3 or not (tmp_path / "a.partial.hdf5").exists():
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end, "workers live on"
        time.sleep(0.05)


def test_a_larger_run_begins_with_the_smaller_one(tmp_path, reference):
    path = run(tmp_path / "a.hdf5", trials=2).path
    made = run(path, resume=True)
    assert made.resumed_at and made.demos == 6
    assert fingerprint(path) == fingerprint(reference)


def test_existing_output_needs_a_decision(tmp_path, reference):
    with pytest.raises(UserError) as caught:
        run(reference)
    assert "--resume" in caught.value.do and "--overwrite" in caught.value.do


def test_resuming_another_run_is_refused(tmp_path):
    path = run(tmp_path / "a.hdf5", trials=1).path
    with pytest.raises(UserError, match="seed"):
        run(path, trials=2, seed=99, resume=True)
    with pytest.raises(UserError, match="settings"):
        run(path, trials=2, bridge="straight", resume=True)


def test_without_guarantee_trials_are_attempts(tmp_path):
    made = run(tmp_path / "a.hdf5", trials=4, guarantee=False)
    assert made.report.attempts == 4


def test_failures_are_kept_counted_and_capped(tmp_path):
    hopeless = {"subtasks": {"franka": [{"action_noise": 0.4}]}, "keep_failed": True}
    with pytest.raises(RunFailed, match="3 attempts failed"):
        run(tmp_path / "a.hdf5", max_failures=3, **hopeless)
    with Dataset(partial_path(tmp_path / "a.hdf5"), need_demos=False) as dataset:
        assert sum(not a["success"] for a in dataset.attempts()) == 3
    made = run(tmp_path / "b.hdf5", trials=3, guarantee=False, **hopeless)
    assert made.report.reasons and sum(count for *_, count in made.report.reasons) == 3 - made.demos
    with Dataset(made.failed_path) as failed:
        assert len(failed) == 3 - made.demos
        assert not failed.attributes("demo_0")["success"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subtasks": {"left": [{}]}}, "no such subtask"),
        ({"subtasks": {"franka": [{"object_ref": "cube_9"}]}}, 'no object "cube_9"'),
        ({"subtasks": {"franka": [{"object_ref": None}]}}, "nothing is near"),
        ({"subtasks": {"franka": [{}, {"first_subtask_start_offset_range": [0, 1]}]}}, "Only the first subtask"),
        ({"subtasks": {"franka": [{}, {}, {}, {"term_offset_range": [0, 1]}]}}, "ends where the demonstration does"),
        ({"subtasks": {"franka": [{"first_subtask_start_offset_range": [0, 200]}]}}, "too short"),
        ({"constraints": [{"sequential_min_time_diff": 1}]}, "needs constraint_type and eef_subtask_constraint_tuple"),
        ({"constraints": [{"constraint_type": "sequential", "eef_subtask_constraint_tuple": [["franka", 0], ["left", 0]]}]}, 'no subtask 0 of "left"'),
    ],
)
def test_changes_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "a.hdf5", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "settings",
    [
        {"subtasks": {"franka": [{"first_subtask_start_offset_range": [2, 8]}]}},
        {"transform_first_robot_pose": True},
        {"interpolate_from_last_target_pose": False},
        {"subtasks": {"franka": [{"num_fixed_steps": 3}]}},
        {"subtasks": {"franka": [{}, {"object_ref": None, "selection_strategy": "random"}]}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_every_knob_changes_the_demos(tmp_path, reference, settings):
    made = run(tmp_path / "a.hdf5", trials=1, guarantee=False, keep_failed=True, **settings)
    with Dataset(reference) as before, Dataset(made.path if made.demos else made.failed_path) as now:
        assert not np.array_equal(before.episode("demo_0").actions, now.episode("demo_0").actions)


def test_demos_know_their_sources_and_the_file_its_inputs(reference):
    with Dataset(reference) as dataset:
        lineage = dataset.demo_lineage("demo_0")
        assert len(lineage["sources"]) == 4 and lineage["trial"] >= 0
        assert len(dataset.lineage["inputs"][0]["sha256"]) == 64


def test_source_of_another_task_or_without_annotation_is_refused(tmp_path, reference):
    with pytest.raises(UserError, match="not annotated"):
        run(tmp_path / "a.hdf5", source=reference)
    with pytest.raises(UserError, match="another task"):
        options = GenerateSettings(output_file=str(tmp_path / "a.hdf5"), trials=1)
        generate("MuJoCo-Stack-Cube-Franka-IK-Abs-v0", 1, options, reference)


def test_discarded_source_demos_are_not_used_and_the_run_knows_it(tmp_path, source_file):
    source = tmp_path / "source.hdf5"
    shutil.copy(source_file, source)
    change_masks(source, lambda dataset: {DISCARDED: dataset.demos[2:]})
    made = run(tmp_path / "a.hdf5", source=source)
    with Dataset(made.path) as dataset:
        assert {name for attempt in dataset.attempts() for name in attempt["sources"]} == {"demo_0", "demo_1"}
        assert dataset.lineage["inputs"][0]["discarded"] == [f"demo_{i}" for i in range(2, 10)]
    change_masks(source, lambda dataset: {DISCARDED: dataset.demos[3:]})
    with pytest.raises(UserError, match="inputs changed"):
        run(tmp_path / "a.hdf5", trials=8, source=source, resume=True)
    change_masks(source, lambda dataset: {DISCARDED: dataset.demos})
    with pytest.raises(UserError, match="All source demonstrations are discarded"):
        run(tmp_path / "b.hdf5", source=source)


def test_report_counts_add_up(reference, tmp_path):
    report = run(tmp_path / "a.hdf5").report
    funnel = [count for _, count in report.funnel]
    assert funnel == sorted(funnel, reverse=True) and funnel[-1] == report.successes
    for tried, succeeded in report.coverage.values():
        assert tried.sum() == report.attempts and succeeded.sum() == report.successes
    assert len(report.yields) <= 10


def test_report_says_who_supplied_each_subtask_and_how_demos_move(tmp_path):
    report = run(tmp_path / "a.hdf5").report
    assert [sum(count for _, count in c.counts) for c in report.contributions] == [report.successes] * 4
    (motion,) = report.motion
    assert motion.demos == report.successes
    assert 0 < motion.medians["mean_speed"] < motion.medians["peak_speed"] <= motion.fastest < 2
    assert motion.medians["jerk_at_stitches"] > 0


def test_a_speed_limit_is_kept_and_is_part_of_what_the_run_is(tmp_path):
    quiet = {"subtasks": {"franka": [{"action_noise": 0.0, "contact_noise": 0.0}] * 4}}
    made = run(tmp_path / "a.hdf5", trials=2, guarantee=False, max_eef_speed=0.3, **quiet)
    (motion,) = made.report.motion
    assert 0.2 < motion.fastest < 0.36  # where the source speeds up, the arm goes beyond it
    with pytest.raises(UserError, match="settings"):
        run(tmp_path / "a.hdf5", trials=3, guarantee=False, resume=True, **quiet)


def test_a_run_of_before_these_settings_can_be_continued(reference):
    with Dataset(reference) as dataset:
        assert not {"max_eef_speed", "balance"} & dataset.lineage["settings"].keys()


def test_a_balanced_run_is_the_same_over_workers_and_interruptions_and_another_than_without(tmp_path, monkeypatch):
    monkeypatch.setattr("mimicctl.generation.balance._FIRST_ROUND", 3)
    whole = fingerprint(run(tmp_path / "a.hdf5", trials=8, balance=True).path)
    assert fingerprint(run(tmp_path / "b.hdf5", trials=8, balance=True, workers=2, num_envs=2).path) == whole
    for trials in (2, 5, 8):
        path = run(tmp_path / "c.hdf5", trials=trials, balance=True, resume=trials > 2, num_envs=trials).path
    assert fingerprint(path) == whole
    plain = fingerprint(run(tmp_path / "d.hdf5", trials=8).path)
    assert whole[1][:3] == plain[1][:3] and whole[1][3:] != plain[1][3:]
    with pytest.raises(UserError, match="settings"):
        run(path, trials=9, resume=True)


def test_a_balanced_run_counts_attempts_where_it_is_told_to(tmp_path, monkeypatch):
    monkeypatch.setattr("mimicctl.generation.balance._FIRST_ROUND", 3)
    assert run(tmp_path / "a.hdf5", trials=4, guarantee=False, balance=True).report.attempts == 4


@pytest.mark.parametrize(("address", "message"), [("", "Ray did not start: timed out"), ("auto", "No connection to a Ray cluster: timed out")])
def test_ray_that_does_not_come_up_is_a_failed_run(tmp_path, monkeypatch, address, message):
    def init(*_, **__) -> None:
        raise Exception("timed out.\nThis could happen because ...")  # as Ray does

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(init=init))
    with pytest.raises(UserError, match=message):
        generate(DEFAULT_TASK, 3, GenerateSettings(output_file=str(tmp_path / "a.hdf5"), trials=2, engine="ray", address=address), None)
    assert not (tmp_path / "a.hdf5").exists()
