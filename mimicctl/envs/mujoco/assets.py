"""Where the robot models are: in wheels that are found by path and never imported: `example-robot-data`, and for the GR-1 `robosuite`."""

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


GR1_INSTALL = "pip install --no-deps robosuite==1.5.2"
"""Without its dependencies, which are of its simulator and would take NumPy back to 1."""


def gr1_files() -> dict[str, Path]:
    """The GR-1's body, and its hands by side, as MJCF.

    Raises:
        UserError: the wheel that has them is not installed.
    """
    parts = {"body": "robots/gr1/robot.xml", **{side: f"grippers/fourier_{side}_hand.xml" for side in ("left", "right")}}
    for entry in sys.path:
        assets = Path(entry or ".") / "robosuite" / "models" / "assets"
        if all((assets / part).is_file() for part in parts.values()):
            return {name: assets / part for name, part in parts.items()}
    raise UserError("The model of the GR-1 is not installed.", where=sys.prefix, do=f"{GR1_INSTALL} (MIT, 160 MB; its files are used, its code is not)")
