"""Training with the real torch and robomimic."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.config import TrainSettings
from mimicctl.dataset.masks import DISCARDED, change_masks
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from mimicctl.training import robomimic_seam as seam
from mimicctl.training.recipes import RECIPES
from tests.conftest import run_cli
from tests.episodes import make_episode
from tests.training.images import LOW_DIM_RECIPES

pytestmark = pytest.mark.train

TASK = "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"
SMALL = {"epochs": 2, "batch_size": 32}


@pytest.fixture(scope="module", autouse=True)
def robomimic():
    seam.import_robomimic()


@pytest.fixture
def data(tmp_path) -> Path:
    """Twelve demos whose actions are a smooth function of what is observed."""
    path = tmp_path / "data.hdf5"
    mixing = np.random.default_rng(0).normal(0, 1, (3, 7))
    with DatasetWriter(path, task_id=TASK, lineage={"made_by": "a test"}) as writer:
        for i in range(12):
            episode = make_episode(i, steps=40 + i)
            writer.write(dataclasses.replace(episode, actions=np.tanh(episode.obs["eef_pos"] @ mixing).astype(np.float32)))
    split_file(path)
    return path


@pytest.fixture
def quick(monkeypatch):
    """Every recipe, a hundredth of the work."""
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, dataclasses.replace(recipe, steps_per_epoch=20, save_every=1))


def run(data: Path, folder: Path, name: str = "run", resume: bool = False, overwrite: bool = False, **settings):
    from mimicctl.training.trainer import train

    return train(data, TrainSettings(log_dir=str(folder), name=name, **{**SMALL, **settings}), 1, resume=resume, overwrite=overwrite)


@pytest.mark.parametrize("recipe", LOW_DIM_RECIPES)
def test_batches_are_robomimics_own(data, recipe):
    import robomimic.utils.obs_utils as obs_utils
    import torch
    from robomimic.utils.dataset import SequenceDataset

    from mimicctl.training.loader import GatherLoader, load_frames

    chosen = RECIPES[recipe]
    obs_utils.initialize_obs_utils_with_config(seam.config_of(chosen, data, data.parent, 1))
    theirs = SequenceDataset(
        str(data), obs_keys=chosen.obs_keys, dataset_keys=["actions"], frame_stack=chosen.frame_stack, seq_length=chosen.seq_length,
        filter_by_attribute="train", load_next_obs=False, hdf5_cache_mode="low_dim", hdf5_use_swmr=False,
    )  # fmt: skip
    with Dataset(data) as dataset:
        ours = GatherLoader(load_frames(dataset, dataset.masks["train"], chosen.obs_keys), chosen)
    assert len(ours) == len(theirs)
    batch = ours.batch(torch.arange(len(ours)))
    for index in range(len(ours)):
        item = theirs[index]
        np.testing.assert_array_equal(batch["actions"][index].numpy(), item["actions"])
        for key in chosen.obs_keys:
            np.testing.assert_array_equal(batch["obs"][key][index].numpy(), item["obs"][key])


@pytest.mark.parametrize("recipe", [name for name in LOW_DIM_RECIPES if not RECIPES[name].chunk])
@pytest.mark.parametrize("normalize_actions", [False, True])
def test_checkpoint_acts_the_same_in_stock_robomimic(data, tmp_path, quick, monkeypatch, recipe, normalize_actions):
    import robomimic.utils.file_utils as file_utils
    import torch

    from mimicctl.training.policy import Policy

    made = run(data, tmp_path / "runs", recipe=recipe, epochs=1, normalize_actions=normalize_actions)
    torch.manual_seed(0)
    stock, _ = file_utils.policy_from_checkpoint(ckpt_path=str(made.checkpoints[-1]), device="cpu", verbose=False)
    # A mixture draws its mode by chance; with the likeliest one both must agree.
    take_likeliest(stock.policy)
    monkeypatch.setattr(seam.Mixture, "drawn", likeliest_of)
    ours = Policy(made.checkpoints[-1])
    chosen = RECIPES[recipe]
    with Dataset(data) as dataset:
        episode = dataset.episode("demo_0")
    stock.start_episode()
    ours.start(3)
    low, high = ours.facts["action_range"] or (-1.0, 1.0)
    window: list[dict] = []
    for step in range(13):
        seen = {key: episode.obs[key][step] for key in chosen.obs_keys}
        window = [*(window or [seen] * chosen.frame_stack)[1:], seen]
        stacked = {key: np.stack([w[key] for w in window]) for key in seen} if chosen.frame_stack > 1 else dict(seen)
        if chosen.frame_stack > 1 and stock.obs_normalization_stats is not None:
            # robomimic 0.3.0 cannot normalise stacked observations itself.
            stats = stock.obs_normalization_stats
            stacked = {key: (value - stats[key]["mean"]) / stats[key]["std"] for key, value in stacked.items()}
            batch = {key: torch.from_numpy(value[None]).float() for key, value in stacked.items()}
            expected = stock.policy.get_action(obs_dict=batch).detach().numpy()[0]
        else:
            expected = stock(stacked)
        expected = (expected + 1) * (high - low) / 2 + low
        actions = ours.act({key: np.repeat(value[None], 2, axis=0) for key, value in seen.items()}, [0, 2])
        np.testing.assert_allclose(actions, np.stack([expected, expected]), atol=1e-4)


def likeliest_of(mixture, draws) -> np.ndarray:
    """In place of a drawn action, the mean of the likeliest mode."""
    rows = range(len(draws))
    return mixture.means[rows, np.diff(mixture.cumulative, axis=1, prepend=0)[: len(draws)].argmax(axis=1)]


def take_likeliest(algo) -> None:
    """Make a mixture head answer with the mean of its likeliest mode instead of a sample."""
    policy = algo.nets["policy"]
    if not hasattr(policy, "forward_train") or not hasattr(policy, "num_modes"):
        return

    def likeliest(distribution):
        modes = distribution.mixture_distribution.logits.argmax(-1)
        means = distribution.component_distribution.base_dist.loc
        return means.gather(-2, modes[..., None, None].expand(*modes.shape, 1, means.shape[-1])).squeeze(-2)

    if hasattr(policy, "forward_train_step"):
        policy.forward_step = lambda obs, goal_dict=None, rnn_state=None: _step(policy, likeliest, obs, rnn_state)
    else:
        policy.forward = lambda obs_dict, goal_dict=None, actions=None: likeliest(policy.forward_train(obs_dict, goal_dict=goal_dict))


def _step(policy, likeliest, obs, state):
    distribution, state = policy.forward_train_step(obs, goal_dict=None, rnn_state=state)
    return likeliest(distribution), state


def test_a_function_of_the_observations_is_learnt(data, tmp_path, monkeypatch):
    from mimicctl.training.policy import Policy

    # The actions depend on eef_pos alone; four hundred samples cannot tell that the noise beside it means nothing.
    monkeypatch.setitem(RECIPES, "mlp", dataclasses.replace(RECIPES["mlp"], steps_per_epoch=100, obs_keys=("eef_pos",), turn=0.0, obs_noise=0.0))
    made = run(data, tmp_path / "runs", epochs=4)
    assert made.losses[-1].train < made.losses[0].train - 1
    assert made.losses[-1].valid < made.losses[0].valid - 1
    policy = Policy(made.checkpoints[-1])
    with Dataset(data) as dataset:
        unseen = dataset.episode(dataset.masks["valid"][0])
    policy.start(len(unseen.actions))
    error = np.abs(policy.act(unseen.obs, range(len(unseen.actions))) - unseen.actions)
    assert np.median(error) < 0.1 * unseen.actions.std()


def test_interrupted_training_resumes_to_the_same_weights(data, tmp_path, quick):
    import torch

    straight = run(data, tmp_path / "runs", name="straight", epochs=4)
    command = [sys.executable, "-c", RESUMABLE, str(data), str(tmp_path / "runs")]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    state = tmp_path / "runs" / "cut" / "training_state.pth"
    while not state.exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    resumed = run(data, tmp_path / "runs", name="cut", epochs=4, resume=True)
    weights = [torch.load(made.checkpoints[-1], weights_only=False)["model"] for made in (straight, resumed)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert [row.epoch for row in resumed.losses] == [1, 2, 3, 4]
    assert len((resumed.folder / "losses.csv").read_text().splitlines()) == 5


RESUMABLE = """
import dataclasses, sys, time
from pathlib import Path
from mimicctl.config import TrainSettings
from mimicctl.training.recipes import RECIPES
from mimicctl.training.trainer import train
RECIPES["mlp"] = dataclasses.replace(RECIPES["mlp"], steps_per_epoch=20, save_every=1)
settings = TrainSettings(log_dir=sys.argv[2], name="cut", epochs=4, batch_size=32)
train(Path(sys.argv[1]), settings, 1, on_epoch=lambda losses, epochs: time.sleep(0.5))
"""


def test_run_folder_holds_what_it_should(data, tmp_path, quick):
    made = run(data, tmp_path / "runs", normalize_actions=True)
    assert [p.name for p in made.checkpoints] == ["model_epoch_1.pth", "model_epoch_2.pth"] and made.best.exists()
    assert json.loads((made.folder / "config.json").read_text())["algo_name"] == "bc"
    with Dataset(data) as dataset:
        assert json.loads((made.folder / "lineage.json").read_text())["dataset"]["sha256"] == dataset.content_hash()
        actions = np.concatenate([episode.actions for _, episode in dataset.episodes()])
    assert list((made.folder / "logs" / "tb").iterdir()) and (made.folder / "losses.png").stat().st_size > 1000
    parameters = made.folder / "logs" / "normalization_params.txt"
    assert stat.S_IMODE(parameters.stat().st_mode) == 0o600
    lines = dict(line.split(": ") for line in parameters.read_text().splitlines())
    assert math.isclose(float(lines["min"]), actions.min()) and math.isclose(float(lines["max"]), actions.max())


def test_existing_run_needs_a_decision(data, tmp_path, quick):
    run(data, tmp_path / "runs", epochs=1)
    with pytest.raises(UserError) as caught:
        run(data, tmp_path / "runs", epochs=1)
    assert "--resume" in caught.value.do and "--overwrite" in caught.value.do
    assert run(data, tmp_path / "runs", epochs=1, overwrite=True).checkpoints


def test_missing_masks_are_made_up_for_without_touching_the_file(data, tmp_path, quick):
    with h5py.File(data, "r+") as file:
        del file["mask"]
    before = data.read_bytes()
    assert "no masks" in run(data, tmp_path / "runs", epochs=1).masks_from
    assert data.read_bytes() == before


def test_discarded_demos_are_not_learnt_from_with_masks_or_without(data, tmp_path, quick):
    with Dataset(data) as dataset:
        gone = [dataset.masks["train"][0], dataset.masks["valid"][0]]
    made = run(data, tmp_path / "runs", epochs=1)
    change_masks(data, lambda dataset: {DISCARDED: gone})
    with pytest.raises(UserError, match=r"demos: 10 to learn from, 2 to validate on .* then, 9 to learn from, 1"):
        run(data, tmp_path / "runs", epochs=2, resume=True)
    assert made.masks_from == "the file's masks"
    assert run(data, tmp_path / "runs", name="with", epochs=1).masks_from == "the file's masks, without 2 discarded"
    change_masks(data, lambda dataset: {"train": (), "valid": ()})
    assert run(data, tmp_path / "runs", name="own", epochs=1).masks_from.endswith("no masks, without 2 discarded")
    change_masks(data, lambda dataset: {DISCARDED: dataset.demos[1:]})
    with pytest.raises(UserError, match="One demonstration cannot be split .* without 11 discarded"):
        run(data, tmp_path / "runs", name="none", epochs=1)


def drop_key(file: h5py.File) -> None:
    del file["data/demo_3/obs/eef_pos"]


def put_nan(file: h5py.File) -> None:
    file["data/demo_3/obs/eef_pos"][2] = np.nan


def one_demo(file: h5py.File) -> None:
    del file["mask"]
    for name in list(file["data"])[1:]:
        del file["data"][name]


@pytest.mark.parametrize(("change", "message"), [(drop_key, "asked for and missing: eef_pos"), (put_nan, "NaN"), (one_demo, "cannot be split")])
def test_unfit_datasets_are_refused_before_anything_is_written(data, tmp_path, change, message):
    with h5py.File(data, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message):
        run(data, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_unknown_recipes_and_configs_are_refused(data, tmp_path):
    with pytest.raises(UserError, match="no recipe"):
        run(data, tmp_path / "runs", recipe="mpl")
    config = tmp_path / "config.json"
    config.write_text('{"algo_name": "bc", "algo": {"actor_layer_dimensions": [4]}}')
    with pytest.raises(UserError, match='no setting "algo.actor_layer_dimensions"'):
        run(data, tmp_path / "runs", config_json=str(config))


def test_robomimic_json_configs_are_accepted(data, tmp_path):
    config = json.loads(seam.config_of(dataclasses.replace(RECIPES["rnn-gmm"], steps_per_epoch=3, batch_size=8), data, tmp_path, 1).dump())
    path = tmp_path / "bc_rnn_low_dim.json"
    path.write_text(json.dumps(config))
    made = run(data, tmp_path / "runs", config_json=str(path), epochs=1, batch_size=None)
    assert made.checkpoints


def test_stock_robomimic_trains_on_our_file(data, tmp_path):
    import torch
    from robomimic.scripts.train import train as stock_train

    config = seam.config_of(
        dataclasses.replace(RECIPES["mlp"], steps_per_epoch=5, batch_size=8, epochs=1, save_every=1, normalize_obs=False), data, tmp_path / "stock", 1
    )
    with config.unlocked():
        config.train.hdf5_filter_key = "train"
        config.experiment.save.enabled = True
        config.train.num_data_workers = 0
    config.lock()
    stock_train(config, device=torch.device("cpu"))
    assert list((tmp_path / "stock").rglob("model_epoch_1.pth"))


def test_policies_are_rolled_out_and_reported(data, tmp_path, quick):
    made = run(data, tmp_path / "runs", epochs=1)
    done = run_cli(["eval", "play", "--rollouts", "3", "--horizon", "20", "--json", "--checkpoint", str(made.folder)], tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {len(c["results"]) for c in report["checkpoints"]} == {3}
    assert (made.folder / "evaluation.png").exists()
    nowhere = run_cli(["eval", "play", "--checkpoint", str(tmp_path)], tmp_path)
    assert nowhere.returncode == 2 and "no checkpoints" in nowhere.stderr
    (tmp_path / "fake.pth").write_text("no")
    fake = run_cli(["eval", "play", "--checkpoint", "fake.pth"], tmp_path)
    assert fake.returncode == 2 and "not a checkpoint" in fake.stderr


def test_noise_is_on_the_observations_alone_and_new_in_every_batch(data):
    import torch

    from mimicctl.training.loader import GatherLoader, load_frames

    with Dataset(data) as dataset:
        frames = load_frames(dataset, dataset.demos, ["eef_pos", "object"])
    still, noisy = GatherLoader(frames, RECIPES["mlp"]), GatherLoader(frames, RECIPES["mlp"], noise=0.1)
    samples = torch.arange(len(still))
    first, second, clean = noisy.batch(samples), noisy.batch(samples), still.batch(samples)
    for key in ("eef_pos", "object"):
        added = first["obs"][key] - clean["obs"][key]
        assert abs(added.std() - 0.1) < 0.01 and abs(added.mean()) < 0.01
        assert not torch.equal(first["obs"][key], second["obs"][key])
    assert torch.equal(first["actions"], clean["actions"])
    assert torch.equal(still.batch(samples)["obs"]["object"], clean["obs"]["object"])
