"""Training on camera images, with the real torch and robomimic."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.cli import app as shell
from mimicctl.config import TrainSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.evaluation.play import one_thread
from mimicctl.training import images
from mimicctl.training import robomimic_seam as seam
from mimicctl.training.recipes import RECIPES
from tests.training.images import IMAGE_RECIPES, seen_episode, seen_file, small
from tests.training.test_training import likeliest_of, take_likeliest

pytestmark = pytest.mark.train

ISAAC_IMAGE = {
    "algo_name": "bc",
    "experiment": {"name": "bc_rnn_image_franka_stack", "epoch_every_n_steps": 2, "save": {"every_n_epochs": 20}},
    "train": {
        "num_data_workers": 4, "hdf5_cache_mode": "low_dim", "dataset_keys": ["actions", "rewards", "dones"], "cuda": True,
        "batch_size": 3, "num_epochs": 1, "seq_length": 10, "seed": 101,
    },
    "algo": {
        "optim_params": {"policy": {"optimizer_type": "adam", "learning_rate": {"initial": 1e-4, "decay_factor": 0.1, "epoch_schedule": []}}},
        "actor_layer_dims": [],
        "gmm": {"enabled": True, "num_modes": 5, "min_std": 1e-4, "std_activation": "softplus", "low_noise_eval": True},
        "rnn": {"enabled": True, "horizon": 10, "hidden_dim": 20, "rnn_type": "LSTM", "num_layers": 2, "open_loop": False, "kwargs": {"bidirectional": False}},
    },
    "observation": {
        "modalities": {
            "obs": {"low_dim": ["eef_pos", "eef_quat", "gripper_pos"], "rgb": ["table_cam", "wrist_cam"], "depth": [], "scan": []},
            "goal": {"low_dim": [], "rgb": [], "depth": [], "scan": []},
        },
        "encoder": {
            "low_dim": {"core_class": None, "core_kwargs": {}, "obs_randomizer_class": None, "obs_randomizer_kwargs": {}},
            "rgb": {
                "core_class": "VisualCore",
                "core_kwargs": {
                    "feature_dimension": 64, "flatten": True, "backbone_class": "ResNet18Conv",
                    "backbone_kwargs": {"pretrained": False, "input_coord_conv": False}, "pool_class": "SpatialSoftmax",
                    "pool_kwargs": {"num_kp": 32, "learnable_temperature": False, "temperature": 1.0, "noise_std": 0.0, "output_variance": False},
                },
                "obs_randomizer_class": "CropRandomizer",
                "obs_randomizer_kwargs": {"crop_height": 20, "crop_width": 21, "num_crops": 1, "pos_enc": False},
            },
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def robomimic():
    seam.import_robomimic()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in IMAGE_RECIPES:
        monkeypatch.setitem(RECIPES, name, small(RECIPES[name]))


@pytest.fixture
def data(tmp_path) -> Path:
    return seen_file(tmp_path / "seen.hdf5")


def run(data: Path, folder: Path, resume: bool = False, **settings):
    from mimicctl.training.trainer import train

    return train(data, TrainSettings(**{"log_dir": str(folder), "name": "run", **settings}), 1, resume=resume)


def config_file(folder: Path, **changes: object) -> str:
    """Isaac Lab's image config, a section of the rgb encoder changed."""
    values = json.loads(json.dumps(ISAAC_IMAGE))
    values["observation"]["encoder"]["rgb"] |= changes
    (folder / "bc_rnn_image.json").write_text(json.dumps(values))
    return str(folder / "bc_rnn_image.json")


# Batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", IMAGE_RECIPES)
@pytest.mark.parametrize("free", [10**12, 0])
def test_batches_are_robomimics_own(data, tmp_path, monkeypatch, recipe, free):
    """From memory, and from a file that is mapped into it."""
    import robomimic.utils.obs_utils as obs_utils
    import torch
    from robomimic.utils.dataset import SequenceDataset

    from mimicctl.training.loader import GatherLoader, load_frames

    chosen = RECIPES[recipe]
    keys = (*chosen.obs_keys, *chosen.rgb_keys)
    obs_utils.initialize_obs_utils_with_config(seam.config_of(chosen, data, data.parent, 1))
    theirs = SequenceDataset(
        str(data), obs_keys=keys, dataset_keys=["actions"], frame_stack=chosen.frame_stack, seq_length=chosen.seq_length,
        filter_by_attribute="train", load_next_obs=False, hdf5_cache_mode="low_dim", hdf5_use_swmr=False,
    )  # fmt: skip
    monkeypatch.setattr(images, "free_memory", lambda: free)
    with Dataset(data) as dataset:
        names = dataset.masks["train"]
        frames = load_frames(dataset, names, chosen.obs_keys)
        scratch = images.scratch_for(images.bytes_of(dataset, names, chosen.rgb_keys), tmp_path / "not" / "yet")
        frames.images = images.load_images(dataset, names, chosen.rgb_keys, scratch)
    assert isinstance(frames.images["table_cam"], np.memmap) == (free == 0) and sorted(tmp_path.iterdir()) == [data]
    ours = GatherLoader(frames, chosen)
    batch = ours.batch(torch.arange(len(ours)))
    assert len(ours) == len(theirs) and set(batch["obs"]) == set(keys)
    for index in range(len(ours)):
        item = theirs[index]
        np.testing.assert_array_equal(batch["actions"][index].numpy(), item["actions"])
        # What its training loop does to a batch on the way to the network.
        for key, expected in obs_utils.process_obs_dict({key: item["obs"][key] for key in keys}).items():
            np.testing.assert_array_equal(batch["obs"][key][index].numpy(), expected)


