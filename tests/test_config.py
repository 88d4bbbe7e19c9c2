"""The run config: which layer wins, where each value came from, and what a mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mimicctl.config import RunConfig, settings_of
from mimicctl.config_layers import resolve
from mimicctl.errors import UserError

LAYERS = ("mimicctl.toml", "--config", "variable", "flag", "-o")


def layered(folder: Path, values: dict[str, int]) -> tuple[int, str]:
    """`generate.trials` and its origin, with one value for each of the named layers."""
    config_file = folder / "other.toml"
    for name, path in (("mimicctl.toml", folder / "mimicctl.toml"), ("--config", config_file)):
        if name in values:
            path.write_text(f"[generate]\ntrials = {values[name]}\n")
    resolved = resolve(
        {"generate.trials": values.get("flag")},
        config_file=config_file if "--config" in values else None,
        overrides=[f"generate.trials={values['-o']}"] if "-o" in values else [],
        environ={"MIMICCTL_GENERATE__TRIALS": str(values["variable"])} if "variable" in values else {},
        folder=folder,
    )
    return resolved.config.generate.trials, resolved.origin("generate.trials")


@pytest.mark.parametrize("lower", LAYERS)
@pytest.mark.parametrize("upper", LAYERS)
def test_the_later_layer_wins_and_is_named_as_the_origin(tmp_path, lower, upper):
    values = {lower: 11, upper: 22}
    winner = max(lower, upper, key=LAYERS.index)
    trials, origin = layered(tmp_path, values)
    assert trials == values[winner]
    origins = {
        "mimicctl.toml": str(tmp_path / "mimicctl.toml"),
        "--config": str(tmp_path / "other.toml"),
        "variable": "variable MIMICCTL_GENERATE__TRIALS",
        "flag": "flag --trials",
        "-o": f"-o generate.trials={values[winner]}",
    }
    assert origin == origins[winner]


def test_with_no_layer_all_values_are_defaults(tmp_path):
    resolved = resolve({"seed": None}, folder=tmp_path)
    assert resolved.config == RunConfig()
    assert {resolved.origin(key) for key, _, _ in settings_of(resolved.config)} == {"default"}


def test_a_flag_that_was_not_given_leaves_the_file_alone_and_false_is_given(tmp_path):
    (tmp_path / "mimicctl.toml").write_text("[generate]\nguarantee = true\nkeep_failed = true\n")
    resolved = resolve({"generate.guarantee": False, "generate.keep_failed": None}, folder=tmp_path)
    assert (resolved.config.generate.guarantee, resolved.config.generate.keep_failed) == (False, True)


def test_the_last_of_two_overrides_wins(tmp_path):
    resolved = resolve({}, overrides=["seed=3", "seed=4"], folder=tmp_path)
    assert (resolved.config.seed, resolved.origin("seed")) == (4, "-o seed=4")


def test_top_level_settings_have_variables_without_a_section(tmp_path):
    environ = {"MIMICCTL_TASK": "MuJoCo-Stack-Cube-Franka-IK-Abs-v0", "MIMICCTL_SEED": "7", "HOME": "/"}
    config = resolve({}, environ=environ, folder=tmp_path).config
    assert (config.task, config.seed) == ("MuJoCo-Stack-Cube-Franka-IK-Abs-v0", 7)


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("train.name=1", "train.name", "1"),
        ("train.name=true", "train.name", "true"),
        ("record.operator=2026-01-31", "record.operator", "2026-01-31"),
        ("record.operator=Ada Lovelace", "record.operator", "Ada Lovelace"),
        ('record.operator="Ada"', "record.operator", "Ada"),
        ("train.name=a=b", "train.name", "a=b"),
        ("train.name=", "train.name", ""),
        ("generate.max_failures=none", "generate.max_failures", None),
        ("generate.max_failures=5", "generate.max_failures", 5),
        ("generate.arch_height=0", "generate.arch_height", 0.0),
        ("record={num_demos = 3}", "record.num_demos", 3),
        ("record.axis_scale.z=0.5", "record.axis_scale", {"z": 0.5}),
        ("record.axis_scale={z = 0.5, yaw = 2}", "record.axis_scale", {"z": 0.5, "yaw": 2.0}),
        ("generate.guarantee=false", "generate.guarantee", False),
    ],
)
def test_typed_text_means_what_the_setting_asks_for(tmp_path, override, key, expected):
    resolved = resolve({}, overrides=[override], folder=tmp_path)
    section, name = key.split(".")
    assert getattr(getattr(resolved.config, section), name) == expected
    assert resolved.origin(key) == f"-o {override}"


def test_none_in_a_later_layer_takes_an_earlier_value_back(tmp_path):
    (tmp_path / "mimicctl.toml").write_text("[generate]\nmax_failures = 3\n")
    resolved = resolve({}, environ={"MIMICCTL_GENERATE__MAX_FAILURES": "none"}, folder=tmp_path)
    assert resolved.config.generate.max_failures is None


def test_a_list_item_of_the_file_is_changed_by_its_index(tmp_path):
    (tmp_path / "mimicctl.toml").write_text("[[generate.subtasks.franka]]\nnn_k = 2\n[[generate.subtasks.franka]]\nnn_k = 5\n")
    resolved = resolve({}, overrides=["generate.subtasks.franka[1].action_noise=0.01"], folder=tmp_path)
    assert resolved.config.generate.subtasks == {"franka": [{"nn_k": 2}, {"nn_k": 5, "action_noise": 0.01}]}
    origin = resolved.origin("generate.subtasks")
    assert "mimicctl.toml" in origin and "-o generate.subtasks.franka[1].action_noise=0.01" in origin


def test_what_was_replaced_whole_is_no_origin_any_more(tmp_path):
    whole = "generate.subtasks.franka=[{nn_k = 4}]"
    resolved = resolve({}, overrides=["generate.subtasks.franka[0].nn_k=2", whole], folder=tmp_path)
    assert resolved.config.generate.subtasks == {"franka": [{"nn_k": 4}]}
    assert resolved.origin("generate.subtasks") == f"-o {whole}"


FILE, OVERRIDE, VARIABLE, FLAG = "file", "-o", "variable", "flag"


def said(folder: Path, layer: str, key: str, value: str) -> UserError:
    """What is raised when `key` is set to `value`, written as TOML, in one layer."""
    given: dict[str, Any] = {"flags": {}}
    if layer == FILE:
        section, _, name = key.rpartition(".")
        (folder / "mimicctl.toml").write_text(f"[{section}]\n{name} = {value}\n" if section else f"{name} = {value}\n")
    elif layer == OVERRIDE:
        given["overrides"] = [f"{key}={value}"]
    elif layer == VARIABLE:
        given["environ"] = {"MIMICCTL_" + key.upper().replace(".", "__"): value}
    else:
        given["flags"] = {key: value}
    with pytest.raises(UserError) as caught:
        resolve(**given, folder=folder)
    return caught.value


def place(folder: Path, layer: str, key: str, value: str) -> str:
    return {
        FILE: str(folder / "mimicctl.toml"),
        OVERRIDE: f"-o {key}={value}",
        VARIABLE: "variable MIMICCTL_" + key.upper().replace(".", "__"),
        FLAG: "flag --" + key.rsplit(".", 1)[-1].replace("_", "-"),
    }[layer]


@pytest.mark.parametrize("layer", [FILE, OVERRIDE, VARIABLE, FLAG])
@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("sead", "seed"),
        ("genrate.trials", "generate"),
        ("generate.trails", "trials"),
        ("generate.num", "num_envs"),
        ("trials", "generate.trials"),
        ("train.num_envs", "generate.num_envs or eval.num_envs"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_and_its_place(tmp_path, layer, key, near):
    error = said(tmp_path, layer, key, "3")
    assert f'"{key}"' in error.what and f"did you mean {near}?" in error.what
    assert error.where == place(tmp_path, layer, key, "3")


def test_a_key_like_no_other_gets_no_guess(tmp_path):
    assert said(tmp_path, OVERRIDE, "zzzz", "1").what == 'There is no setting "zzzz".'


@pytest.mark.parametrize("layer", [FILE, OVERRIDE, VARIABLE])
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("generate.trials", '"many"', "must be an integer"),
        ("generate.trials", "1.5", "must be an integer"),
        ("generate.trials", "true", "must be an integer"),
        ("generate.trials", "0", "must be at least 1"),
        ("generate.num_envs", "2000", "must be at most 1024"),
        ("generate.bridge_step", "0", "must be greater than 0"),
        ("generate.arch_height", "nan", "must be a finite number"),
        ("record.step_hz", "inf", "must be a finite number"),
        ("generate.guarantee", '"yes"', "must be true or false"),
        ("generate.bridge", '"bow"', "must be 'auto', 'arch', 'straight' or 'plan'"),
        ("record.num_demos.x", "1", "with nothing inside"),
        ("generate", "4", "is a section"),
        ("generate.subtasks", "4", "must be a table"),
        ("record.axis_scale", "4", "must be a table"),
        ("record.axis_scale.z", '"half"', "must be a number"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_plain_words_with_its_place(tmp_path, layer, key, value, words):
    error = said(tmp_path, layer, key, value)
    assert words in error.what and key in error.what
    assert error.where == place(tmp_path, layer, key, value)
    assert "pydantic" not in str(error) and "input" not in error.what


def test_text_in_a_file_is_quoted(tmp_path):
    assert "must be text" in said(tmp_path, FILE, "generate.output_file", "[1]").what


def test_the_blamed_place_is_that_of_the_wrong_key_not_of_one_that_begins_alike(tmp_path):
    with pytest.raises(UserError) as caught:
        resolve({}, overrides=["generate.bridge=arch", "generate.bridge_step=-1"], folder=tmp_path)
    assert caught.value.where == "-o generate.bridge_step=-1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("franka[0].num_interp=1", "did you mean num_interpolation_steps?"),
        ("franka[0].num_interpolation_steps=some", "franka[0].num_interpolation_steps is 'some': it must be an integer or 'auto'"),
        ("franka[0].nn_k=0", "at least 1"),
        ("franka[0].action_noise=-0.1", "at least 0"),
        ("franka[0].action_noise=inf", "finite"),
        ("franka[0].term_offset_range=[3, 1]", "from the lower end to the higher"),
        ("franka[0].first_subtask_start_offset_range=[-1, 1]", "no steps before its first"),
        ("franka[0].term_offset_range=[1, 2, 3]", "must have 2 items"),
        ("franka[0].selection_strategy=nearest", "'nearest_neighbor_object'"),
        ("franka[0]=3", "must be a table"),
        ("franka=3", "must be a list"),
        ("franka[100000000].nn_k=1", "at most 100 items"),
    ],
)
def test_changes_to_subtasks_are_checked_like_settings(tmp_path, change, words):
    with pytest.raises(UserError) as caught:
        resolve({}, overrides=[f"generate.subtasks.{change}"], folder=tmp_path)
    assert words in caught.value.what
    assert caught.value.where == f"-o generate.subtasks.{change}"


def test_a_place_cannot_be_a_list_and_a_table(tmp_path):
    with pytest.raises(UserError, match="same place"):
        resolve({}, overrides=["generate.subtasks.franka.x=1", "generate.subtasks.franka[0].nn_k=1"], folder=tmp_path)


@pytest.mark.parametrize("override", ["generate.trials", "=3", "a b=3", "generate..trials=3", "generate.subtasks.franka[x].nn_k=3"])
def test_an_override_that_is_no_key_and_value_is_refused(tmp_path, override):
    with pytest.raises(UserError) as caught:
        resolve({}, overrides=[override], folder=tmp_path)
    assert caught.value.where == f"-o {override}"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_text("seed = = 3"), "not TOML"),
        (lambda path: path.write_bytes(b"seed = \xff\xfe"), "not TOML"),
        (lambda path: path.write_text("seed = 1\nseed = 2\n"), "not TOML"),
        (lambda path: path.write_text("record = 5\n"), "is a section"),
    ],
    ids=["missing", "a folder", "not TOML", "not UTF-8", "a key twice", "a section as a value"],
)
def test_a_config_file_that_cannot_be_used_is_named(tmp_path, make, words):
    path = tmp_path / "wrong.toml"
    make(path)
    with pytest.raises(UserError) as caught:
        resolve({}, config_file=path, folder=tmp_path)
    assert words in caught.value.what and caught.value.where == str(path)


def test_the_schema_describes_every_setting_and_forbids_others():
    schema = RunConfig.model_json_schema()
    assert all(part["additionalProperties"] is False for part in (schema, *schema["$defs"].values()))
    assert all(description for _, _, description in settings_of(RunConfig()))
    assert schema["$defs"]["GenerateSettings"]["properties"]["trials"] == {
        "default": 1000,
        "description": RunConfig.model_fields["generate"].annotation.model_fields["trials"].description,
        "minimum": 1,
        "title": "Trials",
        "type": "integer",
    }


def test_every_key_that_is_shown_can_be_set(tmp_path):
    for key, value, _ in settings_of(RunConfig()):
        if value is not None and value != {}:
            assert resolve({key: value}, folder=tmp_path).config == RunConfig(), key


def test_isaac_labs_names_of_subtask_fields_are_understood(tmp_path):
    theirs = "generate.subtasks.franka=[{subtask_term_offset_range = [1, 2], selection_strategy_kwargs = {nn_k = 4, pos_weight = 2.0}}]"
    assert resolve({}, overrides=[theirs], folder=tmp_path).config.generate.subtasks == {
        "franka": [{"term_offset_range": [1, 2], "nn_k": 4, "pos_weight": 2.0}]
    }


def test_constraints_are_set_field_by_field_or_whole(tmp_path):
    resolved = resolve({}, overrides=["generate.constraints[1].sequential_min_time_diff=4", "generate.ignore_constraints=true"], folder=tmp_path)
    assert resolved.config.generate.constraints == [{}, {"sequential_min_time_diff": 4}] and resolved.config.generate.ignore_constraints
    (tmp_path / "mimicctl.toml").write_text(
        '[[generate.constraints]]\nconstraint_type = "sequential"\neef_subtask_constraint_tuple = [["left", 0], ["right", 1]]\n'
    )
    assert resolve({}, folder=tmp_path).config.generate.constraints[0]["eef_subtask_constraint_tuple"] == [["left", 0], ["right", 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("constraints[0].sequental_min_time_diff=1", "did you mean sequential_min_time_diff"),
        ("constraints[0].sequential_min_time_diff=-2", "at least -1"),
        ("constraints[0].constraint_type=serial", "'sequential' or 'coordination'"),
        ("constraints[0].coordination_scheme_pos_noise_scale=-0.1", "at least 0"),
        ("constraints[0].eef_subtask_constraint_tuple=[['left', 0]]", "one item more"),
    ],
)
def test_a_constraint_that_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        resolve({}, overrides=[f"generate.{change}"], folder=tmp_path)
