"""What lies in examples/ runs."""

from __future__ import annotations

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
