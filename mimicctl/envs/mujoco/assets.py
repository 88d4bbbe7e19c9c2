"""Where the robot models are: the data wheel `example-robot-data`, found by path and never imported."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from mimicctl.errors import UserError

_WHEEL = "example-robot-data"
_PACKAGE_URL = "package://example-robot-data/robots"


def robots_folder() -> Path:
    """The folder that holds one sub-folder a robot.

    Raises:
        UserError: the wheel is not installed.
    """
    try:
        files = metadata.files(_WHEEL) or []
    except metadata.PackageNotFoundError:
        raise UserError("The robot models are not installed.", where=sys.prefix, do=f"pip install {_WHEEL}") from None
    for file in files:
        parts = file.parts
        if "robots" in parts and "share" in parts:
            # A path of `metadata.files` may run through `..`; only the folder above the first robot is wanted.
            located = Path(str(file.locate()))
            return Path(*located.parts[: len(located.parts) - (len(parts) - parts.index("robots") - 1)])
    raise UserError("The robot models are incomplete.", where=_WHEEL, do=f"pip install --force-reinstall {_WHEEL}")


def read_urdf(relative_path: str, *, visuals: bool) -> str:
    """URDF text of a robot, with mesh paths made absolute and MuJoCo's compiler told to keep them.

    Args:
        relative_path: below the robots folder.
        visuals: whether MuJoCo keeps the visual geoms.
    """
    folder = robots_folder()
    path = folder / relative_path
    if not path.is_file():
        raise UserError("A robot model is missing.", where=str(path), do=f"pip install --force-reinstall {_WHEEL}")
    text = path.read_text().replace(_PACKAGE_URL, str(folder))
    discard = "false" if visuals else "true"
    compiler = f'<mujoco><compiler strippath="false" fusestatic="false" discardvisual="{discard}"/></mujoco>'
    return re.sub(r"(<robot\b[^>]*>)", lambda match: match.group(1) + compiler, text, count=1)
