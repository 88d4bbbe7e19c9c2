"""Being allowed to read a SpaceMouse."""

from __future__ import annotations

import subprocess

import pytest

from mimicctl.devices import permissions
from mimicctl.devices.permissions import UDEV_RULES, permission_help, write_rules
from mimicctl.errors import UserError


@pytest.fixture
def udevadm(monkeypatch):
    """What is run instead of udevadm."""
    ran = []
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(permissions.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(permissions.subprocess, "run", lambda command, **_: (ran.append(command), subprocess.CompletedProcess(command, 0, "", ""))[1])
    return ran


def test_rules_are_written_once_and_take_effect(tmp_path, udevadm):
    path = tmp_path / "rules.d" / "70-spacemouse.rules"
    first, *_ = write_rules(path)
    assert path.read_text() == UDEV_RULES and first == f"wrote {path}"
    assert [command[1] for command in udevadm] == ["control", "trigger"]
    assert write_rules(path)[0] == f"{path} has the rules already" and len(udevadm) == 4


def test_rules_cover_cable_receiver_and_bluetooth_of_both_makers():
    lines = UDEV_RULES.splitlines()
    assert len(lines) == 4 and all(line.startswith('KERNEL=="hidraw*"') and 'TAG+="uaccess"' in line for line in lines)
    assert sum("256f" in line.lower() for line in lines) == sum("046d" in line.lower() for line in lines) == 2


def test_without_the_right_to_write_the_command_is_said(tmp_path, udevadm):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written") as caught:
        write_rules(tmp_path / "file" / "70.rules")
    assert "sudo mimicctl doctor devices --fix" in caught.value.do and not udevadm


def test_without_udevadm_it_says_what_is_left_to_do(tmp_path, udevadm, monkeypatch):
    monkeypatch.setattr(permissions.shutil, "which", lambda name: None)
    assert "plug the device in anew" in write_rules(tmp_path / "70.rules")[-1]


def test_elsewhere_there_are_no_rules(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(UserError, match="no udev rules"):
        write_rules(tmp_path / "70.rules")
    assert "Input Monitoring" in permission_help()


def test_the_doctor_says_it_all(mimicctl):
    done = mimicctl("doctor", "devices")
    assert done.returncode == 0 and "scripted: ready" in done.stdout and "keyboard: not ready" in done.stdout and "run it in a terminal" in done.stdout
    assert mimicctl("doctor", "--json").stdout.startswith("{")
