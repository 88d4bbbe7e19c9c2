"""Training by the real lerobot, and rolling out what comes of it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mimicctl.config import EvalSettings, TrainSettings
from mimicctl.conversion.lerobot.folder import LeRobotFolder
from mimicctl.dataset.masks import DISCARDED, change_masks
from mimicctl.errors import RunFailed, UserError
from mimicctl.evaluation.checkpoints import epoch_of, find_checkpoints, labels_of, last_run, run_folder, task_of
from mimicctl.evaluation.play import play
from mimicctl.provenance.graph import Graph
from mimicctl.provenance.withdraw import carry_out_all, demos_named, plan
from mimicctl.provenance.workspace import scan
from mimicctl.settings import LeRobotSettings
from mimicctl.tasks import DEFAULT_TASK
from mimicctl.training.lerobot_policy import LeRobotPolicy
from mimicctl.training.lerobot_trainer import train_with_lerobot

pytestmark = pytest.mark.lerobot

SMALL = {
    "act": ["policy.dim_model=32", "policy.n_heads=2", "policy.dim_feedforward=64", "policy.chunk_size=8", "policy.n_action_steps=4", "policy.use_vae=false"],
    "diffusion": ["policy.down_dims=[16,32]", "policy.n_groups=4", "policy.horizon=8", "policy.n_action_steps=4", "policy.num_inference_steps=3"],
}


@pytest.fixture(scope="module", params=["act", "diffusion"])
def run(request, tmp_path_factory):
    """A run of six steps with two checkpoints, on eight of the ten bundled demonstrations."""
    from tests.conftest import SOURCE

    folder = tmp_path_factory.mktemp(request.param)
    shutil.copy(SOURCE, folder / "a.hdf5")
    change_masks(folder / "a.hdf5", lambda dataset: {DISCARDED: dataset.demos[:2]})
    settings = TrainSettings(log_dir=str(folder / "runs"), batch_size=4, save_every=3, device="cpu")
    return train_with_lerobot(folder / "a.hdf5", request.param, settings, LeRobotSettings(steps=6, log_every=2, options=SMALL[request.param]), seed=1)


def test_a_run_leaves_checkpoints_that_say_what_they_are_of(run):
    assert len(run.losses) == 3 and np.isfinite(run.losses).all()
    assert [epoch_of(path) for path in run.checkpoints] == [3, 6] and labels_of(run.checkpoints) == ["000003", "000006"]
    assert last_run(run.folder.parent) == run.folder and run_folder(run.checkpoints[0]) == run.folder
    assert find_checkpoints(run.folder) == list(run.checkpoints) and find_checkpoints(run.folder, best=True) == [run.checkpoints[-1]]
    facts = json.loads((run.checkpoints[0] / "mimicctl.json").read_text())
    assert facts["env_args"]["env_name"] == DEFAULT_TASK and facts["dataset"]["lineage"]["made_by"] == "mimicctl annotate"
    assert len(LeRobotFolder(run.folder / "dataset").episodes) == 8, "what is discarded is not learnt from"


def test_rollouts_do_not_depend_on_how_many_envs_there_are(run):
    task = task_of(run.checkpoints)
    results = [
        {rollout.index: rollout for _, rollout in play(run.checkpoints[-1:], task, EvalSettings(rollouts=3, horizon=12, num_envs=envs, workers=1))}
        for envs in (1, 3)
    ]
    assert results[0] == results[1] and len(results[0]) == 3


def test_actions_depend_on_the_episode_and_not_on_the_row(run):
    rng = np.random.default_rng(0)
    policy = LeRobotPolicy(run.checkpoints[-1], seed=3)
    observed = {key: rng.normal(size=(4, *shape)).astype(np.float32) for key, shape in policy.obs_shapes.items()}

    def acted(rows: list[int]) -> np.ndarray:
        policy.start(4)
        for row, episode in enumerate(rows):
            policy.restart(row, episode)
        first = policy.act({key: value[rows] for key, value in observed.items()}, [0, 1, 2, 3])
        then = policy.act({key: value[rows] for key, value in observed.items()}, [0, 1, 2, 3])
        order = np.argsort(rows)
        return np.stack([first[order], then[order]])

    assert np.array_equal(acted([0, 1, 2, 3]), acted([3, 1, 0, 2]))
    assert not np.array_equal(acted([0, 1, 2, 3])[0], acted([0, 1, 2, 3])[1]), "of what is planned one action after the other is done"


def test_lerobots_own_loop_chooses_the_same_actions(run):
    """`select_action` for one env at a time is what the real lerobot does; its queues hold what ours hold."""
    import torch

    policy = LeRobotPolicy(run.checkpoints[-1], seed=3)
    if policy._draws_inside:
        pytest.skip("it draws by chance, which the two do at different times")
    rng = np.random.default_rng(1)
    steps = [{key: rng.normal(size=(1, *shape)).astype(np.float32) for key, shape in policy.obs_shapes.items()} for _ in range(10)]
    policy.start(1)
    policy.restart(0, 0)
    ours = [policy.act(step, [0])[0] for step in steps]
    policy._model.reset()
    theirs = []
    for step in steps:
        batch = {name: torch.from_numpy(np.concatenate([step[key][0].reshape(-1) for key, _ in parts])[None]) for name, parts in policy._parts.items()}
        theirs.append(policy._after(policy._model.select_action(policy._before(batch))).numpy()[0])
    assert np.allclose(ours, theirs, atol=1e-5)


def test_a_run_is_resumed(run, tmp_path):
    """Also where it was moved to."""
    shutil.copytree(run.folder.parents[1], tmp_path, symlinks=True, dirs_exist_ok=True)
    settings = TrainSettings(log_dir=str(tmp_path / "runs"), batch_size=4, save_every=3, device="cpu")
    with pytest.raises(UserError, match="run of that name"):
        train_with_lerobot(tmp_path / "a.hdf5", run.folder.name, settings, LeRobotSettings(), seed=1)
    made = train_with_lerobot(tmp_path / "a.hdf5", run.folder.name, settings, LeRobotSettings(steps=9, log_every=2), seed=1, resume=True)
    assert [epoch_of(path) for path in made.checkpoints] == [3, 6, 9] and made.checkpoints[0].is_relative_to(tmp_path)
    assert [epoch_of(path) for path in find_checkpoints(run.folder)] == [3, 6]


def test_a_policy_whose_demonstrations_were_withdrawn_is_refused(run, tmp_path):
    shutil.copytree(run.folder.parents[1], tmp_path / "work", symlinks=True)
    graph = Graph(scan(tmp_path / "work"))
    planned = plan(graph, "one", demos_named(graph, [f"{tmp_path}/work/a.hdf5:demo_4"]))
    carry_out_all(graph, planned)
    moved = tmp_path / "work/runs" / run.folder.name
    checkpoints = find_checkpoints(moved)
    assert {path.parent for path in planned.tainted} >= set(checkpoints) and f"--algo {run.folder.name}" in planned.retrain[0]
    assert [entry.length for entry in LeRobotFolder(moved / "dataset").episodes] == [
        entry.length for entry in LeRobotFolder(run.folder / "dataset").episodes if entry.number != 2
    ]
    with pytest.raises(UserError, match="withdrawn"):
        task_of(checkpoints)
    assert task_of(checkpoints, allow_tainted=True).task_id == DEFAULT_TASK, "LeRobot loads them as before"
    settings = TrainSettings(log_dir=str(tmp_path / "work/runs"), batch_size=4, save_every=3, device="cpu")
    with pytest.raises(UserError, match="withdrawn"):
        train_with_lerobot(tmp_path / "work/a.hdf5", run.folder.name, settings, LeRobotSettings(steps=9, log_every=2), seed=1, resume=True)
    task_of(find_checkpoints(run.folder))


def test_what_lerobot_refuses_is_said_in_its_words(tmp_path, source_file):
    settings = TrainSettings(log_dir=str(tmp_path), device="cpu")
    with pytest.raises(RunFailed, match="exit code") as caught:
        train_with_lerobot(source_file, "act", settings, LeRobotSettings(steps=1, options=["policy.dim_modle=3"]), seed=1)
    assert "dim_modle" in str(caught.value) and "train.log" in caught.value.where


def test_a_policy_that_nobody_knows_the_inputs_of_is_refused(run, tmp_path):
    shutil.copytree(run.checkpoints[-1], tmp_path / "pretrained_model")
    (tmp_path / "pretrained_model" / "mimicctl.json").unlink()
    with pytest.raises(UserError, match="nobody knows"):
        LeRobotPolicy(tmp_path / "pretrained_model")
