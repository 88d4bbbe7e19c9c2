"""A recording that is sent at its end: to the hub of this machine, private, by the real huggingface_hub."""

from __future__ import annotations

import shutil

import h5py
import pytest

from mimicctl.conversion.lerobot.folder import LeRobotFolder
from tests.conversion.hub_server import TOKEN, Hub

pytestmark = pytest.mark.lerobot

TASK = "MuJoCo-Lift-Cube-Franka-IK-Rel-v0"


@pytest.fixture
def hub():
    with Hub() as running:
        yield running


@pytest.fixture
def record(mimicctl, hub, tmp_path):
    """`mimicctl record --upload` until there are so many demonstrations."""

    def run(demos: int, *arguments: str, token: str | None = TOKEN):
        environ = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token or ""}
        flags = ("record", "--device", "scripted", "--speed", "fast", "--task", TASK, "--num-demos", str(demos), "--upload", "someone/cubes")
        return mimicctl(*flags, *arguments, environ=environ)

    return run


def test_what_was_recorded_is_sent_private_and_the_next_session_adds_to_it(record, hub, tmp_path):
    done = record(1)
    assert done.returncode == 0 and "1 episodes, private" in done.stdout, done.stderr
    assert hub.repos["someone/cubes"]["private"] is True
    more = record(2, "--resume")
    assert more.returncode == 0 and "2 episodes, private" in more.stdout, more.stderr
    folder = LeRobotFolder(tmp_path / "datasets" / "dataset_lerobot")
    assert len(folder.episodes) == 2
    assert hub.repos["someone/cubes"]["files"]["meta/info.json"] == (folder.root / "meta" / "info.json").read_bytes()


def test_other_conditions_of_a_session_keep_nothing_from_being_sent(record, tmp_path):
    assert record(1).returncode == 0
    with h5py.File(tmp_path / "datasets" / "dataset.hdf5", "r+") as file:
        said = file["data"].attrs["env_args"]
        assert '"controller_version": "1.0"' in said
        file["data"].attrs["env_args"] = said.replace('"controller_version": "1.0"', '"controller_version": "1.1"')
    more = record(2, "--resume")
    assert more.returncode == 0 and "2 episodes" in more.stdout, more.stderr


def test_what_cannot_be_sent_is_kept_and_the_way_to_send_it_later_is_said(record, hub, tmp_path):
    refused = record(1, token=None)
    assert refused.returncode == 2 and "hf auth login" in refused.stderr
    assert "Recorded." in refused.stdout and "Nothing that was recorded is lost" in refused.stderr
    assert f"mimicctl dataset push {tmp_path / 'datasets' / 'dataset_lerobot'} --repo-id someone/cubes" in refused.stderr
    with h5py.File(tmp_path / "datasets" / "dataset.hdf5") as file:
        assert len(file["data"]) == 1
    assert hub.repos == {}


@pytest.mark.parametrize("name", ["some one/cubes", "cubes", "someone/cubes/more"])
def test_what_is_no_name_on_the_hub_is_refused_before_anything_is_recorded(record, tmp_path, name):
    refused = record(1, "--upload", name)
    assert refused.returncode == 2 and "no name of a dataset on the hub" in refused.stderr
    assert not list(tmp_path.rglob("*.hdf5"))


def test_what_was_overwritten_is_not_sent(record, tmp_path):
    assert record(2).returncode == 0
    anew = record(1, "--overwrite", "--seed", "7")
    assert anew.returncode == 0 and "1 episodes, private" in anew.stdout, anew.stderr


def test_the_commands_for_later_leave_out_what_is_discarded_and_only_do_what_is_left_to_do(record, mimicctl, tmp_path):
    unsent = record(1, token=None)
    assert "convert" not in unsent.stderr
    with h5py.File(tmp_path / "datasets" / "dataset.hdf5", "r+") as file:
        file["mask/discarded"] = [b"demo_0"]
    # Something else has the name of the LeRobot dataset.
    folder = tmp_path / "datasets" / "dataset_lerobot"
    (folder / "meta" / "info.json").unlink()
    failed = record(2, "--resume")
    (command,) = [line.split("later: ")[1].split(" && ") for line in failed.stderr.splitlines() if "later: " in line]
    assert "--no-discarded --append" in command[0] and "dataset push" in command[1]
    shutil.rmtree(folder)
    converted = mimicctl(*command[0].removeprefix("mimicctl ").removesuffix(" --append").split())
    assert converted.returncode == 0, converted.stderr
    assert len(LeRobotFolder(folder).episodes) == 1


def test_nothing_is_sent_unasked(mimicctl, hub):
    assert mimicctl("record", "--device", "scripted", "--speed", "fast", "--task", TASK, "--num-demos", "1").returncode == 0
    assert hub.log == []
