"""Evaluating real checkpoints: the same results however they are spread out, refusals, interruptions, videos."""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mimicctl.cli import app as shell
from mimicctl.config import EvalSettings, TrainSettings
from mimicctl.crew import Activity, results_of_jobs
from mimicctl.envs import make_env
from mimicctl.envs.mujoco import gl
from mimicctl.errors import RunFailed
from mimicctl.evaluation.play import one_thread, play
from mimicctl.evaluation.rollouts import Rollout, roll_out
from mimicctl.tasks import DEFAULT_TASK, find_task
from mimicctl.tasks.fingerprint import fingerprint
from tests.episodes import make_episode
from tests.training.images import LOW_DIM_RECIPES

pytestmark = pytest.mark.train

SEEN = {key: np.concatenate([make_episode(i).obs[key] for i in range(3)]) for key in make_episode().obs}
"""Sixty observations, key to (60, D)."""


@pytest.fixture
def run(runs, tmp_path) -> Path:
    """The run folder of a mixture policy, to do with as one likes."""
    return Path(shutil.copytree(runs["mlp"], tmp_path / "run"))


def checkpoint_of(run: Path) -> Path:
    return run / "models" / "model_epoch_1.pth"


# The same results -----------------------------------------------------------------------------------------------


def paths(checkpoint: Path, numbers, num_envs: int):
    """Number and snapshots of every rollout; `play` tells less about them."""
    from mimicctl.training.policy import Policy

    env = make_env(DEFAULT_TASK, num_envs)
    with one_thread():
        for rollout, snapshots in roll_out(env, Policy(checkpoint, seed=3), numbers, horizon=14, seed=3, recorded=99):
            yield rollout.index, snapshots


def numbered_paths(checkpoint: Path, next_number):
    for index, snapshots in paths(checkpoint, iter(next_number, None), 3):
        yield index, (index, snapshots)


@pytest.mark.parametrize("recipe", LOW_DIM_RECIPES)
def test_envs_change_nothing_bit_for_bit(runs, recipe):
    alone, together = (dict(paths(checkpoint_of(runs[recipe]), iter(range(9)), num_envs)) for num_envs in (1, 8))
    assert sorted(together) == list(range(9)) and not np.array_equal(alone[0], alone[1])
    for index, path in alone.items():
        np.testing.assert_array_equal(path, together[index])


def test_workers_change_nothing_bit_for_bit(runs):
    checkpoint = checkpoint_of(runs["mlp"])
    alone = dict(paths(checkpoint, iter(range(9)), 1))
    spread = dict(results_of_jobs(partial, (numbered_paths, checkpoint), range(9), workers=2, at_once=3, activity=Activity(), do=""))
    assert sorted(spread) == list(range(9))
    for index, path in alone.items():
        np.testing.assert_array_equal(path, spread[index])


@pytest.mark.parametrize("recipe", LOW_DIM_RECIPES)
def test_a_row_is_answered_the_same_wherever_it_stands(runs, recipe):
    from mimicctl.training.policy import Policy

    policy = Policy(checkpoint_of(runs[recipe]))

    def actions(rows: list[int]) -> np.ndarray:
        policy.start(60)
        return np.stack([policy.act({key: value[rows] for key, value in SEEN.items()}, rows) for _ in range(3)], axis=1)

    every = actions(list(range(60)))
    for rows in ([7], [59, 0, 7], list(range(20, 55))):
        np.testing.assert_array_equal(actions(rows), every[rows])


@pytest.mark.parametrize("algo", [{"vae": {"enabled": True}}, {"gaussian": {"enabled": True, "low_noise_eval": False}}, {"gaussian": {"enabled": True}}])
def test_networks_that_draw_inside_draw_by_the_episode_too(data, tmp_path, algo):
    from mimicctl.training.policy import Policy
    from mimicctl.training.trainer import train

    config = {"algo_name": "bc", "algo": algo, "observation": {"modalities": {"obs": {"low_dim": ["eef_pos"]}}}, "experiment": {"epoch_every_n_steps": 2}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = TrainSettings(config_json=str(tmp_path / "config.json"), log_dir=str(tmp_path), name="run", epochs=1, batch_size=8)
    policy = Policy(train(data, settings, seed=1).checkpoints[-1])
    policy.start(4)
    every = policy.act({"eef_pos": SEEN["eef_pos"][:4]}, range(4))
    policy.start(1)
    policy.restart(0, 2)
    np.testing.assert_array_equal(policy.act({"eef_pos": SEEN["eef_pos"][2:3]}, [0])[0], every[2])


def test_a_policy_draws_anew_in_every_episode_and_with_every_seed(runs):
    from mimicctl.training.policy import Policy

    def action(seed: int, episode: int) -> np.ndarray:
        policy = Policy(checkpoint_of(runs["rnn-gmm"]), seed=seed)
        policy.start(1)
        policy.restart(0, episode)
        return policy.act({key: value[:1] for key, value in SEEN.items()}, [0])

    drawn = [action(seed, episode) for seed, episode in itertools.product((0, 1), (0, 1))]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(drawn, 2))


