"""Isaac Lab's own Isaac Teleop on its own task, without a headset: its replay takes what a controller would be tracked at from a file."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mimicctl.dataset.reader import Dataset
from tests.conftest import ROOT
from tests.isaaclab.conftest import TASK as RELATIVE

pytestmark = [
    pytest.mark.isaaclab,
    pytest.mark.skipif(importlib.util.find_spec("ovphysx") is None, reason="Isaac Lab 3 with OvPhysX is not installed (nox -s isaaclab)"),
    pytest.mark.skipif(importlib.util.find_spec("isaacteleop") is None, reason="isaacteleop is not installed (nox -s isaaclab)"),
]

TASK = "Isaac-Stack-Cube-Franka-IK-Abs-v0"
_SEED = "7"


@pytest.fixture(scope="module")
def scripted(isaac, folder) -> Path:
    """What the scripted operator does from the first two start states: what the hand of a person is to do."""
    isaac("record", "--task", TASK, "--device", "scripted", "--num-demos", "2", "--seed", _SEED, "--output-file", "scripted.hdf5")
    return folder / "scripted.hdf5"


def test_a_tracked_controller_records_a_demonstration(folder, scripted, asset_root):
    """From the second start state, as the first take is discarded; with a pause in the middle, which is not recorded."""
    pytest.importorskip("flatbuffers")
    pytest.importorskip("mcap")
    from tests.isaaclab.teleop_capture import tracked_for, write_capture

    with Dataset(scripted) as dataset:
        assert [dataset.demo_lineage(name)["attempt"] for name in dataset.demos] == [0, 1]
        wanted = dataset.episode("demo_1").actions
    half, waits, pause = len(wanted) // 2, 40, 30
    moves = np.concatenate([wanted[:1].repeat(waits, 0), wanted[:half], wanted[half : half + 1].repeat(pause, 0), wanted[half:], wanted[-1:].repeat(60, 0)])
    in_json = '{"type": "teleop_command", "message": {"command": "start teleop"}}'  # as a headset's page sends it
    said = {2: "start", 15: "reset", 30: in_json, waits + half + 2: "stop", waits + half + pause - 5: in_json}
    # Where the operator of Isaac Lab's task stands (its xr_cfg).
    write_capture(folder / "capture.mcap", *tracked_for(moves, (-0.1, -0.5, -1.05), (0, 0, -0.5, 0.866)), said)

    arguments = ["record", "--task", TASK, "--device", "isaac-teleop", "--num-demos", "1", "--seed", _SEED, "--output-file", "teleoperated.hdf5"]
    arguments += ["--operator", "Ann", "--step-hz", "0", "-o", "record.cloudxr_env=none", "--json"]
    environment = os.environ | {"ISAACSIM_ASSET_ROOT": asset_root, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, str(Path(__file__).with_name("replayed_teleop.py")), "capture.mcap", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["demos"] == 1
    with Dataset(folder / "teleoperated.hdf5") as dataset:
        episode, lineage = dataset.episode("demo_0"), dataset.demo_lineage("demo_0")
    assert episode.success and (lineage["attempt"], lineage["device"], lineage["human"], lineage["operator"]) == (1, "isaac-teleop", True, "Ann")
    assert lineage["input"]["isaacteleop"]
    # What the pipeline made of it is in the file as it is: each of the operator's actions, and of the pause a few steps about its ends.
    assert len(wanted) <= len(episode) < len(wanted) + 30
    np.testing.assert_allclose(episode.actions[-20:, 7], wanted[-20:, 7])
    apart = np.abs(episode.actions[:, None, :3] - wanted[None, :, :3]).max(axis=-1)
    assert apart.min(axis=0).max() < 1e-5 and apart.min(axis=1).max() < 1e-5


def test_without_a_runtime_it_is_refused_and_leaves_no_file(isaac, folder):
    arguments = ("record", "--task", TASK, "--device", "isaac-teleop", "--output-file", "none.hdf5", "-o", "record.cloudxr_env=none")
    _, said = isaac(*arguments, code=2, environ={"NV_CXR_RUNTIME_DIR": "/nowhere", "XR_RUNTIME_JSON": "/nowhere"})
    assert "Isaac Teleop finds no runtime" in said and "NV_CXR_RUNTIME_DIR" in said and "Traceback" not in said
    assert not (folder / "none.hdf5").exists()


def test_a_task_without_a_pipeline_is_refused(isaac):
    _, said = isaac("teleop", "--task", RELATIVE, "--device", "isaac-teleop", code=2)
    assert "has no pipeline of Isaac Teleop" in said and TASK in said


def test_isaac_labs_device_is_as_it_is_taken_here(isaac):
    """What is called of it, and what it is made with."""
    import inspect

    import isaaclab_teleop

    device = isaaclab_teleop.IsaacTeleopDevice
    assert all(hasattr(device, name) for name in ("__enter__", "__exit__", "advance", "reset", "request_start", "last_control_events"))
    taken = inspect.signature(isaaclab_teleop.create_isaac_teleop_device).parameters
    assert {"sim_device", "cloudxr_env_file", "use_kit_xr_bridge", "mcap_replay_path"} <= set(taken)
    assert set(isaaclab_teleop.ControlEvents.__dataclass_fields__) == {"is_active", "should_reset"}
    for profile in ("CLOUDXR_JS_ENV", "CLOUDXR_AVP_ENV", "CLOUDXR_STANDALONE_ENV"):
        assert Path(getattr(isaaclab_teleop, profile)).is_file()
    assert isaaclab_teleop.IsaacTeleopCfg().teleoperation_active_default is False
