"""What lies in examples/ runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from tests.conftest import ROOT


def test_the_loop_from_python(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / "examples" / "loop.py"), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "50 demonstrations" in done.stdout and (tmp_path / "generated.hdf5").exists()


def test_the_config_is_taken(mimicctl, tmp_path):
    (tmp_path / "mimicctl.toml").write_text((ROOT / "examples" / "mimicctl.toml").read_text())
    done = mimicctl("config", "show")
    assert done.returncode == 0, done.stderr
    assert "500" in done.stdout and "mimicctl.toml" in done.stdout


def test_the_slurm_array_makes_shards_that_merge(mimicctl, tmp_path):
    script = ROOT / "docs" / "examples" / "slurm_generate.sh"
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "mimicctl"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mimicctl "$@"\n')
    command.chmod(0o755)
    shape = {"SHARDS": "2", "TRIALS": "3", "ATTEMPTS": "5", "SLURM_CPUS_PER_TASK": "1", "PATH": f"{command.parent}:{os.environ['PATH']}"}
    for number in (0, 1, 1):  # one is submitted again
        environ = os.environ | shape | {"SLURM_ARRAY_TASK_ID": str(number)}
        done = subprocess.run(["bash", str(script)], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    merged = mimicctl("merge", "--verify", "--json")
    assert merged.returncode == 0 and '"demos": 3' in merged.stdout, merged.stderr
    assert (tmp_path / "status" / "1.json").exists()
