"""Generating from, and annotating, what other tools recorded."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources

import h5py
import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings
from mimicctl.dataset.quaternions import layouts_of
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.generation.foreign import source_episodes
from mimicctl.tasks import DEFAULT_TASK, find_task, task_read_as, twin_of
from mimicctl.tasks.franka import TOOL_OFFSET
from tests import foreign
from tests.conftest import SOURCE

STACK = find_task(DEFAULT_TASK)


def made_from(source, output, **settings) -> str:
    """Content hash of what is generated."""
    options = GenerateSettings(output_file=str(output), trials=4, guarantee=False, workers=1, num_envs=4, **settings)
    with Dataset(generate(DEFAULT_TASK, 3, options, source).path) as dataset:
        return dataset.content_hash()


def infos(path, task=STACK, names=None) -> list[dict[str, np.ndarray]]:
    with Dataset(path) as dataset:
        return [episode.datagen_info for _, episode in source_episodes(dataset, task, dataset.demos, names or {})]


def test_both_generations_of_isaac_lab_make_the_same_demos(tmp_path):
    hashes = [made_from(foreign.isaaclab(tmp_path / f"{i}.hdf5", i), tmp_path / f"made_{i}.hdf5") for i in (2, 3)]
    assert hashes[0] == hashes[1]


def test_mimicgen_is_read_as_the_motion_it_was_made_of(tmp_path):
    ours = infos(SOURCE)
    for theirs, own in zip(infos(foreign.mimicgen(tmp_path / "a.hdf5"), names=foreign.CUBES), ours, strict=False):
        assert theirs.keys() == {path for path in own if not path.startswith("subtask_start_signals/")}  # MimicGen has none
        for path, value in theirs.items():
            if "_signals/" in path:
                assert np.array_equal(value, own[path])
                continue
            # In another world, but everything stands to everything else as it did.
            seen, expected = (poses.inverse(info["object_pose/cube_1"]) @ info[path] for info in (theirs, own))
            np.testing.assert_allclose(seen, expected, atol=5e-6)


def test_mimicgen_stacks_three_cubes_here(tmp_path):
    options = GenerateSettings(output_file=str(tmp_path / "b.hdf5"), trials=10, guarantee=False, workers=1, num_envs=4, names=foreign.CUBES)
    made = generate(DEFAULT_TASK, 1, options, foreign.mimicgen(tmp_path / "a.hdf5", demos=10))
    assert made.demos >= 8
    with Dataset(made.path) as dataset:
        assert dataset.lineage["settings"]["names"] == foreign.CUBES


def test_isaac_labs_absolute_targets_are_of_the_hand(tmp_path):
    file = foreign.isaaclab(tmp_path / "a.hdf5", 3, env_name="Isaac-Stack-Cube-Franka-IK-Abs-Mimic-v0", demos=1)
    task = find_task("MuJoCo-Stack-Cube-Franka-IK-Abs-v0")
    (read,), (stored,) = infos(file, task), infos(foreign.isaaclab(tmp_path / "b.hdf5", 3, demos=1))
    stored, read = stored["target_eef_pose/franka"], read["target_eef_pose/franka"]
    np.testing.assert_allclose(read[:, :3, 3], stored[:, :3, 3] + TOOL_OFFSET * stored[:, :3, 2], atol=1e-6)
    assert np.array_equal(read[:, :3, :3], stored[:, :3, :3])


def test_demos_of_a_task_of_isaac_lab_that_mujoco_does_not_have_serve_that_task(tmp_path):
    name = "Isaac-Stack-Cube-Elsewhere-Franka-IK-Rel-v0"
    assert twin_of(name) is None
    file = foreign.isaaclab(tmp_path / "a.hdf5", 3, env_name=name.replace("-v0", "-Mimic-v0"), demos=1)
    assert infos(file, dataclasses.replace(STACK, task_id="IsaacContrib-Stack-Cube-Elsewhere-Franka-IK-Rel"))
    with pytest.raises(UserError, match="no task here is the twin of"):
        infos(file)


def of_another_robot(path):
    args = {**foreign.ROBOSUITE_ARGS, "env_kwargs": {"robots": ["Sawyer"]}}
    return foreign.mimicgen(path, env_args=args)


def of_an_unknown_task(path):
    return foreign.isaaclab(path, 2, env_name="Isaac-NutPour-GR1T2-Pink-IK-Abs-Mimic-v0")


def of_another_task(path):
    return foreign.isaaclab(path, 3, env_name="Isaac-Stack-Cube-Franka-IK-Abs-Mimic-v0")


def not_annotated(path):
    return foreign.isaaclab(path, 3, annotated=False)


@pytest.mark.parametrize(
    ("make", "names", "said", "do"),
    [
        (foreign.mimicgen, {}, "cube_1, cube_2, cube_3", "-o generate.names.cubeA="),
        (foreign.mimicgen, {"cubeX": "cube_1"}, '"cubeX"', "on the left"),
        (foreign.mimicgen, {"cubeA": "cube_9"}, '"cube_9"', "on the right"),
        (foreign.mimicgen, {"cubeA": "cube_1", "cubeB": "cube_1"}, "Two names stand for cube_1", "its own"),
        (foreign.robomimic, {}, "plain robomimic file", "prepare_src_dataset"),
        (of_another_robot, {}, "Sawyer", "Panda"),
        (of_an_unknown_task, {}, "Isaac-NutPour-GR1T2-Pink-IK-Abs-Mimic-v0", "mimicctl tasks"),
        (of_another_task, {}, "another task", "--task MuJoCo-Stack-Cube-Franka-IK-Abs-v0"),
        (not_annotated, {}, "not annotated", "mimicctl annotate"),
    ],
)
def test_what_cannot_serve_is_one_clear_error(tmp_path, make, names, said, do):
    with pytest.raises(UserError) as refused:
        infos(make(tmp_path / "a.hdf5"), names=names)
    assert said in refused.value.what and do in refused.value.do


def test_the_command_says_what_it_took_the_file_for(tmp_path, mimicctl):
    foreign.isaaclab(tmp_path / "a.hdf5", 2)
    made = mimicctl("generate", "--input-file", "a.hdf5", "--trials", "1", "--workers", "1", "--num-envs", "1", "--json")
    assert made.returncode == 0, made.stderr
    for part in ("Isaac Lab 2.x", "quaternions wxyz", f"{foreign.MIMIC} read as {DEFAULT_TASK}", "eef franka", "signals grasp_1"):
        assert part in made.stderr
    foreign.mimicgen(tmp_path / "b.hdf5")
    names = [text for theirs, ours in foreign.CUBES.items() for text in ("-o", f"generate.names.{theirs}={ours}")]
    made = mimicctl("generate", "--input-file", "b.hdf5", *names, "--trials", "1", "--workers", "1", "--num-envs", "1", "--overwrite")
    assert made.returncode == 0 and "MimicGen file" in made.stderr and "cubeA (cube_2)" in made.stderr


def test_a_recording_of_isaac_lab_2_is_annotated_on_its_twin(tmp_path, mimicctl):
    foreign.isaaclab(tmp_path / "a.hdf5", 2, env_name=foreign.STACK_2, annotated=False, demos=1)
    made = mimicctl("annotate", "--input-file", "a.hdf5", "--output-file", "b.hdf5", "--json")
    assert made.returncode == 0 and f"{foreign.STACK_2} read as {DEFAULT_TASK}" in made.stderr, made.stderr
    with h5py.File(SOURCE) as source, Dataset(tmp_path / "b.hdf5") as dataset:
        signals = dataset.episode("demo_0").datagen_info
        for path, value in source["data/demo_0/obs/datagen_info/subtask_term_signals"].items():
            assert np.array_equal(signals[f"subtask_term_signals/{path}"], value[()])


def test_info_and_check_know_all_dialects(tmp_path, mimicctl):
    for make, said, annotated in ((foreign.mimicgen, "MimicGen file", 3), (foreign.robomimic, "robomimic file", 0)):
        make(tmp_path / "a.hdf5")
        info = json.loads(mimicctl("dataset", "info", "a.hdf5", "--json").stdout)
        assert info["understood"].startswith(said) and info["annotated"] == annotated
        checked = mimicctl("dataset", "check", "a.hdf5", "--json")
        assert said in checked.stderr


def test_humanoids_that_look_along_another_axis_serve_nobody_of_the_other_simulator(tmp_path):
    pour = find_task("MuJoCo-NutPour-GR1T2-Pink-IK-Abs-v0")
    with pytest.raises(UserError, match="looks along another axis"):
        infos(foreign.isaaclab(tmp_path / "theirs.hdf5", 3, env_name="Isaac-NutPour-GR1T2-Pink-IK-Abs-Mimic-v0"), pour)
    with resources.as_file(resources.files("mimicctl") / "data" / pour.source_demos) as ours:
        assert len(infos(ours, pour)) == 5
        with pytest.raises(UserError, match="looks along another axis"):
            infos(ours, dataclasses.replace(pour, task_id="Isaac-NutPour-GR1T2-Pink-IK-Abs-v0", robot="other"))


def test_quaternions_of_isaac_labs_humanoids_are_known():
    assert layouts_of("Isaac-NutPour-GR1T2-Pink-IK-Abs-Mimic-v0").actions == "vqvq" + 22 * "."
    assert layouts_of("Isaac-Stack-Cube-Elsewhere-Franka-IK-Abs-v0").actions == "vq."


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        (foreign.STACK_2, DEFAULT_TASK),
        (foreign.STACK_3, DEFAULT_TASK),
        (f"isaaclab_mimic:{foreign.MIMIC}", DEFAULT_TASK),
        ("Isaac-Stack-Cube-Franka-IK-Rel-Blueprint-Mimic-v0", "MuJoCo-Stack-Cube-Franka-IK-Rel-Blueprint-v0"),
        ("IsaacContrib-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos", "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0"),
        ("Isaac-Stack-Cube-Franka-v0", None),
        ("Isaac-Stack-Cube-Franka-IK-Rel-Skillgen-v0", None),
        ("Isaac-NutPour-GR1T2-Pink-IK-Abs-Mimic-v0", None),
        ("StackThree_D0", None),
        ("", None),
    ],
)
def test_twins_of_isaac_labs_tasks(name, twin):
    found = twin_of(name)
    assert (found.task_id if found else None) == twin


def test_a_file_that_does_not_say_its_task_asks_for_one():
    with pytest.raises(UserError, match="does not say"):
        task_read_as("")
    assert task_read_as("", DEFAULT_TASK) is STACK
