"""Recording and generating at once: the same demos whenever they were recorded, and nothing lost or held up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.config import GenerateSettings, RecordSettings, RenderSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter, partial_path
from mimicctl.devices import make_device
from mimicctl.envs import make_env
from mimicctl.envs.shared import SharedEnv
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation import alongside
from mimicctl.generation.alongside import Alongside, Standing, complete
from mimicctl.generation.engine import generate
from mimicctl.generation.growing import GrowingPool, GrowingRun, Growth, begin, discard_unused
from mimicctl.recording.session import Progress, Rules, run_session
from mimicctl.schema import Episode
from mimicctl.tasks import find_task
from tests.conftest import run_cli
from tests.recording.test_recording import Terminal

LIFT = "MuJoCo-Lift-Cube-Franka-IK-Rel-v0"
SEEDS = Path(__file__).parents[2] / "mimicctl" / "data" / "lift_cube_franka.hdf5"
WANTED, TRIALS, SEED = 3, 8, 1
RECORD = ("record", "--task", LIFT, "--device", "scripted", "--speed", "fast", "--seed", str(SEED), "-o", "generate.num_envs=2", "-o", "generate.workers=1")
BOTH = (*RECORD, "--generate", "--num-demos", str(WANTED), "--trials", str(TRIALS))
_PATIENCE = 120


def growing_run(folder: Path, wanted: int = WANTED, trials: int = TRIALS, **settings) -> GrowingRun:
    options = {"trials": trials, "workers": 1, "num_envs": 2, "output_file": str(folder / "datasets" / "generated.hdf5"), **settings}
    return GrowingRun(LIFT, SEED, GenerateSettings(**options), RenderSettings(), folder / "datasets" / "dataset.hdf5", wanted)


def completed(run: GrowingRun, said: list[str] | None = None, **how):
    begin(run, **{"resume": False, "overwrite": False, **how})
    return complete(run, on_progress=lambda attempts, successes: None, on_event=(said if said is not None else []).append)


def fingerprint(path: Path) -> tuple[str, list]:
    with Dataset(path) as dataset:
        return dataset.content_hash(), dataset.attempts()


def write(path: Path, *episodes: Episode) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    with DatasetWriter(path, task_id=LIFT, lineage={}) as writer:
        for episode in episodes:
            writer.write(episode)


def part(episode: Episode, start: int, end: int) -> Episode:
    """Some of its steps."""
    cut = {key: {path: array[start:end] for path, array in getattr(episode, key).items()} for key in ("obs", "states")}
    first = {path: array[start - 1 : start] for path, array in episode.states.items()} if start else episode.initial_state
    return replace(episode, actions=episode.actions[start:end], processed_actions=episode.processed_actions[start:end], initial_state=first, **cut)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> list[Episode]:
    """Demonstrations of a scripted operator."""
    folder = tmp_path_factory.mktemp("recorded")
    done = run_cli((*RECORD, "--num-demos", str(WANTED)), folder)
    assert done.returncode == 0, done.stderr
    with Dataset(folder / "datasets" / "dataset.hdf5") as dataset:
        return [episode for _, episode in dataset.episodes()]


@pytest.fixture(scope="module")
def reference(tmp_path_factory, recorded) -> Path:
    """Folder in which all was generated after all was recorded."""
    folder = tmp_path_factory.mktemp("reference")
    write(folder / "datasets" / "dataset.hdf5", *recorded)
    done = completed(growing_run(folder))
    assert done.sources == WANTED and not done.left_out and done.made.demos == TRIALS
    return folder


# The plan ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "recorded", "trials"), [(0, 1, 10), (0, 10, 1000), (5, 10, 1000), (0, 10, 7), (2, 3, 1)])
def test_pools_grow_evenly_over_the_first_half_of_the_trials(seeds, recorded, trials):
    growth = Growth(seeds, recorded, trials)
    sizes = [growth.size_at(trial) for trial in range(trials)]
    assert sizes == sorted(sizes) and min(sizes) >= 1 and sizes[-1] == seeds + recorded
    assert [growth.end_of(size) > trial for trial, size in enumerate(sizes)] == [True] * trials
    before = [sizes.count(size) for size in range(max(seeds, 1), seeds + recorded)]
    assert not before or (max(before) - min(before) <= 1 and sum(before) == trials // 2)


# What joins ----------------------------------------------------------------------------------------------------------


def test_a_demo_whose_signals_do_not_come_in_order_is_recorded_and_does_not_join(tmp_path, recorded):
    with_cube_in_hand = part(recorded[1], len(recorded[1]) - 14, len(recorded[1]))
    without_end = part(recorded[2], 0, len(recorded[2]) // 2)
    run = growing_run(tmp_path)
    write(run.recording, with_cube_in_hand, recorded[0], without_end)
    said: list[str] = []
    done = completed(run, said)
    assert done.sources == 1 and list(done.left_out) == ["demo_0", "demo_2"]
    assert '"grasp_1"' in done.left_out["demo_0"] and "does not end in success" in done.left_out["demo_2"]
    assert [text.split()[0] for text in said] == ["demo_0", "demo_2"]
    with Dataset(done.pool) as pool:
        assert pool.demo_lineage("demo_0")["parent"]["demo"] == "demo_1"
        assert pool.lineage["left_out"] == done.left_out
    with Dataset(run.recording) as recording:
        assert len(recording) == 3
    # Nobody is told twice.
    assert complete_again(run, said).left_out == done.left_out and len(said) == 2


def complete_again(run: GrowingRun, said: list[str]):
    return completed(run, said, resume=True)


def test_when_no_demo_joins_the_run_fails_and_the_recording_stays(mimicctl, tmp_path, recorded):
    path = tmp_path / "datasets" / "dataset.hdf5"
    write(path, part(recorded[0], 0, len(recorded[0]) // 2))
    before = fingerprint(path)
    done = mimicctl(*BOTH, "--num-demos", "1", "--resume")
    assert done.returncode == 1
    assert "None of the 1 recorded demonstrations can be a source" in done.stderr and "does not end in success" in done.stderr
    assert fingerprint(path) == before and [p.name for p in path.parent.iterdir()] == ["dataset.hdf5"]


def test_seeds_are_there_from_the_first_trial(tmp_path, recorded):
    run = growing_run(tmp_path, input_file=str(SEEDS))
    write(run.recording, *recorded)
    done = completed(run)
    pools = [attempt["pool"] for attempt in fingerprint(done.made.path)[1]]
    assert pools[0] == 5 and pools[-1] == done.sources == 5 + WANTED
    with Dataset(done.pool) as pool, Dataset(SEEDS) as seeds:
        assert all(np.array_equal(pool.episode(name).actions, seeds.episode(name).actions) for name in seeds.demos)


# Repeatable -----------------------------------------------------------------------------------------------------------


def test_every_trial_is_that_of_generate_from_a_pool_of_its_size(tmp_path, reference):
    """As `generate` makes it of a file with the first so many sources."""
    with Dataset(reference / "datasets" / "generated.hdf5") as dataset:
        attempts = dataset.attempts()
        demos = {dataset.demo_lineage(name)["trial"]: (dataset.demo_lineage(name)["pool"], dict(dataset.arrays(name))) for name in dataset.demos}
    assert {attempt["pool"] for attempt in attempts} == set(range(1, WANTED + 1))
    for size in range(1, WANTED + 1):
        subset = tmp_path / f"{size}.hdf5"
        shutil.copy(reference / "datasets" / "generated_sources.hdf5", subset)
        with h5py.File(subset, "r+") as file:
            for name in list(file["data"])[size:]:
                del file["data"][name]
        settings = GenerateSettings(trials=len(attempts), guarantee=False, workers=1, num_envs=3, output_file=str(tmp_path / f"of_{size}.hdf5"))
        path = generate(LIFT, SEED, settings, subset).path
        again = {attempt["trial"]: attempt for attempt in fingerprint(path)[1]}
        assert [again[a["trial"]] | {"pool": size} for a in attempts if a["pool"] == size] == [a for a in attempts if a["pool"] == size]
        with Dataset(path) as dataset:
            of_trial = {dataset.demo_lineage(name)["trial"]: dict(dataset.arrays(name)) for name in dataset.demos}
        mine = {trial: arrays for trial, (pool, arrays) in demos.items() if pool == size}
        assert mine
        for trial, arrays in mine.items():
            assert arrays.keys() == of_trial[trial].keys()
            assert all(np.array_equal(array, of_trial[trial][path]) for path, array in arrays.items())


def follow_until(beside: Alongside, saved: int, holds, said: list[str]) -> Standing:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        beside.follow(saved, said.append)
        if holds(beside._standing, said):
            return beside._standing
        time.sleep(0.02)
    raise AssertionError(f"never came: {beside._standing}, {said}")


def test_demos_made_while_others_are_recorded_are_those_made_afterwards(tmp_path, recorded, reference):
    run, said = growing_run(tmp_path), []
    begin(run, resume=False, overwrite=False)
    growth = Growth(0, WANTED, TRIALS)
    with Alongside(run, run.recording) as beside:
        follow_until(beside, 0, lambda now, _: now.waits and now.pool == 0, said)
        for saved in range(1, WANTED):
            write(run.recording, recorded[saved - 1])
            reached = follow_until(beside, saved, lambda now, _, due=growth.end_of(saved): now.waits and now.attempts == due, said)
            assert os.getpriority(os.PRIO_PROCESS, beside._worker.process.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
            assert reached.pool == saved and "waits for the next demo" in reached.text()
        write(run.recording, recorded[-1])
    assert not said and not list(tmp_path.rglob(".*"))
    # Another process goes on from what this one has left.
    done = complete(run, on_progress=lambda attempts, successes: None, on_event=said.append)
    assert done.made.resumed_at >= growth.end_of(WANTED - 1) > 0 and not said
    assert fingerprint(done.made.path) == fingerprint(reference / "datasets" / "generated.hdf5")
    with Dataset(done.made.path) as made, Dataset(done.pool) as pool:
        (entry,) = made.lineage["inputs"]
        assert (entry["file"], entry["sha256"], set(entry["demos"])) == ("generated_sources.hdf5", pool.content_hash(), set(pool.demos))
        for name in made.demos:
            used = made.demo_lineage(name)["source_sha256"]
            assert used == {source: pool.demo_sha256(source) for source in made.demo_lineage(name)["sources"]}


def recorded_in_step(run: GrowingRun, say, on_step=lambda progress: None) -> None:
    """A session of a scripted operator, in one batch of envs with what generates meanwhile."""
    device = make_device(find_task(LIFT), RecordSettings(device="scripted", speed="fast"), SEED)
    env = make_env(LIFT, 2 + run.settings.num_envs)
    with closing(env), DatasetWriter(run.recording, task_id=LIFT, lineage={}) as writer:
        shared = SharedEnv(env)
        with Alongside(run, run.recording, shared) as beside:

            def watch(now: Progress) -> None:
                beside.follow(now.saved, say)
                on_step(now)

            run_session(shared.leader, device, writer, Progress(Rules(run.wanted, 10)), seed=SEED, on_step=watch)


def test_demos_made_in_step_with_the_recording_are_those_made_afterwards(tmp_path):
    run, said = growing_run(tmp_path / "meanwhile", wanted=6, trials=16), []
    begin(run, resume=False, overwrite=False)
    recorded_in_step(run, said.append)
    assert not said and not list(tmp_path.rglob(".*"))
    after = growing_run(tmp_path / "after", wanted=6, trials=16)
    after.recording.parent.mkdir(parents=True)
    shutil.copy(run.recording, after.recording)
    done = complete(run, on_progress=lambda attempts, successes: None, on_event=said.append)
    assert 0 < done.made.resumed_at < done.made.report.attempts and done.sources == 6 and not said
    assert fingerprint(done.made.path) == fingerprint(completed(after).made.path)


def test_a_cap_on_failures_stops_what_is_in_step_and_not_the_recording(tmp_path):
    run, said = growing_run(tmp_path, wanted=5, max_failures=1, subtasks={"franka": [{"action_noise": 3.0}]}), []
    begin(run, resume=False, overwrite=False)
    recorded_in_step(run, said.append)
    assert len(said) == 1 and "Generation has stopped, the recording goes on: 1 attempts failed" in said[0]
    with Dataset(run.recording) as recording:
        assert len(recording) == 5


def test_a_recording_that_is_interrupted_ends_what_is_in_step_with_it(tmp_path):
    run = growing_run(tmp_path, wanted=6, trials=16, input_file=str(SEEDS))
    begin(run, resume=False, overwrite=False)

    def interrupt(now: Progress) -> None:
        if now.saved == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recorded_in_step(run, lambda text: None, interrupt)
    assert attempts_in(partial_path(Path(run.settings.output_file)))
    done = complete(replace(run, wanted=5), on_progress=lambda attempts, successes: None, on_event=lambda text: None)
    assert done.sources == 5 + 5 and done.made.demos == 16


def test_what_ctrl_c_stops_while_recording_and_afterwards_is_resumed(tmp_path):
    generated = tmp_path / "datasets" / "generated.hdf5"
    _interrupt(tmp_path, (*BOTH, "--step-hz", "40"), lambda error: "saved 1 of" in error)
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert 1 <= len(dataset) < WANTED
    _interrupt(tmp_path, (*BOTH, "--trials", "5000", "--resume"), lambda error: attempts_in(partial_path(generated)) > TRIALS)
    assert not generated.exists()
    done = run_cli((*BOTH, "--trials", "30", "--resume"), tmp_path)
    assert done.returncode == 0 and "Recorded and generated." in done.stdout, done.stderr
    attempts = fingerprint(generated)[1]
    assert [a["trial"] for a in attempts] == list(range(len(attempts))) and sum(a["success"] for a in attempts) >= 30
    assert [a["pool"] for a in attempts] == sorted(a["pool"] for a in attempts)
    assert sorted(p.name for p in generated.parent.iterdir()) == ["dataset.hdf5", "generated.hdf5", "generated_sources.hdf5"]


def _interrupt(folder: Path, arguments: tuple[str, ...], when) -> None:
    """Ctrl-C as soon as `when(stderr)` holds."""
    with open(folder / "stderr", "w+") as error:
        child = subprocess.Popen([sys.executable, "-m", "mimicctl", *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=error)
        end = time.monotonic() + _PATIENCE
        while not when((folder / "stderr").read_text()):
            assert child.poll() is None and time.monotonic() < end, (folder / "stderr").read_text()
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    said = (folder / "stderr").read_text()
    assert "Traceback" not in said
    (folder / "stderr").unlink()
    assert not list(folder.rglob(".*")), "nothing hidden is left over"


def attempts_in(path: Path) -> int:
    try:
        with Dataset(path, need_demos=False) as dataset:
            return len(dataset.attempts())
    except UserError:
        return 0


# Nothing held up, nothing lost ------------------------------------------------------------------------------------------


def test_a_generation_that_stands_still_does_not_hold_up_the_recording(tmp_path, monkeypatch):
    """Not at a commit either, since it would be one of another process: here that does nothing at all, and the recording runs as without it."""
    monkeypatch.setattr(alongside, "_LAST_WORDS", 0.1)
    steps = []
    for generating in (False, True):
        run, task = growing_run(tmp_path / str(generating), wanted=2), find_task(LIFT)
        device = make_device(task, RecordSettings(device="scripted", speed="fast"), SEED)
        begin(run, resume=False, overwrite=False)
        progress, seen = Progress(Rules(2, 10)), []
        env = make_env(task)
        with DatasetWriter(run.recording, task_id=LIFT, lineage={}) as writer, Alongside(run, run.recording) as beside:
            os.kill(beside._worker.process.pid, signal.SIGSTOP)

            def watch(now: Progress, beside=beside, seen=seen, generating=generating) -> None:
                seen.append(now.steps)
                if generating:
                    beside.follow(now.saved, seen.append)

            run_session(env, device, writer, progress, seed=SEED, on_step=watch)
            if generating:
                for saved in range(100_000):  # more than any pipe holds
                    beside.follow(saved, seen.append)
        env.close()
        steps.append(seen)
        assert progress.saved == 2
    assert steps[0] == steps[1]


@pytest.mark.parametrize(("asked", "cores", "workers"), [(0, 8, 7), (3, 8, 3), (8, 8, 7), (0, 2, 1), (4, 1, 1)])
def test_a_core_is_left_for_the_recording_where_there_are_several(monkeypatch, asked, cores, workers):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert alongside._beside_a_person(asked) == workers


def test_when_the_generating_process_is_killed_a_person_is_told_and_nothing_is_lost(tmp_path, recorded, reference):
    run, said = growing_run(tmp_path), []
    begin(run, resume=False, overwrite=False)
    write(run.recording, recorded[0])
    with Alongside(run, run.recording) as beside:
        follow_until(beside, 1, lambda now, _: now.attempts > 0, said)
        os.kill(beside._worker.process.pid, signal.SIGKILL)
        follow_until(beside, 1, lambda _, said: said, said)
        assert "has died (exit code -9)" in said[0] and beside.follow(2, said.append).endswith("stopped") and len(said) == 1
    write(run.recording, *recorded[1:])
    done = complete(run, on_progress=lambda attempts, successes: None, on_event=said.append)
    assert fingerprint(done.made.path) == fingerprint(reference / "datasets" / "generated.hdf5")


def test_when_the_recording_is_killed_no_process_is_left_and_resuming_goes_on(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "mimicctl", *BOTH, "--num-demos", "1000", "--trials", "100000", "--input-file", str(SEEDS), "--step-hz", "40"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    generated = partial_path(tmp_path / "datasets" / "generated.hdf5")
    end = time.monotonic() + _PATIENCE
    while not attempts_in(generated) or not (tmp_path / "datasets" / "dataset.hdf5").exists():
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    left = [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()]
    assert left
    child.kill()
    child.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in left):
        assert time.monotonic() < end
        time.sleep(0.02)
    before = attempts_in(generated)
    done = run_cli((*BOTH, "--num-demos", "2", "--input-file", str(SEEDS), "--resume"), tmp_path)
    assert done.returncode == 0, done.stderr
    with Dataset(tmp_path / "datasets" / "generated.hdf5") as dataset:
        assert len(dataset) >= TRIALS and len(dataset.attempts()) >= before > 0


def test_a_cap_on_failures_stops_the_generation_and_not_the_recording(tmp_path, recorded):
    never = {"max_failures": 1, "subtasks": {"franka": [{"action_noise": 3.0}]}}
    run, said = growing_run(tmp_path, **never), []
    begin(run, resume=False, overwrite=False)
    write(run.recording, recorded[0], recorded[1])
    with Alongside(run, run.recording) as beside:
        follow_until(beside, 2, lambda now, said: said, said)
        assert "Generation has stopped, the recording goes on: 1 attempts failed" in said[0]
        write(run.recording, part(recorded[2], 0, len(recorded[2]) // 2))
        follow_until(beside, 3, lambda now, _: now.left_out, said)
    with pytest.raises(RunFailed, match="most that --max-failures allows"):
        complete(run, on_progress=lambda attempts, successes: None, on_event=said.append)


# On a terminal ----------------------------------------------------------------------------------------------------------


def test_a_person_at_the_keyboard_sees_how_it_stands_and_stops_it_all_with_one_key(tmp_path):
    flags = ("--task", LIFT, "--generate", "--trials", "4000", "--num-demos", "2", "--input-file", str(SEEDS), "-o", "generate.num_envs=2")
    terminal = Terminal(tmp_path, "record", *flags)
    terminal.wait_for("sources 5", _PATIENCE)
    terminal.type("wwk")
    terminal.wait_for("%, ", _PATIENCE)
    terminal.type("\x03")
    assert terminal.finish() == 130
    assert "everything saved so far is kept" in terminal.output and "mimicctl record --generate --resume" in terminal.output
    assert sorted(p.name for p in (tmp_path / "datasets").iterdir()) == ["generated.partial.hdf5", "generated_sources.partial.hdf5"]


# Mistakes ------------------------------------------------------------------------------------------------------------------


def test_flags_of_the_generation_need_it(mimicctl, tmp_path):
    done = mimicctl(*RECORD, "--trials", "10", "--input-file", "x.hdf5")
    assert done.returncode == 2 and "--trials and --input-file are about what is generated" in done.stderr and "add --generate" in done.stderr
    assert not list(tmp_path.rglob("*.hdf5"))


def test_what_cannot_work_is_refused_before_anything_is_recorded(mimicctl, tmp_path):
    done = mimicctl(*BOTH, "--input-file", "nowhere.hdf5")
    assert done.returncode == 2 and "There is no such file." in done.stderr and "take 1" not in done.stderr
    assert not list(tmp_path.rglob("*.hdf5"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"wanted": 0}, "how many demonstrations there will be"),
        ({"output_file": "datasets/dataset.hdf5"}, "files of their own"),
        ({"output_file": "dataset.hdf5"}, "files of their own"),
        ({"shard": "0/2"}, "in one piece"),
        ({"engine": "ray"}, "in one piece"),
        ({"input_file": "nowhere.hdf5"}, "There is no such file"),
    ],
    ids=["no end", "one file for both", "the pool's file for both", "a shard", "a cluster", "no seeds there"],
)
def test_what_does_not_go_together_is_refused(tmp_path, monkeypatch, changes, told):
    monkeypatch.chdir(tmp_path)
    run = growing_run(tmp_path, **changes)
    if changes.get("output_file") == "dataset.hdf5":
        run = replace(run, recording=tmp_path / "dataset_sources.hdf5")
    with pytest.raises(UserError, match=told):
        begin(run, resume=False, overwrite=False)
    assert not list(tmp_path.rglob("*.hdf5"))


def test_seeds_that_are_not_annotated_are_refused(tmp_path, recorded):
    write(tmp_path / "seeds.hdf5", recorded[0])
    with pytest.raises(UserError, match="not annotated"):
        begin(growing_run(tmp_path, input_file=str(tmp_path / "seeds.hdf5")), resume=False, overwrite=False)
    assert not list((tmp_path / "datasets").iterdir())


def test_existing_output_is_continued_or_replaced_when_asked_to(tmp_path, recorded, reference):
    for name in ("dataset.hdf5", "generated.hdf5", "generated_sources.hdf5"):
        (tmp_path / "datasets").mkdir(exist_ok=True)
        shutil.copy(reference / "datasets" / name, tmp_path / "datasets" / name)
    run = growing_run(tmp_path)
    with pytest.raises(UserError, match="exists already"):
        begin(run, resume=False, overwrite=False)
    more = completed(replace(run, settings=run.settings.model_copy(update={"trials": TRIALS + 2})), resume=True)
    assert more.made.demos == TRIALS + 2
    with pytest.raises(UserError, match="another one: inputs"):
        begin(replace(run, settings=run.settings.model_copy(update={"input_file": str(SEEDS)})), resume=True, overwrite=False)
    with pytest.raises(UserError, match="another one: seed"):
        begin(replace(run, seed=2), resume=True, overwrite=False)
    completed(run, resume=True)
    begin(run, resume=False, overwrite=True)
    assert fingerprint(run.pool_file)  # the old ones stay until there are new ones
    discard_unused(run)
    assert sorted(p.name for p in (tmp_path / "datasets").iterdir()) == ["dataset.hdf5", "generated.hdf5", "generated_sources.hdf5"]
    assert fingerprint(completed(run, overwrite=True).made.path) == fingerprint(reference / "datasets" / "generated.hdf5")


@pytest.mark.slow
def test_balance_goes_with_a_pool_that_grows(tmp_path, recorded):
    run = growing_run(tmp_path, balance=True, trials=104)
    write(run.recording, *recorded)
    attempts = fingerprint(completed(run).made.path)[1]
    assert [a["pool"] for a in attempts[:104]] == [1] * 26 + [2] * 26 + [3] * 52
    late = [name for a in attempts[75:] for name in a["sources"] if a["success"]]
    assert late.count("demo_2") > late.count("demo_0")  # which had all of the first trials


def test_a_pool_is_read_as_it_was_written(reference):
    run = growing_run(reference)
    shutil.copy(run.pool_file, partial_path(run.pool_file))
    with GrowingPool(run, complete=True) as pool:
        assert len(pool) == WANTED and list(pool.take_in(run.recording)) == []
        assert [len(pool.at(trial)[0]) for trial in range(TRIALS)] == [1, 1, 2, 2, 3, 3, 3, 3]
    partial_path(run.pool_file).unlink()
