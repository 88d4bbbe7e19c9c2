"""Commands on the real Isaac Lab 3.0, on OvPhysX and a CPU, and what they make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_cli

TASK = "Isaac-Stack-Cube-Franka-IK-Rel-v0"


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def isaac(folder, asset_root):
    """Run a command in `folder`; its result as JSON, and what it said."""

    def run(*arguments: str, code: int = 0, environ: dict[str, str] | None = None):
        done = run_cli(arguments, folder, {"ISAACSIM_ASSET_ROOT": asset_root, "OMP_NUM_THREADS": "1", **(environ or {})})
        assert done.returncode == code, done.stderr[-3000:]
        return (json.loads(done.stdout) if "--json" in arguments and not code else None), done.stderr

    return run


@pytest.fixture(scope="session")
def recording(isaac, folder) -> Path:
    isaac("record", "--task", TASK, "--device", "scripted", "--num-demos", "2", "--output-file", "recording.hdf5")
    return folder / "recording.hdf5"


@pytest.fixture(scope="session")
def annotated(isaac, folder, recording) -> Path:
    made, _ = isaac("annotate", "--task", TASK, "--input-file", recording.name, "--output-file", "annotated.hdf5", "--json")
    assert made["demos"] == 2
    return folder / "annotated.hdf5"


@pytest.fixture(scope="session")
def generated(isaac, folder) -> Path:
    """From the demonstrations that come with the task on MuJoCo."""
    made, _ = isaac(
        "generate", "--task", TASK, "--physics", "ovphysx", "--num-envs", "8", "--trials", "8", "--no-guarantee", "--output-file", "generated.hdf5", "--json"
    )
    assert made["attempts"] == 8
    assert made["demos"] >= 2  # about 13 in 20 succeed with Isaac Lab's own noise
    return folder / "generated.hdf5"


@pytest.fixture(scope="session")
def repeated(folder, recording, asset_root) -> tuple[dict[str, bool], Path]:
    """By Isaac Lab's own classes: which demos of the recording succeeded when they were repeated, and its own recording of that."""
    path = folder / "repeated.hdf5"
    environment = os.environ | {"ISAACSIM_ASSET_ROOT": asset_root, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("isaaclab_repeats.py")), TASK, str(recording), str(path)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), path
