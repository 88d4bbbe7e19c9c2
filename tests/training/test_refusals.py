"""What training refuses, and what it does not touch when it does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.config import TrainSettings
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from mimicctl.training import robomimic_seam as seam
from mimicctl.training.recipes import RECIPES
from tests.episodes import make_episode

pytestmark = pytest.mark.train

LOW_DIM = {
    "algo_name": "bc",
    "observation": {"modalities": {"obs": {"low_dim": ["eef_pos"]}}},
    "experiment": {"epoch_every_n_steps": 3, "save": {"every_n_epochs": 1}},
}


@pytest.fixture(scope="module", autouse=True)
def robomimic():
    seam.import_robomimic()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, dataclasses.replace(recipe, steps_per_epoch=3, save_every=1))


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "data.hdf5"
    with DatasetWriter(path, task_id="MuJoCo-Stack-Cube-Franka-IK-Rel-v0", lineage={}) as writer:
        for i in range(6):
            writer.write(make_episode(i, steps=20 + i))
    split_file(path)
    return path


def run(data: Path, folder: Path, seed: int = 1, resume: bool = False, overwrite: bool = False, **settings):
    from mimicctl.training.trainer import train

    chosen = TrainSettings(**{"log_dir": str(folder), "name": "run", "epochs": 1, "batch_size": 8, **settings})
    return train(data, chosen, seed, resume=resume, overwrite=overwrite)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# The dataset ------------------------------------------------------------------------------------------------


def other_width(file: h5py.File) -> None:
    values = file["data/demo_3/obs/eef_pos"][()]
    del file["data/demo_3/obs/eef_pos"]
    file["data/demo_3/obs/eef_pos"] = np.concatenate([values, values], axis=1)


def fewer_actions(file: h5py.File) -> None:
    values = file["data/demo_3/actions"][()]
    del file["data/demo_3/actions"]
    file["data/demo_3/actions"] = values[:, :6]


def no_actions(file: h5py.File) -> None:
    del file["data/demo_3/actions"]


def words(file: h5py.File) -> None:
    del file["data/demo_3/obs/eef_pos"]
    file["data/demo_3/obs/eef_pos"] = np.array([[b"a"]] * 23)


def image(file: h5py.File) -> None:
    del file["data/demo_3/obs/eef_pos"]
    file["data/demo_3/obs/eef_pos"] = np.zeros((23, 4, 4, 3), np.uint8)


def renamed(file: h5py.File) -> None:
    for demo in file["data"].values():
        demo.move("obs/gripper_pos", "obs/gripper_position")


def one_mask(file: h5py.File) -> None:
    del file["mask/valid"]


def same_masks(file: h5py.File) -> None:
    del file["mask/valid"]
    file["mask/valid"] = file["mask/train"][()][:1]


def unknown_demo(file: h5py.File) -> None:
    del file["mask/valid"]
    file["mask/valid"] = np.array([b"demo_99"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_width, "obs/eef_pos of demo_3 has 6 columns, that of demo_0 has 3"),
        (fewer_actions, "actions of demo_3 has 6 columns"),
        (no_actions, "demo_3 has no actions"),
        (words, "not a table of numbers"),
        (image, "not a table of numbers"),
        (renamed, r"missing: gripper_pos \(nearest: gripper_position\)"),
        (one_mask, "mask/valid is missing"),
        (same_masks, "in both masks"),
        (unknown_demo, "no demo_99"),
    ],
)
def test_datasets_that_do_not_fit_are_refused_before_anything_is_written(data, tmp_path, change, message):
    with h5py.File(data, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=message):
        run(data, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_images_beside_what_is_observed_do_not_matter(data, tmp_path):
    with h5py.File(data, "r+") as file:
        for demo in file["data"].values():
            demo["obs/table_cam"] = np.zeros((len(demo["actions"]), 4, 4, 3), np.uint8)
    assert run(data, tmp_path / "runs").checkpoints


# The run folder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed: 1 then, 2 now"),
        ({"recipe": "rnn"}, "seq length: 1 then, 10 now"),
        ({"batch_size": 9}, "batch size: 8 then, 9 now"),
        ({"learning_rate": 0.5}, "learning rate: 0.001 then, 0.5 now"),
        ({"normalize_actions": True}, "action range"),
    ],
)
def test_a_run_is_not_continued_with_other_settings(data, tmp_path, change, message):
    made = run(data, tmp_path / "runs")
    before = contents(made.folder)
    with pytest.raises(UserError, match=message):
        run(data, tmp_path / "runs", resume=True, **{"epochs": 2, **change})
    assert contents(made.folder) == before


def test_a_run_is_not_continued_on_other_data(data, tmp_path):
    run(data, tmp_path / "runs")
    with h5py.File(data, "r+") as file:
        file["data/demo_0/obs/eef_pos"][0] = 0.5
    with pytest.raises(UserError, match=r"dataset: .* then, .* now"):
        run(data, tmp_path / "runs", epochs=2, resume=True)


def test_a_finished_run_goes_on_when_more_epochs_are_asked_for(data, tmp_path):
    run(data, tmp_path / "runs")
    made = run(data, tmp_path / "runs", epochs=3, resume=True)
    assert [row.epoch for row in made.losses] == [1, 2, 3]
    assert len((made.folder / "logs" / "log.txt").read_text().splitlines()) == 3


def test_a_folder_that_is_no_run_is_left_alone(data, tmp_path):
    notes = tmp_path / "runs" / "run" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UserError, match="not the folder of a run"):
            run(data, tmp_path / "runs", **how)
    assert contents(tmp_path / "runs") == {"run/notes.txt": b"mine"}


def test_overwriting_removes_the_old_run_and_nothing_else(data, tmp_path):
    old = run(data, tmp_path / "runs", epochs=2, normalize_actions=True)
    (old.folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="continued or replaced"):
        run(data, tmp_path / "runs", overwrite=True, resume=True)
    made = run(data, tmp_path / "runs", overwrite=True)
    assert [p.name for p in made.checkpoints] == ["model_epoch_1.pth"]
    assert not (made.folder / "logs" / "normalization_params.txt").exists()
    assert len(list((made.folder / "logs" / "tb").iterdir())) == 1
    assert (made.folder / "notes.txt").read_text() == "mine"


def test_an_epoch_done_again_after_a_kill_stands_once_in_the_log(data, tmp_path):
    """The instant between writing the losses and saving the state."""
    made = run(data, tmp_path / "runs")
    with open(made.folder / "losses.csv", "a") as file:
        file.write("2,0,0,0,0\n")
    again = run(data, tmp_path / "runs", epochs=2, resume=True)
    rows = (again.folder / "losses.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"] and rows[2] != "2,0,0,0,0"


def test_damaged_state_is_refused(data, tmp_path):
    made = run(data, tmp_path / "runs")
    (made.folder / "training_state.pth").write_bytes(b"no")
    with pytest.raises(UserError, match="cannot be read"):
        run(data, tmp_path / "runs", epochs=2, resume=True)


# Settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda:77", "quantum"])
def test_devices_that_are_not_there_are_refused(data, tmp_path, device):
    with pytest.raises(UserError, match=f'no device "{device}"'):
        run(data, tmp_path / "runs", device=device)


def test_actions_that_are_all_the_same_cannot_be_normalised(data, tmp_path):
    with h5py.File(data, "r+") as file:
        for demo in file["data"].values():
            demo["actions"][...] = 0.25
    with pytest.raises(UserError, match="All actions are the same"):
        run(data, tmp_path / "runs", normalize_actions=True)


def test_action_range_is_that_of_all_demos_whatever_the_masks(data, tmp_path):
    with h5py.File(data, "r+") as file:
        file["data/demo_5/actions"][0] = 0.99
        file["data/demo_5/actions"][1] = -0.97
        del file["mask"]
        file["mask/train"], file["mask/valid"] = np.array([b"demo_0", b"demo_1"]), np.array([b"demo_2"])
    made = run(data, tmp_path / "runs", normalize_actions=True)
    with h5py.File(data) as file:
        every = np.concatenate([demo["actions"][()] for demo in file["data"].values()])
    facts = json.loads((made.folder / "lineage.json").read_text())
    assert facts["action_range"] == [pytest.approx(every.min()), pytest.approx(every.max())]


def write_json(folder: Path, values: object) -> str:
    path = folder / "config.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return str(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{", "Cannot read"),
        ("[1]", "Only BC configs"),
        ({"algo_name": "bcq"}, "Only BC configs"),
        ({**LOW_DIM, "trains": {}}, 'no setting "trains"'),
        ({**LOW_DIM, "train": {"batch_sise": 3}}, 'no setting "train.batch_sise"'),
        ({**LOW_DIM, "train": 5}, '"train" is a section'),
        ({**LOW_DIM, "train": {"batch_size": "x"}}, "train.batch_size is 'x'"),
        ({**LOW_DIM, "train": {"num_epochs": 0}}, "train.num_epochs is 0"),
        ({**LOW_DIM, "algo": {"optim_params": {"policy": {"learning_rate": {"initial": -1}}}}}, "learning rate is -1"),
        ({"algo_name": "bc", "observation": {"modalities": {"obs": {"low_dim": []}}}}, "observes nothing"),
        ({"algo_name": "bc", "observation": {"modalities": {"obs": {"low_dim": ["eef_pos"], "rgb": "table_cam"}}}}, "observes nothing"),
        ({"algo_name": "bc", "observation": {"modalities": {"obs": {"low_dim": ["eef_pos"], "depth": ["table_cam"]}}}}, "observes depth"),
        ({"algo_name": "bc", "observation": {"modalities": {"obs": {"low_dim": ["eef_pos"]}, "goal": {"low_dim": ["eef_pos"]}}}}, "observes goals"),
        ({**LOW_DIM, "train": {"hdf5_filter_key": "best"}}, "mask/best is missing"),
    ],
)
def test_configs_that_cannot_work_are_refused_by_name(data, tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        run(data, tmp_path / "runs", config_json=write_json(tmp_path, values))
    assert not (tmp_path / "runs").exists()


def test_a_config_is_told_what_the_flags_changed(data, tmp_path):
    made = run(data, tmp_path / "runs", seed=7, epochs=2, batch_size=5, learning_rate=0.01, config_json=write_json(tmp_path, LOW_DIM))
    written = json.loads((made.folder / "config.json").read_text())
    train = written["train"]
    assert (train["num_epochs"], train["batch_size"], train["seed"], train["data"]) == (2, 5, 7, str(data))
    assert written["algo"]["optim_params"]["policy"]["learning_rate"]["initial"] == 0.01


def test_schedules_of_a_config_are_followed_across_a_resume(data, tmp_path):
    import torch

    schedule = {"initial": 0.01, "epoch_schedule": [2, 3], "decay_factor": 0.1}
    config = write_json(tmp_path, {**LOW_DIM, "algo": {"actor_layer_dims": [16], "optim_params": {"policy": {"learning_rate": schedule}}}})
    settings = {"config_json": config, "epochs": 4}
    straight = run(data, tmp_path / "runs", name="straight", **settings)
    assert [row.learning_rate for row in straight.losses] == pytest.approx([0.01, 0.01, 0.001, 0.0001])
    run(data, tmp_path / "runs", name="cut", **{**settings, "epochs": 2})
    resumed = run(data, tmp_path / "runs", name="cut", resume=True, **settings)
    weights = [torch.load(made.checkpoints[-1], weights_only=False)["model"] for made in (straight, resumed)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_config_without_steps_takes_one_pass_over_the_demos(data, tmp_path):
    values = {**LOW_DIM, "experiment": {"epoch_every_n_steps": None}}
    made = run(data, tmp_path / "runs", config_json=write_json(tmp_path, values))
    written = json.loads((made.folder / "config.json").read_text())
    with h5py.File(data) as file:
        frames = sum(len(file["data"][name.decode()]["actions"]) for name in file["mask/train"][()])
    assert written["experiment"]["epoch_every_n_steps"] == -(-frames // 8)


# Policies ---------------------------------------------------------------------------------------------------


def test_a_mixture_draws_the_same_actions_again(data, tmp_path):
    from mimicctl.training.policy import Policy

    checkpoint = run(data, tmp_path / "runs", recipe="rnn-gmm").checkpoints[-1]
    seen = {key: value[:4] for key, value in make_episode(0).obs.items()}

    def actions() -> np.ndarray:
        policy = Policy(checkpoint)
        policy.start(4)
        return np.stack([policy.act(seen, range(4)) for _ in range(12)])

    np.testing.assert_array_equal(actions(), actions())


@pytest.mark.parametrize("rnn", [{"open_loop": True}, {"rnn_type": "GRU", "num_layers": 2}, {"rnn_type": "GRU", "open_loop": True}])
def test_recurrent_policies_of_every_kind_act_as_in_stock_robomimic(data, tmp_path, rnn):
    import robomimic.utils.file_utils as file_utils

    from mimicctl.training.policy import Policy

    values = {**LOW_DIM, "algo": {"rnn": {"enabled": True, "horizon": 5, **rnn}}, "train": {"seq_length": 5}}
    checkpoint = run(data, tmp_path / "runs", config_json=write_json(tmp_path, values)).checkpoints[-1]
    stock, _ = file_utils.policy_from_checkpoint(ckpt_path=str(checkpoint), device="cpu", verbose=False)
    ours = Policy(checkpoint)
    stock.start_episode()
    ours.start(2)
    for step in range(12):
        seen = make_episode(0).obs["eef_pos"][step]
        expected = stock({"eef_pos": seen})
        np.testing.assert_allclose(ours.act({"eef_pos": seen[None]}, [1])[0], expected, atol=1e-6)


def test_one_env_begins_anew_while_the_others_go_on(data, tmp_path):
    from mimicctl.training.policy import Policy

    checkpoint = run(data, tmp_path / "runs", recipe="rnn").checkpoints[-1]
    seen = make_episode(0).obs
    alone, among = Policy(checkpoint), Policy(checkpoint)
    alone.start(1)
    among.start(3)
    for step in range(4):
        among.act({key: value[step : step + 3] for key, value in seen.items()}, [0, 1, 2])
    among.restart(1, episode=3)
    for step in range(6, 12):
        now = {key: value[step : step + 1] for key, value in seen.items()}
        three = {key: np.concatenate([seen[key][:1], value, seen[key][1:2]]) for key, value in now.items()}
        np.testing.assert_allclose(among.act(three, [0, 1, 2])[1], alone.act(now, [0])[0], atol=1e-6)
