"""The shell around the commands: messages, exit codes, Ctrl-C, pipes, JSON, and what start-up imports."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mimicctl import __version__
from mimicctl.cli import app as shell
from mimicctl.cli.common import Outcome, Table, show
from mimicctl.errors import RunFailed, UserError
from tests.conftest import ROOT, run_cli

COMMANDS = (
    *("teleop", "record", "replay", "annotate", "generate", "convert", "merge", "train", "eval"),
    *("cosmos", "dataset", "config", "devices", "tasks", "doctor", "demo"),
)
HEAVY = ("mujoco", "torch", "numpy", "h5py", "pydantic", "gymnasium", "robomimic", "matplotlib", "av")


# Start-up ---------------------------------------------------------------------------------------------


def imported_by(arguments: list[str], folder: Path) -> set[str]:
    """Top-level packages that the program imports to answer."""
    command = [sys.executable, "-X", "importtime", "-m", "mimicctl", *arguments]
    log = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60).stderr
    found = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in log.splitlines() if line.startswith("import time:")}
    assert "typer" in found
    return found


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_answering_without_a_command_imports_nothing_heavy(tmp_path, arguments):
    assert imported_by(arguments, tmp_path).isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["generate", "--help"], ["dataset", "check", "--help"], ["genrate"]])
def test_help_of_a_command_imports_nothing_heavy_but_what_typer_does(tmp_path, arguments):
    assert imported_by(arguments, tmp_path) & set(HEAVY) <= {"pydantic"}


def test_help_lists_every_command(mimicctl):
    done = mimicctl("--help")
    assert done.returncode == 0
    assert [name for name in COMMANDS if f" {name} " not in done.stdout] == []


def test_the_installed_script_is_the_same_program(tmp_path):
    script = Path(sys.executable).with_name("mimicctl")
    done = subprocess.run([script, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"mimicctl {__version__}\n")


# Mistakes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "first", "last"),
    [
        (["recrod"], "mimicctl: No such command 'recrod'. Did you mean 'record'?", "  do  mimicctl --help"),
        (["dataset", "chek"], "mimicctl dataset: No such command 'chek'. Did you mean 'check'?", "  do  mimicctl dataset --help"),
        (["generate", "--num_env", "4"], "mimicctl generate: No such option: --num-env", "  do  mimicctl generate --help"),
        (["dataset", "check"], "mimicctl dataset check: Missing argument", "  do  mimicctl dataset check --help"),
        (["generate", "--config"], "mimicctl generate: Option '--config' requires an argument", "  do  mimicctl generate --help"),
        (["generate", "--trials", "many"], "mimicctl generate: Invalid value for '--trials'", "  do  mimicctl generate --help"),
        (["tasks", "new", "mine", "--like", "foo"], "mimicctl tasks new: Invalid value for '--like': 'foo' is not one of", "  do  mimicctl tasks new --help"),
        (["config", "show", "-o", "seeed=1"], "mimicctl config show: There is no setting", "  do  mimicctl config schema"),
        (["dataset", "info", "/no/such.hdf5"], "mimicctl dataset info: There is no such file.", "  do  "),
    ],
)
def test_a_mistake_is_three_lines_at_most_and_exit_code_2(mimicctl, arguments, first, last):
    done = mimicctl(*arguments)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == ""
    assert lines[0].startswith(first) and lines[-1].startswith(last) and len(lines) <= 3


def test_no_arguments_show_the_help(mimicctl):
    done = mimicctl()
    assert done.returncode == 2 and "Usage: mimicctl" in done.stdout and done.stderr == ""


def test_debug_shows_where_a_mistake_was_noticed(mimicctl):
    assert "Traceback" not in mimicctl("tasks", "show", "nothing").stderr
    debugged = mimicctl("tasks", "show", "nothing", "--debug")
    assert debugged.returncode == 2
    assert "Traceback" in debugged.stderr and 'There is no task "nothing"' in debugged.stderr


@pytest.mark.parametrize("spelling", ["--num_envs", "--num-envs"])
def test_underscores_and_dashes_are_the_same(mimicctl, spelling):
    done = mimicctl("generate", spelling, "0")
    assert done.returncode == 2 and "generate.num_envs cannot be 0" in done.stderr and "flag --num-envs" in done.stderr


# What a command may raise -----------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch, capsys):
    """Run the shell over a command that raises the given exception."""

    def run(error: BaseException, *, debug: bool = False) -> tuple[int, str]:
        def command(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(shell.doctor, "examine", command, raising=False)
        monkeypatch.setattr("mimicctl.doctor.examine", command)
        return shell._run(["doctor"], debug=debug), capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("Wrong.", where="here", do="that"), 2, "mimicctl doctor: Wrong.\n  in  here\n  do  that\n"),
        (RunFailed("It failed."), 1, "mimicctl doctor: It failed.\n"),
        (KeyboardInterrupt(), 130, "mimicctl doctor: stopped.\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "mimicctl doctor: Permission denied.\n  in  /x/y\n"),
    ],
    ids=["a mistake", "a failed run", "Ctrl-C", "no permission"],
)
def test_exceptions_become_messages_and_exit_codes(failing, error, code, message):
    assert failing(error) == (code, message)


def test_an_unforeseen_exception_is_one_message_and_a_traceback_only_with_debug(failing):
    code, message = failing(ValueError("odd"))
    assert code == 1 and "internal error: ValueError: odd" in message and "--debug" in message and "Traceback" not in message
    code, message = failing(ValueError("odd"), debug=True)
    assert code == 1 and "Traceback" in message and "ValueError: odd" in message


def test_an_exception_raised_while_ctrl_c_is_being_handled_counts_as_ctrl_c(failing):
    def cut_off() -> BaseException:
        try:
            try:
                raise KeyboardInterrupt
            finally:
                raise RuntimeError("cannot close")
        except RuntimeError as error:
            return error

    assert failing(cut_off()) == (130, "mimicctl doctor: stopped.\n")


# Ctrl-C and pipes -------------------------------------------------------------------------------------


def test_ctrl_c_ends_with_130_and_one_line(tmp_path):
    command = [sys.executable, "-m", "mimicctl", "record", "--device", "scripted", "--num-demos", "5", "--step-hz", "20"]
    process = subprocess.Popen(command, cwd=tmp_path, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert any("step" in line for line in process.stderr), "it never began"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in rest and rest.splitlines()[-1] == "mimicctl record: stopped."


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command = [sys.executable, "-m", "mimicctl", "config", "schema"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


def test_an_ascii_terminal_is_no_error(mimicctl):
    done = mimicctl("tasks", environ={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "MuJoCo-Stack-Cube" in done.stdout


def test_a_terminal_gets_no_more_columns_than_it_has(tmp_path):
    leader, follower = pty.openpty()
    environ = {**os.environ, "COLUMNS": "90", "TERM": "dumb"}
    process = subprocess.Popen([sys.executable, "-m", "mimicctl", "config", "show"], cwd=tmp_path, env=environ, stdout=follower, stdin=follower)
    os.close(follower)
    shown = b""
    try:
        while block := os.read(leader, 65536):
            shown += block
    except OSError:
        pass  # Linux reports the other side's end so.
    finally:
        os.close(leader)
    assert process.wait(timeout=60) == 0
    assert max(len(line) for line in shown.decode().splitlines()) <= 90


# Results ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["config", "show", "--json"], "generate.trials"),
        (["config", "schema"], "properties"),
        (["tasks", "--json"], "tasks"),
        (["tasks", "show", "MuJoCo-Stack-Cube-Franka-IK-Abs-v0", "--json"], "subtasks"),
        (["doctor", "--json"], "findings"),
        (["train", "--list", "--json"], "mlp"),
    ],
)
def test_json_is_one_document_on_stdout(mimicctl, arguments, key):
    done = mimicctl(*arguments)
    assert done.returncode == 0, done.stderr
    assert key in json.loads(done.stdout)


def test_json_keeps_numbers_as_numbers(capsys):
    import numpy as np

    data = {
        "n": np.int64(5),
        "x": np.float32(1.5),
        "nan": float("nan"),
        "flags": np.array([True, False]),
        "path": Path("/x"),
        "pair": (1, None),
    }
    show(Outcome("", data=data), as_json=True)
    expected = {"n": 5, "x": 1.5, "nan": None, "flags": [True, False], "path": "/x", "pair": [1, None]}
    assert json.loads(capsys.readouterr().out) == expected


def test_facts_are_the_json_where_there_is_no_other(capsys):
    show(Outcome("Made.", [("success rate", 0.5), ("file", Path("/x"))]), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"success_rate": 0.5, "file": "/x"}


def test_a_long_path_stays_whole_in_a_piped_table_and_brackets_are_text(capsys):
    path = "/data/" + "long" * 100 + "[red]/[3].hdf5"
    show(
        Outcome("Made [x].", [("file", path)], [Table("Files [y]", ("file", "demos"), [(path, 3)])], f"mimicctl train --dataset {path}"),
        as_json=False,
    )
    out = capsys.readouterr().out
    assert out.count(path) == 3 and "Made [x]." in out and "Files [y]" in out


def test_config_show_tells_each_value_and_its_origin(mimicctl, tmp_path):
    (tmp_path / "mimicctl.toml").write_text("[generate]\ntrials = 5\n")
    done = mimicctl("config", "show", "--json", "-o", "seed=3", environ={"MIMICCTL_RECORD__SPEED": "fast"})
    shown = json.loads(done.stdout)
    assert shown["generate.trials"] == {"value": 5, "origin": str(tmp_path / "mimicctl.toml")}
    assert shown["seed"] == {"value": 3, "origin": "-o seed=3"}
    assert shown["record.speed"] == {"value": "fast", "origin": "variable MIMICCTL_RECORD__SPEED"}
    assert shown["task"]["origin"] == "default"
    table = mimicctl("config", "show").stdout
    assert all(key in table for key in shown)


def test_the_schema_can_be_read_while_the_config_file_is_broken(mimicctl, tmp_path):
    (tmp_path / "mimicctl.toml").write_text("[generate]\ntrails = 5\n")
    assert mimicctl("config", "show").returncode == 2
    assert mimicctl("config", "schema").returncode == 0


# Doctor -----------------------------------------------------------------------------------------------


def findings(done: subprocess.CompletedProcess) -> dict[str, dict]:
    return {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_doctor_sees_the_simulation_run(mimicctl):
    done = mimicctl("doctor", "--json")
    found = findings(done)
    assert done.returncode == 0
    assert found["simulation"]["ok"] and "runs" in found["simulation"]["found"]
    assert {"numpy", "h5py", "mujoco", "example-robot-data", "torch", "six", "robomimic", "off-screen OpenGL"} <= set(found)


def test_doctor_finds_a_package_that_is_there_but_does_not_import(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "mujoco.py").write_text("raise ImportError('wrong processor')\n")
    done = run_cli(["doctor", "--json"], ROOT, {"PYTHONPATH": str(tmp_path / "broken")})
    assert done.returncode == 1
    simulation = findings(done)["simulation"]
    assert not simulation["ok"] and "wrong processor" in simulation["found"] and "pip install" in simulation["do"]


def test_doctor_finds_a_package_that_is_too_old(tmp_path):
    old = tmp_path / "h5py-2.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: h5py\nVersion: 2.0\n")
    done = run_cli(["doctor", "--json"], ROOT, {"PYTHONPATH": str(tmp_path)})
    found = findings(done)
    assert done.returncode == 1
    assert found["h5py"]["found"].startswith("2.0, older than") and found["h5py"]["do"].startswith('pip install "h5py>=')


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_doctor_finds_a_folder_it_cannot_write_to(mimicctl, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    done = mimicctl("doctor", "--json", cwd=folder)
    assert done.returncode == 1 and "not writable" in findings(done)["working folder"]["found"]