def test_results_come_from_all_checkpoints_and_workers(runs):
    settings = EvalSettings(rollouts=3, horizon=5, workers=2)
    checkpoints = [checkpoint_of(runs["mlp"]), checkpoint_of(runs["rnn"])]
    found = sorted((path, rollout.index) for path, rollout in play(checkpoints, find_task(DEFAULT_TASK), settings))
    assert found == sorted(itertools.product(checkpoints, range(3)))


def test_a_killed_worker_changes_no_result(runs):
    settings = EvalSettings(rollouts=8, horizon=60, num_envs=2)
    checkpoints = [checkpoint_of(runs["mlp"]), checkpoint_of(runs["rnn"])]
    told: list[str] = []

    def results(workers: int, deaths: int = 0) -> dict:
        spread = settings.model_copy(update={"workers": workers})
        found, killed = {}, set()
        for path, rollout in play(checkpoints, find_task(DEFAULT_TASK), spread, on_event=told.append):
            assert (path, rollout.index) not in found, "done twice"
            found[path, rollout.index] = rollout
            if len(killed) < deaths:
                victim = next(child.pid for child in multiprocessing.active_children() if child.pid not in killed)
                killed.add(victim)
                os.kill(victim, signal.SIGKILL)
        return found

    alone = results(1)
    assert len(alone) == 16 and results(2, deaths=2) == alone
    assert len(told) == 2 and all("was killed (signal 9)" in text for text in told)


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """The command in this process, which has torch already, in an empty folder: exit code, stdout, stderr."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def done(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = shell._run(["eval", "play", "--rollouts", "2", "--horizon", "5", "--workers", "1", *map(str, arguments)], debug=False)
        return code, *capsys.readouterr()

    return done


def test_several_runs_are_compared_in_the_working_folder(tmp_path, runs, evaluate):
    code, out, err = evaluate("--checkpoint", runs["mlp"], "--checkpoint", checkpoint_of(runs["rnn"]), "--json", "--best")
    assert code == 0, err
    report = json.loads(out)
    labels = [Path(c["checkpoint"]).parts[-3] for c in report["checkpoints"]]
    assert "mlp" in labels and labels[-1] == "rnn"
    assert sum("compared_to_best" in c for c in report["checkpoints"]) == len(labels) - 1
    assert json.loads((tmp_path / "here" / "evaluation.json").read_text()) == report
    assert not list((tmp_path / "here").rglob("*partial*"))


def test_the_table_says_how_each_compares_with_the_best(run, evaluate):
    code, out, _ = evaluate("--checkpoint", run)
    assert code == 0 and "beside the best" in out and "the same rollouts succeed" in out
    alone = evaluate("--checkpoint", checkpoint_of(run))[1]
    assert "Checkpoints" in alone and "beside the best" not in alone


def renamed(task: str):
    def change(contents: dict) -> None:
        contents["env_metadata"]["env_name"] = task

    return change


def other_key(contents: dict) -> None:
    contents["shape_metadata"]["all_obs_keys"] = ["eef_pos", "camera"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("MuJoCo-Stack-Cube-Franka-IK-Abs-v0"), "actions are 7 numbers; MuJoCo-Stack-Cube-Franka-IK-Abs-v0 takes 8"),
        (renamed("Lift"), 'no task "Lift"'),
        (renamed(""), "does not say which task"),
        (other_key, "observes camera, which"),
    ],
)
def test_a_checkpoint_of_another_task_is_refused(tmp_path, run, evaluate, change, message):
    import torch

    contents = torch.load(checkpoint_of(run), weights_only=False)
    change(contents)
    torch.save(contents, checkpoint_of(run))
    code, out, err = evaluate("--checkpoint", checkpoint_of(run))
    assert code == 2 and message in err and "--task" in err and str(run) in err
    assert out == "" and not list((tmp_path / "here").iterdir())


def test_a_task_that_was_edited_after_training_is_noted(run, evaluate):
    import torch

    contents = torch.load(checkpoint_of(run), weights_only=False)
    edited = dataclasses.replace(find_task(DEFAULT_TASK), home=(0.0,) * 7)
    contents["mimicctl"]["dataset"]["lineage"] = {"task": DEFAULT_TASK, "task_spec": fingerprint(edited)}
    torch.save(contents, checkpoint_of(run))
    code, _, err = evaluate("--checkpoint", checkpoint_of(run))
    assert code == 0 and f"{DEFAULT_TASK} has changed since the data was made: its home." in err


def test_checkpoints_of_different_tasks_are_refused(tmp_path, run, runs, evaluate):
    import torch

    contents = torch.load(checkpoint_of(run), weights_only=False)
    contents["env_metadata"]["env_name"] = "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"
    torch.save(contents, checkpoint_of(run))
    code, _, err = evaluate("--checkpoint", checkpoint_of(runs["rnn"]), "--checkpoint", checkpoint_of(run))
    assert code == 2 and "different tasks" in err and not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rollouts", "0"], "eval.rollouts cannot be 0"),
        (["--horizon", "0"], "eval.horizon cannot be 0"),
        (["--workers", "-1"], "eval.workers cannot be -1"),
        (["--video", "-1"], "eval.video cannot be -1"),
        (["--checkpoint", "."], "no checkpoints here"),
        (["--checkpoint", "nowhere.pth"], "no such file or folder"),
        (["--output-dir", "/proc/reports"], "cannot be written here"),
        (["--task", "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"], "takes 8"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_rolled_out(tmp_path, run, evaluate, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = evaluate(*([] if "--checkpoint" in arguments else ["--checkpoint", checkpoint_of(run)]), *arguments)
    assert code == 2 and message in err and "\n  do  " in err and out == "", err
    assert "Evaluating" not in err and sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def stopping(monkeypatch, run, evaluate):
    """The command over rollouts that stop with the given exception, after one whole checkpoint and half of the next."""

    def evaluated(error: BaseException) -> tuple[int, str, str]:
        def some(checkpoints, *_, on_event):
            for path, count in zip(checkpoints, (2, 1), strict=True):
                yield from ((path, Rollout(i, True, {"franka": 4}, 5)) for i in range(count))
            raise error

        for extra in run.glob("models/*best*"):
            extra.unlink()
        shutil.copy(checkpoint_of(run), run / "models" / "model_epoch_2.pth")
        monkeypatch.setattr("mimicctl.evaluation.play.play", some)
        return evaluate("--checkpoint", run, "--json")

    return evaluated


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (RunFailed("A worker process died."), 1)])
def test_what_was_finished_before_a_stop_is_reported(stopping, run, error, code):
    ended, out, err = stopping(error)
    report = json.loads(out)
    assert ended == code and report["stopped"] and [c["successes"] for c in report["checkpoints"]] == [2]
    assert "Left out: model_epoch_2, 1 of 2 rollouts done" in err
    assert json.loads((run / "evaluation.json").read_text()) == report


def test_ctrl_c_ends_workers_and_leaves_nothing_half_written(tmp_path, run):
    command = [sys.executable, "-m", "mimicctl", "eval", "play", "--checkpoint", str(run), "--rollouts", "5000", "--workers", "2", "--num-envs", "1"]
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    while not child.stderr.readline().startswith("eval: "):
        assert child.poll() is None
    workers = children.read_text().split()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "Left out" in err and "stopped." in err and "Traceback" not in err and out == ""
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end, "workers live on"
        time.sleep(0.05)
    assert not list(run.glob("evaluation.*"))


# Videos ---------------------------------------------------------------------------------------------------------------


@pytest.mark.render
def test_videos_show_every_step_of_the_first_rollouts_and_change_no_result(tmp_path, run, evaluate):
    av = pytest.importorskip("av")
    asked = ["--checkpoint", checkpoint_of(run), "--rollouts", "3", "--json", "--output-dir"]
    _, plain, _ = evaluate(*asked, "plain")
    code, filmed, err = evaluate(*asked, "filmed", "--video", "2")
    assert code == 0, err
    assert json.loads(filmed)["checkpoints"] == json.loads(plain)["checkpoints"]
    folder = tmp_path / "here" / "filmed" / "videos" / "model_epoch_1"
    assert sorted(path.name for path in folder.iterdir()) == ["rollout_000_failure.mp4", "rollout_001_failure.mp4"]
    with av.open(str(folder / "rollout_001_failure.mp4")) as video:
        stream = video.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
        assert stream.average_rate == 20 and len(pictures) == 6 and pictures[0].shape == (480, 640, 3)
    assert np.ptp(pictures[0]) > 150


def test_without_opengl_nothing_is_rolled_out(tmp_path, run, evaluate, monkeypatch):
    pytest.importorskip("av")
    # A platform that PyOpenGL does not know keeps every backend of MuJoCo from loading.
    monkeypatch.setenv("PYOPENGL_PLATFORM", "none")
    # Without what is remembered of an earlier look, for better and for worse.
    monkeypatch.setattr(gl, "_failure", gl._failure.__wrapped__)
    code, out, err = evaluate("--checkpoint", run, "--video", "1")
    assert code == 2 and "none works here" in err and "apt-get install libegl1" in err
    assert "Evaluating" not in err and out == "" and not list((tmp_path / "here").iterdir())


def test_without_the_encoder_nothing_is_rolled_out(tmp_path, run, evaluate, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    code, _, err = evaluate("--checkpoint", run, "--video", "1")
    assert code == 2 and 'pip install "mimicctl[video]"' in err and not list((tmp_path / "here").iterdir())