def test_images_are_normalised_by_colour(data):
    import torch

    from mimicctl.training.loader import GatherLoader, load_frames, observation_statistics

    chosen = RECIPES["image-mlp"]
    with Dataset(data) as dataset:
        frames = load_frames(dataset, dataset.demos, chosen.obs_keys)
        frames.images = images.load_images(dataset, dataset.demos, chosen.rgb_keys, None)
    stats = observation_statistics(frames)
    seen = GatherLoader(frames, chosen, stats=stats).batch(torch.arange(len(frames.first)))["obs"]["wrist_cam"]
    np.testing.assert_allclose(seen.mean(dim=(0, 1, 3, 4)), 0, atol=1e-3)
    np.testing.assert_allclose(seen.std(dim=(0, 1, 3, 4)), 1, atol=1e-3)
    plain = GatherLoader(frames, chosen).batch(torch.arange(3))["obs"]["wrist_cam"][:, 0].numpy()
    np.testing.assert_allclose((plain - stats["wrist_cam"]["mean"]) / stats["wrist_cam"]["std"], seen[:3, 0], atol=1e-5)


# Networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [*IMAGE_RECIPES, "isaaclab"])
def test_checkpoint_acts_the_same_in_stock_robomimic(data, tmp_path, monkeypatch, recipe):
    import robomimic.utils.file_utils as file_utils

    from mimicctl.training.policy import Policy

    made = run(data, tmp_path / "runs", **({"config_json": config_file(tmp_path)} if recipe == "isaaclab" else {"recipe": recipe}))
    stock, _ = file_utils.policy_from_checkpoint(ckpt_path=str(made.checkpoints[-1]), device="cpu", verbose=False)
    take_likeliest(stock.policy)
    monkeypatch.setattr(seam.Mixture, "drawn", likeliest_of)
    ours = Policy(made.checkpoints[-1])
    assert ours.rgb_keys == ("table_cam", "wrist_cam") and ours.obs_shapes["table_cam"] == (3, 24, 24)
    episode = seen_episode(3, 12)
    stock.start_episode()
    ours.start(3)
    for step in range(12):
        seen = {key: episode.obs[key][step] for key in ours.obs_keys}
        # robomimic's policies take images as its envs give them: channels first, from 0 to 1.
        given = {key: value.transpose(2, 0, 1).astype(np.float32) / 255 if key in ours.rgb_keys else value for key, value in seen.items()}
        expected = stock(given)
        actions = ours.act({key: np.stack([value, value]) for key, value in seen.items()}, [0, 2])
        np.testing.assert_allclose(actions, np.stack([expected, expected]), atol=1e-4)


@pytest.mark.parametrize("recipe", IMAGE_RECIPES)
def test_a_row_is_answered_the_same_wherever_it_stands(data, tmp_path, recipe):
    from mimicctl.training.policy import Policy

    policy = Policy(run(data, tmp_path / "runs", recipe=recipe).checkpoints[-1])
    seen = seen_episode(1, 20).obs

    def actions(rows: list[int]) -> np.ndarray:
        policy.start(20)
        return np.stack([policy.act({key: value[rows] for key, value in seen.items()}, rows) for _ in range(3)], axis=1)

    with one_thread():
        every = actions(list(range(20)))
        for rows in ([7], [19, 0, 7], list(range(5, 18))):
            np.testing.assert_array_equal(actions(rows), every[rows])


