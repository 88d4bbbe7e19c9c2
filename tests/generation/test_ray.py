"""Generation on a real Ray cluster on this machine: the same demos, whatever is lost on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mimicctl.config import GenerateSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.tasks import DEFAULT_TASK

pytestmark = pytest.mark.ray
_PATIENCE = 240


@pytest.fixture(autouse=True)
def _ray_is_there():
    pytest.importorskip("ray", reason='needs pip install "mimicctl[ray]"')


def run(path: Path, trials: int, *, on_progress=lambda attempts, successes: None, **settings) -> Path:
    options = GenerateSettings(**{"output_file": str(path), "trials": trials, "num_envs": 3, **settings})
    return generate(DEFAULT_TASK, 3, options, None, on_progress=on_progress).path


def content(path: Path) -> tuple[str, list]:
    with Dataset(path) as dataset:
        return dataset.content_hash(), dataset.attempts()


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """Eighty attempts in this process."""
    return run(tmp_path_factory.mktemp("reference") / "a.hdf5", 80, guarantee=False, workers=1, num_envs=8)


def ray_workers(root: int) -> list[int]:
    """Processes below `root` that run a task of ours right now."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"ray::_run_share" in (entry / "cmdline").read_bytes() and root in _ancestors(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def test_ray_makes_the_same_demos_with_and_without_guarantee(tmp_path, reference):
    assert content(run(tmp_path / "a.hdf5", 80, guarantee=False, engine="ray", workers=2)) == content(reference)
    assert content(run(tmp_path / "b.hdf5", 10, engine="ray", workers=1)) == content(run(tmp_path / "c.hdf5", 10, workers=1))


def test_a_killed_ray_worker_costs_nothing(tmp_path, reference):
    command = [sys.executable, "-m", "mimicctl", "generate", "--engine", "ray", "--workers", "2", "--num-envs", "3"]
    command += ["--trials", "80", "--no-guarantee", "--seed", "3", "--output-file", "a.hdf5"]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end, killed = time.monotonic() + _PATIENCE, []
    while len(killed) < 2 and time.monotonic() < end and child.poll() is None:
        for pid in set(ray_workers(child.pid)) - set(killed):
            time.sleep(0.3)  # into its work
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            break
        time.sleep(0.05)
    log = child.communicate(timeout=_PATIENCE)[1]
    assert len(killed) == 2 and child.returncode == 0, log
    assert content(tmp_path / "a.hdf5") == content(reference)


def test_a_node_that_is_lost_costs_nothing(tmp_path, reference):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        lost = threading.Event()

        def lose(attempts: int, successes: int) -> None:
            if attempts and not lost.is_set():
                lost.set()
                cluster.remove_node(node, allow_graceful=False)

        made = run(tmp_path / "a.hdf5", 80, guarantee=False, engine="ray", address=cluster.address, on_progress=lose)
        assert lost.is_set() and content(made) == content(reference)
    finally:
        cluster.shutdown()


def test_no_cluster_at_the_address(tmp_path):
    with pytest.raises(UserError, match="No connection to a Ray cluster"):
        run(tmp_path / "a.hdf5", 2, engine="ray", address="127.0.0.1:1")
