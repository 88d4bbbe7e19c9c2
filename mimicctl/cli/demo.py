"""`mimicctl demo`."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from mimicctl.cli.common import Overwrite, note, stdout


def command(
    folder: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("mimicctl-demo"),
    demos: Annotated[int, typer.Option(min=10, help="Demonstrations to generate.")] = 1000,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs to train.")] = 15,
    overwrite: Overwrite = False,
) -> None:
    """The whole loop once, in about ten minutes: every command is shown as it runs."""
    from mimicctl.errors import RunFailed, UserError

    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise UserError("The folder is not empty.", where=str(folder.absolute()), do="--overwrite replaces what the demo made there, --folder chooses another")
    folder.mkdir(parents=True, exist_ok=True)
    replace = ["--overwrite"] if overwrite else []
    commands = [
        ["record", "--device", "scripted", "--num-demos", "10", *replace],
        ["annotate", "--auto", *replace],
        ["generate", "--trials", str(demos), *replace],
        ["dataset", "check", "datasets/generated.hdf5"],
    ]
    if importlib.util.find_spec("robomimic"):
        commands += [["train", "--epochs", str(epochs), *replace], ["eval", "play", "--best", "--rollouts", "50"]]
    for arguments in commands:
        stdout().print(f"\n$ mimicctl {shlex.join(arguments)}", style="bold cyan", markup=False)
        sys.stdout.flush()
        done = subprocess.run([sys.executable, "-m", "mimicctl", *arguments], cwd=folder)
        if done.returncode:
            raise RunFailed(f"mimicctl {arguments[0]} ended with exit code {done.returncode}.", where=str(folder.absolute()))
    if not importlib.util.find_spec("robomimic"):
        note('Training was left out: robomimic is not installed. Get it with: pip install "mimicctl[train]" && pip install --no-deps robomimic==0.3.0')
