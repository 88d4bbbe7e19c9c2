"""Fixtures that several rooms use."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import pytest

from mimicctl.envs import make_env
from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, find_task

ROOT = Path(__file__).parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In the background of a shell Ctrl-C is ignored, and so it would be by the processes that tests send it to.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SOURCE = ROOT / "mimicctl" / "data" / "stack_cube_franka.hdf5"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `render` are skipped, with the reason, where nothing can be drawn."""
    drawing = [item for item in items if item.get_closest_marker("render")]
    if not drawing:
        return
    try:
        choose_gl()
    except UserError as error:
        for item in drawing:
            item.add_marker(pytest.mark.skip(reason=str(error)))


@pytest.fixture
def source_file() -> Path:
    """The bundled annotated demonstrations."""
    return SOURCE


@pytest.fixture
def recording(tmp_path: Path, source_file: Path) -> Path:
    """Three bundled demonstrations without their annotation."""
    path = tmp_path / "recording.hdf5"
    shutil.copy(source_file, path)
    with h5py.File(path, "r+") as file:
        for name in list(file["data"]):
            del file["data"][name]["obs/datagen_info"]
            if int(name[5:]) > 2:
                del file["data"][name]
    return path


@pytest.fixture(scope="module")
def env():
    """One env of the default task."""
    made = make_env(find_task(DEFAULT_TASK), 1)
    yield made
    made.close()


@pytest.fixture
def mimicctl(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run the command line in a process of its own, in an empty folder, with no terminal."""

    def run(*arguments: str, environ: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess:
        return run_cli(arguments, cwd or tmp_path, environ)

    return run


def run_cli(arguments: Sequence[str], cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MIMICCTL_")} | (environ or {})
    command = [sys.executable, "-m", "mimicctl", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


@pytest.fixture(scope="session")
def asset_root(tmp_path_factory) -> str:
    """Where Isaac Lab's assets are, for ISAACSIM_ASSET_ROOT: NVIDIA's if the environment says so, else stand-ins."""
    if "ISAACSIM_ASSET_ROOT" not in os.environ:
        from tests.isaaclab.stand_in_assets import make_assets

        root = tmp_path_factory.mktemp("assets")
        make_assets(root)
        return str(root)
    return os.environ["ISAACSIM_ASSET_ROOT"]
