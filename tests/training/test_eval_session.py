"""Somebody looks on while a policy drives; and what is said when it is rolled out under other conditions than it learnt under."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import h5py
import pytest

from mimicctl.config import TrainSettings
from mimicctl.dataset.split import split_file
from mimicctl.tasks import cancel_swing
from mimicctl.training import robomimic_seam as seam
from mimicctl.training.recipes import RECIPES
from tests.conftest import SOURCE
from tests.pads import SPOKEN, run_with_pad

pytestmark = pytest.mark.train


def trained(folder: Path, **conditions: object) -> Path:
    """The checkpoint of a policy that has seen the bundled demonstrations for three steps.

    Args:
        conditions: other ones that these are said to have been recorded under.
    """
    from mimicctl.training.trainer import train

    seam.import_robomimic()
    data = Path(shutil.copy(SOURCE.parent / "pick_stringman.hdf5", folder / "data.hdf5"))
    with h5py.File(data, "r+") as file:
        said = json.loads(file["data"].attrs["env_args"])
        said["sim_args"] |= conditions
        file["data"].attrs["env_args"] = json.dumps(said)
    split_file(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "mlp", dataclasses.replace(RECIPES["mlp"], steps_per_epoch=3, save_every=1, batch_size=8))
        return train(data, TrainSettings(recipe="mlp", log_dir=str(folder), name="hang", epochs=1), seed=1).folder / "models" / "model_epoch_1.pth"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("run"))


@pytest.fixture(autouse=True)
def _as_tasks_say():
    yield
    cancel_swing(None)


def test_start_lets_the_policy_drive_and_ends_it_and_nothing_is_said_aloud(checkpoint, tmp_path):
    done = run_with_pad(tmp_path, "START START START BACK START START", "eval", "session", "--checkpoint", str(checkpoint), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rollouts"], found["successes"], found["discarded"]) == (2, 0, 1) and found["interval_95"][0] == 0
    assert "was on" not in done.stderr and "rollouts 2, of which 0 succeeded" in done.stderr
    assert not (tmp_path / SPOKEN).exists() and not list(tmp_path.rglob("*.hdf5"))


def test_a_session_ends_with_the_rollouts_that_were_wanted(checkpoint, tmp_path):
    done = run_with_pad(tmp_path, "START START START START START", "eval", "session", "--checkpoint", str(checkpoint), "--rollouts", "1")
    assert done.returncode == 0 and "0.0 % (0 of 1; 95 % interval 0.0 to 79.3 %)" in done.stdout, done.stderr


def test_another_setting_is_warned_of_with_both_values_and_the_way_back(checkpoint, tmp_path, evaluate):
    done = run_with_pad(tmp_path, "START START", "eval", "session", "--checkpoint", str(checkpoint), "--no-swing-cancellation")
    said = "swing cancellation was on and is off, since the policy learnt. --swing-cancellation evaluates as it was."
    assert done.returncode == 0 and said in done.stderr, done.stderr
    code, _, noted = evaluate("play", "--checkpoint", checkpoint, "--rollouts", "1", "--horizon", "3", "--workers", "1", "--no-swing-cancellation")
    assert code == 0 and said in noted and "has changed since" not in noted
    code, _, noted = evaluate("play", "--checkpoint", checkpoint, "--rollouts", "1", "--horizon", "3", "--workers", "1")
    assert code == 0 and "since the policy learnt" not in noted


def test_another_version_is_warned_of_with_both(tmp_path, evaluate, monkeypatch):
    old = trained(tmp_path, controller_version="0.9")
    monkeypatch.setattr("mimicctl.schema.FORMAT_VERSION", 2)
    code, _, noted = evaluate("play", "--checkpoint", old, "--rollouts", "1", "--horizon", "3", "--workers", "1")
    assert code == 0 and "controller version was 0.9 and is 1.0; format version was 1 and is 2, since the policy learnt." in noted, noted


def test_a_policy_of_mixed_demonstrations_learnt_under_no_one_setting(tmp_path, evaluate):
    code, _, noted = evaluate("play", "--checkpoint", trained(tmp_path, swing_cancellation="mixed"), "--rollouts", "1", "--horizon", "3", "--workers", "1")
    assert code == 0 and "swing cancellation was mixed and is on, since the policy learnt." in noted and "evaluates as it was" not in noted


def test_a_policy_of_an_arm_has_no_switch(runs, evaluate):
    code, _, said = evaluate("play", "--checkpoint", runs["mlp"] / "models" / "model_epoch_1.pth", "--swing-cancellation", "--rollouts", "1")
    assert code == 2 and "Nothing hangs and swings" in said


def test_nobody_to_look_on_is_refused(checkpoint, evaluate):
    code, _, said = evaluate("session", "--checkpoint", checkpoint, "--device", "scripted")
    assert code == 2 and "begun and ended by a person" in said
