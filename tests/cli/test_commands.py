"""The command line: the loop from end to end, messages, exit codes, JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mimicctl.config import RunConfig
from mimicctl.config_layers import resolve
from mimicctl.errors import UserError

HEAVY = ("mujoco", "torch", "numpy", "h5py", "pydantic", "gymnasium", "robomimic")


def test_help_imports_nothing_heavy():
    code = f"import sys; import mimicctl.cli.app; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_loop_runs_without_flags_and_each_step_finds_the_last_ones_output(mimicctl, tmp_path):
    recorded = mimicctl("record", "--device", "scripted", "--num-demos", "4", "--speed", "fast")
    assert recorded.returncode == 0, recorded.stderr
    assert str(tmp_path / "datasets" / "dataset.hdf5") in recorded.stdout and "Next: mimicctl annotate" in recorded.stdout
    annotated = mimicctl("annotate")
    assert annotated.returncode == 0, annotated.stderr
    assert "dataset.hdf5" in annotated.stderr and "Next: mimicctl generate" in annotated.stdout
    generated = mimicctl("generate", "--trials", "2")
    assert generated.returncode == 0, generated.stderr
    assert "annotated.hdf5" in generated.stderr and "Next: mimicctl train" in generated.stdout
    info = json.loads(mimicctl("dataset", "info", "datasets/generated.hdf5", "--json").stdout)
    assert info["demos"] == 2 and info["attempts"] >= 2
    assert mimicctl("dataset", "check", "datasets/generated.hdf5").returncode == 0
    again = mimicctl("generate", "--trials", "2")
    assert again.returncode == 2 and "--resume" in again.stderr


def test_json_is_one_document(mimicctl):
    done = mimicctl("generate", "--generation_num_trials", "1", "--num_envs", "1", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["demos"] == 1


@pytest.mark.parametrize(
    "arguments", [["config", "show"], ["config", "schema"], ["tasks"], ["tasks", "list"], ["tasks", "show", "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"], ["doctor"]]
)
def test_helpers_answer(mimicctl, arguments):
    done = mimicctl(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_paths_are_not_folded_in_a_pipe(mimicctl, tmp_path):
    deep = tmp_path / ("long" * 12) / ("path" * 12) / "d.hdf5"
    done = mimicctl("record", "--device", "scripted", "--num-demos", "1", "--output-file", str(deep))
    assert str(deep) in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["genrate"], 2, "generate"),
        (["generate", "--trails", "3"], 2, "--trials"),
        (["generate", "--task", "MuJoCo-Stack-Cub-Franka-IK-Rel-v0"], 2, "did you mean MuJoCo-Stack-Cube-Franka-IK-Rel-v0"),
        (["generate", "-o", "generate.trails=3"], 2, "did you mean trials"),
        (["generate", "--trials", "0"], 2, "generate.trials"),
        (["annotate"], 2, "no recording"),
        (["train"], 2, "no dataset"),
        (["train", "--config", "nowhere.toml"], 2, "nowhere.toml"),
        (["train", "--algo", "act", "--epochs", "3"], 2, "--epochs says nothing to LeRobot"),
        (["train", "--algo", "act", "--allow-tainted"], 2, "--allow-tainted says nothing to LeRobot"),
        (["train", "--algo", "bc", "--steps", "3"], 2, "--steps says nothing to robomimic"),
        (["train", "--algo", "pi0"], 2, 'no algorithm "pi0"'),
    ],
)
def test_mistakes_are_answered(mimicctl, arguments, code, message):
    done = mimicctl(*arguments)
    assert done.returncode == code
    assert message in done.stderr and "Traceback" not in done.stderr


# Config -------------------------------------------------------------------------------------------------


def test_layers_lie_on_top_of_each_other_and_are_remembered(tmp_path):
    (tmp_path / "mimicctl.toml").write_text('seed = 2\n[generate]\ntrials = 5\nworkers = 1\nbridge = "straight"\n')
    extra = tmp_path / "extra.toml"
    extra.write_text("[generate]\ntrials = 6\n")
    resolved = resolve(
        {"generate.num_envs": 4, "seed": None},
        config_file=extra,
        overrides=["generate.arch_height=0.1"],
        environ={"MIMICCTL_GENERATE__WORKERS": "3", "OTHER": "x"},
        folder=tmp_path,
    )
    generate = resolved.config.generate
    assert (resolved.config.seed, generate.trials, generate.workers, generate.num_envs, generate.arch_height) == (2, 6, 3, 4, 0.1)
    assert resolved.origin("generate.trials") == str(extra)
    assert resolved.origin("generate.workers") == "variable MIMICCTL_GENERATE__WORKERS"
    assert resolved.origin("generate.num_envs") == "flag --num-envs"
    assert resolved.origin("generate.arch_height") == "-o generate.arch_height=0.1"
    assert resolved.origin("generate.guarantee") == "default"


def test_subtasks_are_overridden_by_index(tmp_path):
    resolved = resolve({}, overrides=["generate.subtasks.franka[2].num_interpolation_steps=8"], folder=tmp_path)
    assert resolved.config.generate.subtasks == {"franka": [{}, {}, {"num_interpolation_steps": 8}]}


@pytest.mark.parametrize(
    ("arguments", "where", "hint"),
    [
        ({"overrides": ["generate.trails=1"]}, "-o generate.trails=1", "trials"),
        ({"environ": {"MIMICCTL_GENERAT__TRIALS": "1"}}, "MIMICCTL_GENERAT__TRIALS", "generate"),
        ({"overrides": ["generate.subtasks.franka[0].acton_noise=1"]}, "-o", "action_noise"),
        ({"overrides": ["generate.trials"]}, "-o", "section.key=value"),
        ({"overrides": ["generate.bridge=bow"]}, "-o generate.bridge=bow", "arch"),
        ({"overrides": ["seed=many"]}, "-o seed=many", "integer"),
    ],
)
def test_wrong_settings_say_what_and_where(tmp_path, arguments, where, hint):
    with pytest.raises(UserError) as caught:
        resolve({}, folder=tmp_path, **arguments)
    assert where in caught.value.where
    assert hint in str(caught.value)


def test_every_setting_has_a_description():
    def undescribed(schema: dict) -> list[str]:
        return [name for name, value in schema.get("properties", {}).items() if "description" not in value and "$ref" not in value]

    schema = RunConfig.model_json_schema()
    assert undescribed(schema) == []
    assert all(undescribed(section) == [] for section in schema["$defs"].values())
