"""How to be allowed to read a SpaceMouse: Linux gives raw USB devices to root alone unless a udev rule says otherwise."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from mimicctl.errors import UserError

VENDORS = (0x046D, 0x256F)
"""Logitech, which made them first, and 3Dconnexion."""

UDEV_FILE = Path("/etc/udev/rules.d/70-spacemouse.rules")
UDEV_RULES = "".join(
    f'KERNEL=="hidraw*", {which}, MODE="0660", GROUP="plugdev", TAG+="uaccess"\n'
    for vendor in VENDORS
    for which in (f'ATTRS{{idVendor}}=="{vendor:04x}"', f'KERNELS=="0005:{vendor:04X}:*"')
)
"""Lets whoever sits at the machine (uaccess), or is in the group plugdev (SSH), read them: by cable or receiver, and by Bluetooth."""

_RELOAD = (["udevadm", "control", "--reload"], ["udevadm", "trigger", "--subsystem-match=hidraw"])


def permission_help() -> str:
    """What to do, with the rule and the commands where there are some."""
    if sys.platform != "linux":
        return "close 3Dconnexion's own driver and other programs that use it; on macOS allow Input Monitoring for the terminal"
    return f"""allow it once, then plug it in anew (sudo mimicctl doctor devices --fix does the same):
sudo tee {UDEV_FILE} > /dev/null <<'RULES'
{UDEV_RULES}RULES
{" && ".join("sudo " + " ".join(command) for command in _RELOAD)}"""


def write_rules(path: Path = UDEV_FILE) -> list[str]:
    """Write the udev rules and have them take effect. What was done, a line each.

    Raises:
        UserError: this is no Linux, or the folder may not be written to.
    """
    if sys.platform != "linux":
        raise UserError("There are no udev rules on this system.", where="--fix", do=permission_help())
    if path.exists() and path.read_text() == UDEV_RULES:
        done = [f"{path} has the rules already"]
    else:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(UDEV_RULES)
        except OSError as error:
            raise UserError(
                f"The rules cannot be written: {error.strerror}.", where=str(path), do="run it as root: sudo mimicctl doctor devices --fix"
            ) from None
        done = [f"wrote {path}"]
    for command in _RELOAD:
        if shutil.which(command[0]) is None:
            return [*done, "there is no udevadm here: restart the machine, or plug the device in anew"]
        if (ran := subprocess.run(command, capture_output=True, text=True)).returncode:
            return [*done, f"{' '.join(command)} failed: {ran.stderr.strip()}; plug the device in anew"]
        done.append(f"ran {' '.join(command)}")
    return done
