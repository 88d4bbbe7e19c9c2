"""The command line in a process of its own, with an emulated gamepad, on a machine where a scribe of ours is all that speaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPOKEN = "spoken.txt"


def run_with_pad(folder: Path, presses: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess:
    """In `folder`, where `spoken.txt` then has what was said aloud, a line each time.

    Args:
        presses: buttons by SDL's names, with spaces between; after the last one comes Ctrl-C.
    """
    speaker = folder / "bin" / "espeak-ng"
    speaker.parent.mkdir(exist_ok=True)
    speaker.write_text(f'#!/bin/sh\necho "$1" >> "{folder}/{SPOKEN}"\n')
    speaker.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MIMICCTL_")}
    environment |= {"PYTHONPATH": str(ROOT), "PRESSES": presses, "PATH": str(speaker.parent), **environ}
    command = [sys.executable, "-m", "tests.recording.pad_session", *arguments, "--device", "gamepad", "--step-hz", "100"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