def test_continued_training_ends_with_the_same_weights(data, tmp_path):
    import torch

    straight = run(data, tmp_path / "runs", name="straight", recipe="image-rnn", epochs=3)
    run(data, tmp_path / "runs", name="cut", recipe="image-rnn", epochs=2)
    resumed = run(data, tmp_path / "runs", name="cut", recipe="image-rnn", epochs=3, resume=True)
    weights = [torch.load(made.checkpoints[-1], weights_only=False)["model"] for made in (straight, resumed)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_what_an_image_shows_is_learnt(tmp_path, monkeypatch):
    """Actions that follow the brightness of the table camera and nothing else."""
    import dataclasses

    from mimicctl.dataset.split import split_file
    from mimicctl.dataset.writer import DatasetWriter

    with DatasetWriter(tmp_path / "bright.hdf5", task_id="", lineage={}) as writer:
        for number in range(8):
            episode = seen_episode(number, 16)
            light = np.random.default_rng(number).uniform(0, 1, 16)
            episode.obs["table_cam"] = (episode.obs["table_cam"] * light[:, None, None, None]).astype(np.uint8)
            writer.write(dataclasses.replace(episode, actions=np.repeat(light[:, None] - 0.5, 7, axis=1).astype(np.float32)))
    split_file(tmp_path / "bright.hdf5")
    monkeypatch.setitem(
        RECIPES, "image-mlp", dataclasses.replace(RECIPES["image-mlp"], steps_per_epoch=40, batch_size=16, obs_keys=("eef_pos",), obs_noise=0.0)
    )
    made = run(tmp_path / "bright.hdf5", tmp_path / "runs", recipe="image-mlp", epochs=3)
    assert made.losses[-1].valid < made.losses[0].valid - 1


@pytest.mark.parametrize("size", [24, 25, 34, 48])
def test_images_of_any_size_are_learnt_from(tmp_path, size):
    made = run(seen_file(tmp_path / "seen.hdf5", size=size), tmp_path / "runs", recipe="image-mlp")
    assert len(made.checkpoints) == 1


# What is asked for ------------------------------------------------------------------------------------------------


def test_a_dataset_with_images_is_learnt_from_by_its_images(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert shell._run(["train", "--dataset", str(data), "--json"], debug=True) == 0
    out, err = capsys.readouterr()
    assert Path(json.loads(out)["run"]).name == "image-mlp" and "camera images" in err
    assert Path(run(data, tmp_path / "runs", name="", recipe="mlp", epochs=1, batch_size=8).folder).name == "mlp"


def test_a_dataset_with_other_images_is_learnt_from_by_its_states(data, tmp_path):
    from mimicctl.training.choosing import choose_recipe

    with h5py.File(data, "r+") as file:
        del file["data/demo_0/obs/wrist_cam"]
    assert choose_recipe(TrainSettings(), data).name == "mlp"


def grey(file: h5py.File) -> None:
    replace(file, np.zeros((13, 24, 24, 1), np.uint8))


def floats(file: h5py.File) -> None:
    replace(file, np.zeros((13, 24, 24, 3), np.float32))


def too_few(file: h5py.File) -> None:
    replace(file, np.zeros((12, 24, 24, 3), np.uint8))


def larger(file: h5py.File) -> None:
    replace(file, np.zeros((13, 30, 24, 3), np.uint8))


def missing(file: h5py.File) -> None:
    file["data/demo_3/obs/table_camera"] = file["data/demo_3/obs/table_cam"]
    del file["data/demo_3/obs/table_cam"]


def replace(file: h5py.File, images: np.ndarray) -> None:
    del file["data/demo_3/obs/table_cam"]
    file["data/demo_3/obs/table_cam"] = images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (grey, r"obs/table_cam of demo_3 is \(13, 24, 24, 1\) uint8, not colour images"),
        (floats, "float32, not colour images"),
        (too_few, r"not colour images \(13, H, W, 3\)"),
        (larger, "demo_3 are 30 x 24, those of"),
        (missing, r"table_cam \(nearest: table_camera\)"),
    ],
)
def test_unfit_images_are_refused_before_anything_is_written(data, tmp_path, change, message):
    with h5py.File(data, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message):
        run(data, tmp_path / "runs", recipe="image-mlp")
    assert not (tmp_path / "runs").exists()


def test_images_that_fit_nowhere_are_refused_with_their_size(data, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "free_memory", lambda: 1000)
    monkeypatch.setattr(images.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2000}))
    with pytest.raises(UserError, match="GB decoded") as caught:
        run(data, tmp_path / "runs", recipe="image-mlp")
    assert "mask/train" in caught.value.do and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obs_randomizer_kwargs": {"crop_height": 24, "crop_width": 20}}, "crops images to 24 x 20 pixels; those of table_cam are 24 x 24"),
        ({"obs_randomizer_kwargs": {"crop_height": 181, "crop_width": 181}}, "crops images to 181 x 181"),
        ({"core_class": "VisualCor"}, "cannot make this network"),
        ({"core_kwargs": {"backbone_class": "ResNet19"}}, "cannot make this network"),
        (
            {"core_kwargs": {"backbone_class": "ShallowConv"}, "obs_randomizer_kwargs": {"crop_height": 21, "crop_width": 21}},
            "cannot make this network .ValueError: Size mismatch",
        ),
    ],
)
def test_encoders_that_cannot_work_are_refused(data, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run(data, tmp_path / "runs", config_json=config_file(tmp_path, **changes))
    assert not (tmp_path / "runs").exists()
