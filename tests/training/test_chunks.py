"""Chunks of actions: written for a network and read back, done half by half, and what they cannot be combined with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mimicctl.config import TrainSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from mimicctl.tasks import find_task
from mimicctl.training.chunks import Chunks
from mimicctl.training.loader import Frames
from mimicctl.training.recipes import RECIPES
from tests.episodes import make_episode

G1, TRAY, BODY = "MuJoCo-PickPlace-G1-Pink-IK-Abs-v0", "MuJoCo-Lift-Tray-Dual-Franka-IK-Abs-v0", "MuJoCo-PickPlace-Locomanipulation-G1-Abs-v0"
ONE_ARM = "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"
LENGTHS = (5, 9)


def frames_of(task_id: str, prefixes: tuple[str, ...], lengths: tuple[int, ...] = LENGTHS) -> Frames:
    """Demonstrations of wrists that wander, and targets anywhere."""
    rng, total, task = np.random.default_rng(0), sum(lengths), find_task(task_id)
    quats = {f"{prefix}eef_quat": Rotation.random(total, random_state=rng).as_quat() for prefix in prefixes}
    obs = {f"{prefix}eef_pos": rng.normal(size=(total, 3)) for prefix in prefixes} | quats
    wrists = [np.concatenate([rng.normal(size=(total, 3)), Rotation.random(total, random_state=rng).as_quat()], axis=1) for _ in prefixes]
    rest = rng.normal(size=(total, task.action_dim - 7 * len(prefixes)))
    rest[:, 0] = 0.25  # a finger that stands still
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    first, last = np.repeat(starts, lengths), np.repeat(starts + np.array(lengths) - 1, lengths)
    numbers = {key: values.astype(np.float32) for key, values in obs.items()}
    return Frames(numbers, np.concatenate([*wrists, rest], axis=1).astype(np.float32), first, last)


def assert_same_actions(given: np.ndarray, expected: np.ndarray, wrists: int) -> None:
    """A quaternion and its opposite are one orientation."""
    for wrist in range(wrists):
        quat = slice(7 * wrist + 3, 7 * wrist + 7)
        turn = Rotation.from_quat(given[:, quat]).inv() * Rotation.from_quat(expected[:, quat])
        np.testing.assert_allclose(turn.magnitude(), 0, atol=2e-3)
        given, expected = np.delete(given, quat, axis=1), np.delete(expected, quat, axis=1)
        given, expected = np.insert(given, [7 * wrist + 3] * 4, 0, axis=1), np.insert(expected, [7 * wrist + 3] * 4, 0, axis=1)
    np.testing.assert_allclose(given, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("task_id", "prefixes"),
    [(G1, ("left_", "right_")), (TRAY, ("left_", "right_")), (BODY, ("left_", "right_")), (ONE_ARM, ("",))],
    ids=["humanoid", "two arms", "humanoid that goes about", "one arm"],
)
def test_what_is_written_reads_back_as_the_actions_that_follow(task_id, prefixes):
    frames = frames_of(task_id, prefixes)
    chunks = Chunks.of(frames, 4, find_task(task_id))
    written = chunks.written(frames)
    # Of a wrist 6 numbers, not 7; and what stands still is none.
    assert written.shape == (sum(LENGTHS), 4 * (frames.actions.shape[1] - len(prefixes) - 1)) and np.abs(written).max() < 0.96
    assert chunks.action_dim == find_task(task_id).action_dim
    for of in (chunks, Chunks.from_facts(chunks.facts())):
        read = of.read(written, frames.obs)
        for frame in range(sum(LENGTHS)):
            ahead = np.minimum(frame + np.arange(4), frames.last[frame])
            assert_same_actions(read[frame], frames.actions[ahead], len(prefixes))


def test_wrists_are_told_where_to_go_from_where_they_are():
    frames = frames_of(G1, ("left_", "right_"))
    chunks = Chunks.of(frames, 4, find_task(G1))
    moved = dict(frames.obs)
    moved["right_eef_pos"] = frames.obs["right_eef_pos"] + np.float32([0.1, -0.2, 0.3])
    written = chunks.written(frames)
    away = chunks.read(written, moved) - chunks.read(written, frames.obs)
    expected = np.zeros(28)
    expected[7:10] = 0.1, -0.2, 0.3
    np.testing.assert_allclose(away, np.broadcast_to(expected, away.shape), atol=1e-6)


def test_actions_whose_columns_are_not_known_are_chunks_as_they_are():
    frames = frames_of(TRAY, ("left_", "right_"))
    chunks = Chunks.of(frames, 3, None)
    assert chunks.wrists == () and chunks.action_dim == 16
    ahead = np.minimum(np.arange(sum(LENGTHS))[:, None] + np.arange(3), frames.last[:, None])
    np.testing.assert_allclose(chunks.read(chunks.written(frames), {}), frames.actions[ahead], atol=1e-5)


def test_wrists_that_are_not_observed_are_told_where_to_be():
    frames = frames_of(G1, ("left_", "right_"))
    blind = dataclasses.replace(frames, obs={key: values for key, values in frames.obs.items() if key != "left_eef_pos"})
    assert Chunks.of(blind, 3, find_task(G1)).wrists == ()


def test_actions_that_never_change_are_refused():
    frames = frames_of(TRAY, ("left_", "right_"))
    with pytest.raises(UserError, match="nothing to learn"):
        Chunks.of(dataclasses.replace(frames, actions=np.full_like(frames.actions, 0.5)), 3, None)


# In training and rollouts -----------------------------------------------------------------------------------


@pytest.fixture
def robomimic() -> None:
    from mimicctl.training import robomimic_seam

    robomimic_seam.import_robomimic()


@pytest.fixture
def data(tmp_path) -> Path:
    """Of the stack under absolute control; demonstrations of another task serve as well."""
    path = tmp_path / "data.hdf5"
    with DatasetWriter(path, task_id=ONE_ARM, lineage={}) as writer:
        for number in range(4):
            episode = make_episode(number, steps=20 + number)
            quats = Rotation.random(len(episode.actions), random_state=number).as_quat()
            actions = np.concatenate([episode.obs["eef_pos"] + 0.01, quats, episode.actions[:, -1:]], axis=1)
            writer.write(dataclasses.replace(episode, actions=actions.astype(np.float32)))
    split_file(path)
    return path


@pytest.fixture
def in_chunks(monkeypatch) -> str:
    """A recipe that gives four actions at once."""
    recipe = dataclasses.replace(RECIPES["mlp"], name="in-chunks", turn=0.0, chunk=4, steps_per_epoch=3, batch_size=8, save_every=1, optional_keys=())
    recipe = dataclasses.replace(recipe, obs_keys=("eef_pos", "eef_quat", "gripper_pos", "object"))
    monkeypatch.setitem(RECIPES, "in-chunks", recipe)
    return "in-chunks"


@pytest.mark.train
def test_each_env_does_half_of_its_own_chunk_before_it_asks_again(data, in_chunks, tmp_path):
    from mimicctl.training.policy import Policy
    from mimicctl.training.trainer import train

    made = train(data, TrainSettings(recipe=in_chunks, log_dir=str(tmp_path), epochs=1), seed=1)
    assert "chunks" not in json.loads((made.folder / "lineage.json").read_text())
    with Dataset(data) as dataset:
        obs = dataset.episode("demo_0").obs

    def rolled(rows: int, late: int) -> np.ndarray:
        """Actions (12, A) of row 0; the last of the other rows begins `late` steps after it."""
        policy = Policy(made.checkpoints[-1], seed=3)
        assert policy.action_dim == 8
        policy.start(rows)
        actions = []
        for step in range(12):
            if step == late and rows > 1:
                policy.restart(rows - 1, 7)
            acting = list(range(rows)) if step >= late else list(range(rows - 1)) or [0]
            actions.append(policy.act({key: np.repeat(values[step][None], len(acting), axis=0) for key, values in obs.items()}, acting)[0])
        return np.stack(actions)

    alone = rolled(1, 0)
    assert np.array_equal(alone, rolled(3, 0)) and np.array_equal(alone, rolled(3, 5))

    # Steps 0 and 1 are of the chunk that began at step 0: what is seen at step 1 makes no difference, what is seen at step 2 does.
    for seen_differently, differ in ((1, False), (2, True)):
        policy = Policy(made.checkpoints[-1], seed=3)
        policy.start(1)
        for step in range(3):
            away = np.float32(0.05 if step == seen_differently else 0.0)
            action = policy.act({key: values[step][None] + (away if key == "eef_pos" else 0) for key, values in obs.items()}, [0])[0]
        assert (not np.array_equal(action, alone[2])) is differ


@pytest.mark.train
def test_a_run_in_chunks_resumes_to_the_same_weights(data, in_chunks, tmp_path):
    from mimicctl.training.checkpoint_file import read_checkpoint
    from mimicctl.training.trainer import train

    settings = TrainSettings(recipe=in_chunks, log_dir=str(tmp_path / "one"), epochs=2)
    whole = train(data, settings, seed=1)

    def stop(losses, epochs):
        raise KeyboardInterrupt

    parts = settings.model_copy(update={"log_dir": str(tmp_path / "two")})
    with pytest.raises(KeyboardInterrupt):
        train(data, parts, seed=1, on_epoch=stop)
    resumed = train(data, parts, seed=1, resume=True)
    one, two = (read_checkpoint(made.checkpoints[-1], "cpu") for made in (whole, resumed))
    assert one["mimicctl"]["chunks"] == two["mimicctl"]["chunks"]
    assert all(np.array_equal(values.numpy(), two["model"][key].numpy()) for key, values in one["model"].items())


@pytest.mark.train
def test_normalised_actions_are_what_chunks_are_anyway(data, in_chunks, tmp_path):
    from mimicctl.training.checkpoint_file import read_checkpoint
    from mimicctl.training.trainer import train

    usual = TrainSettings(recipe=in_chunks, log_dir=str(tmp_path / "usual"), epochs=1)
    asked = usual.model_copy(update={"log_dir": str(tmp_path / "asked"), "normalize_actions": True})
    folders = [train(data, settings, seed=1).folder for settings in (usual, asked)]
    assert not list(tmp_path.rglob("normalization_params.txt"))
    one, two = (read_checkpoint(folder / "models" / "model_epoch_1.pth", "cpu") for folder in folders)
    assert one["mimicctl"]["chunks"] == two["mimicctl"]["chunks"]
    assert all(np.array_equal(values.numpy(), two["model"][key].numpy()) for key, values in one["model"].items())



@pytest.mark.train
def test_stock_robomimic_loads_the_network_whose_answers_are_no_actions(robomimic, data, in_chunks, tmp_path):
    import robomimic.utils.file_utils as file_utils

    from mimicctl.training.trainer import train

    made = train(data, TrainSettings(recipe=in_chunks, log_dir=str(tmp_path), epochs=1), seed=1)
    stock, contents = file_utils.policy_from_checkpoint(ckpt_path=str(made.checkpoints[-1]), device="cpu", verbose=False)
    stock.start_episode()
    with Dataset(data) as dataset:
        obs = dataset.episode("demo_0").obs
    answer = stock({key: obs[key][0] for key in contents["shape_metadata"]["all_obs_keys"]})
    # In the first step the wrist is always told to go a centimetre ahead, which need not be learnt.
    assert answer.shape == (4 * 7 - 3,) and contents["mimicctl"]["chunks"]["steps"] == 4
