"""Checkpoints that ask for code to be run, and checkpoints without a pickle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mimicctl.cli import app as shell
from mimicctl.config import TrainSettings
from mimicctl.errors import UserError
from mimicctl.provenance.checkpoints import facts_of, taint
from mimicctl.training.checkpoint_file import read_checkpoint, to_safetensors
from tests.episodes import make_episode

pytestmark = pytest.mark.train


class Evil:
    """Unpickled as others would unpickle it, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def run(runs, tmp_path) -> Path:
    return Path(shutil.copytree(runs["mlp"], tmp_path / "run"))


def checkpoint_of(run: Path) -> Path:
    return run / "models" / "model_epoch_1.pth"


def shelled(capsys, *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = shell._run([*map(str, words)], debug=False)
    return code, *capsys.readouterr()


def test_code_in_a_checkpoint_is_named_and_never_run(run, tmp_path, capsys):
    import torch

    trap = tmp_path / "was here"
    contents = read_checkpoint(checkpoint_of(run), "cpu")
    torch.save({**contents, "extra": Evil(trap)}, checkpoint_of(run))
    torch.load(checkpoint_of(run), weights_only=False)
    assert trap.exists(), "the trap works"
    trap.rmdir()
    for words in (["eval", "play", "--rollouts", 1, "--horizon", 5, "--checkpoint"], ["convert", "pth-to-safetensors"]):
        code, _, err = shelled(capsys, *words, checkpoint_of(run))
        assert code == 2 and "would run code" in err and "posix.mkdir" in err and str(checkpoint_of(run)) in err
    assert not trap.exists()


def test_code_in_the_state_of_a_run_is_not_run_when_it_goes_on(data, run, tmp_path):
    import torch

    from mimicctl.training.trainer import train

    trap, state = tmp_path / "was here", run / "training_state.pth"
    torch.save({**read_checkpoint(state, "cpu"), "extra": Evil(trap)}, state)
    with pytest.raises(UserError, match="state of the run cannot be read.*posix.mkdir"):
        train(data, TrainSettings(recipe="mlp", log_dir=str(run.parent), name="run", epochs=2), seed=1, resume=True)
    assert not trap.exists()


def test_statistics_as_robomimic_stores_them_are_read(tmp_path):
    import torch

    stats = {"eef_pos": {"mean": np.zeros((1, 3), np.float32), "std": np.ones((1, 3)), "count": np.float64(3.0)}}
    torch.save({"obs_normalization_stats": stats}, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth", "cpu")["obs_normalization_stats"]["eef_pos"]
    np.testing.assert_array_equal(read["std"], np.ones((1, 3)))
    assert read["count"] == 3.0


def test_a_truncated_checkpoint_is_refused(run):
    whole = checkpoint_of(run).read_bytes()
    checkpoint_of(run).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a checkpoint"):
        read_checkpoint(checkpoint_of(run), "cpu")


def test_safetensors_hold_the_same_policy(run, tmp_path, capsys, monkeypatch):
    from mimicctl.training.policy import Policy

    monkeypatch.chdir(tmp_path)
    code, out, _ = shelled(capsys, "convert", "pth-to-safetensors", checkpoint_of(run), "--json")
    path = Path(json.loads(out)["file"])
    assert code == 0 and path == checkpoint_of(run).with_suffix(".safetensors")
    actions = []
    for file in (checkpoint_of(run), path):
        policy = Policy(file, seed=3)
        policy.start(20)
        actions.append(policy.act(make_episode(0, steps=20).obs, range(20)))
    np.testing.assert_array_equal(*actions)
    code, _, err = shelled(capsys, "eval", "play", "--rollouts", 1, "--horizon", 5, "--workers", 1, "--checkpoint", path)
    assert code == 0, err


def test_a_mark_stays_with_safetensors_and_goes_nowhere_else(run, tmp_path, capsys):
    path = to_safetensors(checkpoint_of(run), None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert facts_of(path) == json.loads(json.dumps(facts_of(checkpoint_of(run))))
    before = read_checkpoint(path, "cpu")["model"]
    taint(path, {"why": "see a record"})
    after = read_checkpoint(path, "cpu")["model"]
    assert all((before[key] == after[key]).all() for key in before) and before.keys() == after.keys()
    code, _, err = shelled(capsys, "eval", "play", "--checkpoint", path)
    assert code == 2 and "withdrawn" in err and "see a record" in err
    taint(checkpoint_of(run), {"why": "see a record"})
    with pytest.raises(UserError, match="withdrawn"):
        to_safetensors(checkpoint_of(run), tmp_path / "washed.safetensors")


def test_safetensors_appear_whole_and_replace_nothing_unasked(run, tmp_path):
    to_safetensors(checkpoint_of(run), tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="exists"):
        to_safetensors(checkpoint_of(run), tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="should end in"):
        to_safetensors(checkpoint_of(run), tmp_path / "a.bin")
    with pytest.raises(UserError, match="no such file"):
        to_safetensors(tmp_path / "none.pth", None)
    with pytest.raises(UserError, match="holds no policy"):
        to_safetensors(_without_model(run), None)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "a.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="not a checkpoint"):
        read_checkpoint(cut, "cpu")


def _without_model(run: Path) -> Path:
    import torch

    path = run / "empty.pth"
    torch.save({"epoch": 1}, path)
    return path
