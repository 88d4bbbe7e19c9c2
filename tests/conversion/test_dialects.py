"""`dataset convert-dialect`: into other conventions and back."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.conversion.dialects import convert, env_name_for, leaves_of
from mimicctl.dataset.mimicgen import controller_of
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed, UserError
from tests import foreign
from tests.conftest import SOURCE
from tests.episodes import make_episode


def there_and_back(tmp_path: Path, file: Path, there: str, back: str) -> Path:
    convert(file, there, tmp_path / "there.hdf5")
    return convert(tmp_path / "there.hdf5", back, tmp_path / "back.hdf5").path


def differences(a: Path, b: Path) -> dict[str, float]:
    """Largest difference of each array that is not the same, bit for bit. All else must be the same."""
    found: dict[str, float] = {}
    with h5py.File(a) as first, h5py.File(b) as second:
        assert list(first["data"]) == list(second["data"])
        for name in first["data"]:
            ones, others = leaves_of(first["data"][name]), leaves_of(second["data"][name])
            assert ones.keys() == others.keys()
            assert dict(first["data"][name].attrs) == dict(second["data"][name].attrs)
            for path, one in ones.items():
                one, other = one[()], others[path][()]
                assert one.shape == other.shape
                if one.dtype != other.dtype or one.tobytes() != other.tobytes():
                    found[path] = max(found.get(path, 0.0), float(np.abs(one.astype(float) - other).max()))
    return found


@pytest.mark.parametrize("there", ["isaaclab2", "robomimic"])
def test_our_files_come_back_bit_for_bit(tmp_path, there):
    assert differences(SOURCE, there_and_back(tmp_path, SOURCE, there, "isaaclab3")) == {}


def test_our_files_come_back_from_mimicgen_but_for_the_last_bits_of_targets(tmp_path):
    off = differences(SOURCE, there_and_back(tmp_path, SOURCE, "mimicgen", "isaaclab3"))
    assert off.keys() <= {"actions", "obs/datagen_info/target_eef_pose/franka"} and all(value < 1e-6 for value in off.values())


def test_isaac_lab_2_comes_back_bit_for_bit(tmp_path):
    file = foreign.isaaclab(tmp_path / "a.hdf5", 2)
    assert differences(file, there_and_back(tmp_path, file, "isaaclab3", "isaaclab2")) == {}


def test_mimicgen_comes_back_with_its_states_and_attributes(tmp_path):
    file = foreign.mimicgen(tmp_path / "a.hdf5")
    off = differences(file, back := there_and_back(tmp_path, file, "isaaclab3", "mimicgen"))
    assert "states" not in off and all(value < 1e-6 for value in off.values())
    with h5py.File(back) as made, h5py.File(tmp_path / "there.hdf5") as there:
        assert made["data/demo_0/datagen_info"].attrs["env_interface_name"] == "MG_StackThree"
        assert "states" not in there["data/demo_0"] and "datagen_info" not in there["data/demo_0"]


def test_isaac_lab_2_to_3_is_what_isaac_lab_3_writes(tmp_path):
    made = convert(foreign.isaaclab(tmp_path / "a.hdf5", 2, env_name=foreign.STACK_2), "isaaclab3", tmp_path / "b.hdf5").path
    assert differences(made, foreign.isaaclab(tmp_path / "c.hdf5", 3)) == {}
    with Dataset(made) as dataset:
        assert (dataset.format_version, dataset.task_id, dataset.control_hz) == (1, foreign.STACK_3, 20.0)


@pytest.mark.parametrize("first", [[0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8]])
def test_absolute_actions_hold_quaternions_too(tmp_path, first):
    steps = np.tile(np.array([*first, 1], np.float32), (20, 1))
    told = np.concatenate([steps[:, :7], np.full((20, 2), 0.04, np.float32)], axis=1)
    episode = make_episode(0, actions=steps, processed_actions=told, obs={"actions": steps, "target_quat": steps[:, 3:7]})
    with DatasetWriter(tmp_path / "a.hdf5", task_id="MuJoCo-Stack-Cube-Franka-IK-Abs-v0", lineage={}) as writer:
        writer.write(episode)
    convert(tmp_path / "a.hdf5", "isaaclab2", tmp_path / "b.hdf5")
    turned = np.array([0.1, 0.2, 0.3, 0.8, 0.5, 0.6, 0.7], np.float32)
    with h5py.File(tmp_path / "b.hdf5") as file:
        demo = file["data/demo_0"]
        for path in ("actions", "obs/actions", "processed_actions"):
            assert np.array_equal(demo[path][0, :7], turned) and np.array_equal(demo[path][:, 7:], (told if path == "processed_actions" else steps)[:, 7:])
        assert np.array_equal(demo["obs/target_quat"][0], turned[3:])
        assert "format_version" not in file.attrs
    with Dataset(tmp_path / "b.hdf5") as dataset:
        assert np.array_equal(dataset.episode("demo_0").actions, steps)


def test_what_is_not_known_of_a_task_is_said_and_left(tmp_path):
    with DatasetWriter(tmp_path / "a.hdf5", task_id="Isaac-Some-Task-v0", lineage={}) as writer:
        writer.write(make_episode(0))
    said = []
    convert(tmp_path / "a.hdf5", "isaaclab2", tmp_path / "b.hdf5", on_plan=said.append)
    assert any("obs/object" in remark and "Isaac-Some-Task-v0" in remark for remark in said[0].remarks)
    assert "obs/eef_quat" in said[0].changed and "obs/object" not in said[0].changed


def test_images_masks_and_attempts_are_copied_as_they_are_stored(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), np.uint8)
    with DatasetWriter(tmp_path / "a.hdf5", task_id=foreign.STACK_3, lineage={"made_by": "x"}) as writer:
        writer.write(make_episode(0, obs={"table_cam": image}), ['{"trial": 0}'])
        writer.describe({"made_by": "x"}, {"train": ["demo_0"]})
    convert(tmp_path / "a.hdf5", "isaaclab2", tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "a.hdf5") as a, h5py.File(tmp_path / "b.hdf5") as b:
        one, other = (file["data/demo_0/obs/table_cam"] for file in (a, b))
        assert one.id.read_direct_chunk((3, 0, 0, 0)) == other.id.read_direct_chunk((3, 0, 0, 0))
    with Dataset(tmp_path / "b.hdf5") as dataset:
        assert dataset.masks == {"train": ("demo_0",)} and dataset.attempts() == [{"trial": 0}]
        assert dataset.lineage["inputs"][0]["lineage"] == {"made_by": "x"} and dataset.lineage["to"] == "isaaclab2"
        assert dataset.task_id == foreign.STACK_2


def test_robosuite_actions_become_isaac_labs(tmp_path):
    made = convert(foreign.robomimic(tmp_path / "a.hdf5"), "isaaclab3", tmp_path / "b.hdf5").path
    with h5py.File(SOURCE) as source, h5py.File(made) as file:
        np.testing.assert_allclose(file["data/demo_1/actions"][()], source["data/demo_1/actions"][()], atol=1e-6)
        assert file["data/demo_1/actions"].dtype == np.float32


def test_the_controller_of_the_file_is_heeded(tmp_path):
    arms = {"right": {"type": "OSC_POSE", "input_type": "delta", "output_max": [0.1] * 3 + [1.0] * 3}}
    args = {**foreign.ROBOSUITE_ARGS, "env_kwargs": {"robots": "Panda", "controller_configs": {"body_parts": arms}}}
    convert(foreign.mimicgen(tmp_path / "a.hdf5", env_args=args), "isaaclab3", tmp_path / "b.hdf5")
    with h5py.File(SOURCE) as source, h5py.File(tmp_path / "b.hdf5") as file:
        np.testing.assert_allclose(file["data/demo_1/actions"][:, :6], 2 * source["data/demo_1/actions"][:, :6], atol=1e-6)
    arms["right"]["input_type"] = "absolute"
    with pytest.raises(UserError, match="absolute OSC_POSE"):
        convert(foreign.mimicgen(tmp_path / "c.hdf5", env_args=args), "isaaclab3", tmp_path / "d.hdf5")


def test_axes_may_have_limits_of_their_own(tmp_path):
    limits = [0.05, 0.05, 0.02, 0.5, 0.5, 0.25]
    args = {**foreign.ROBOSUITE_ARGS, "env_kwargs": {"robots": "Panda", "controller_configs": {"type": "OSC_POSE", "output_max": limits}}}
    file = foreign.mimicgen(tmp_path / "a.hdf5", env_args=args)
    made = convert(file, "isaaclab3", tmp_path / "b.hdf5").path
    with h5py.File(file) as source, h5py.File(made) as there:
        np.testing.assert_allclose(there["data/demo_0/actions"][:, :6], 2 * np.array(limits) * source["data/demo_0/actions"][:, :6], rtol=1e-6, atol=1e-7)
    back = convert(made, "mimicgen", tmp_path / "c.hdf5").path
    assert all(value < 1e-6 for value in differences(file, back).values())


@pytest.mark.parametrize("limits", [None, [0.1, 0.1], "much", 0.0, [0.05] * 5 + [float("nan")]])
def test_a_controller_that_makes_no_sense_is_refused(limits):
    with pytest.raises(UserError, match="output_max of the controller"):
        controller_of({"env_kwargs": {"controller_configs": {"type": "OSC_POSE", "output_max": limits}}}, "here")


def without_poses(info: h5py.Group) -> None:
    del info["eef_pose"]


def with_short_signal(info: h5py.Group) -> None:
    short = info["subtask_term_signals/grasp_1"][:-3]
    del info["subtask_term_signals/grasp_1"]
    info["subtask_term_signals/grasp_1"] = short


def with_words(info: h5py.Group) -> None:
    del info["eef_pose"]
    info["eef_pose"] = "nowhere"


@pytest.mark.parametrize(("damage", "said"), [(without_poses, "eef_pose"), (with_short_signal, "grasp_1 is not a signal"), (with_words, "eef_pose")])
def test_an_annotation_that_does_not_fit_its_demo_is_refused(tmp_path, damage, said):
    file = foreign.mimicgen(tmp_path / "a.hdf5")
    with h5py.File(file, "r+") as opened:
        damage(opened["data/demo_1/datagen_info"])
    with pytest.raises(UserError, match=said):
        convert(file, "isaaclab3", tmp_path / "b.hdf5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]


def test_targets_that_are_missing_are_named(tmp_path):
    file = foreign.isaaclab(tmp_path / "a.hdf5", 3)
    with h5py.File(file, "r+") as opened:
        opened["data/demo_1/obs/datagen_info/target_eef_pose"].move("franka", "other")
    with pytest.raises(UserError, match="target_eef_pose/franka"):
        convert(file, "mimicgen", tmp_path / "b.hdf5")


def test_one_demo_of_mimicgen_without_an_annotation_goes_along(tmp_path):
    file = foreign.mimicgen(tmp_path / "a.hdf5")
    with h5py.File(file, "r+") as opened:
        del opened["data/demo_1/datagen_info"]
    with h5py.File(convert(file, "isaaclab3", tmp_path / "b.hdf5").path) as made:
        assert "obs/datagen_info" in made["data/demo_0"] and "obs/datagen_info" not in made["data/demo_1"]


def without_annotation(path: Path) -> Path:
    return foreign.isaaclab(path, 3, annotated=False)


def of_absolute_control(path: Path) -> Path:
    return foreign.isaaclab(path, 3, env_name="Isaac-Stack-Cube-Franka-IK-Abs-Mimic-v0")


def with_one_demo_unannotated(path: Path) -> Path:
    with h5py.File(foreign.isaaclab(path, 3), "r+") as file:
        del file["data/demo_1/obs/datagen_info"]
    return path


@pytest.mark.parametrize(
    ("make", "to", "said"),
    [
        (without_annotation, "mimicgen", "not annotated"),
        (with_one_demo_unannotated, "mimicgen", "demo_1"),
        (of_absolute_control, "mimicgen", "relative actions of one arm"),
        (foreign.robomimic, "mimicgen", "no poses"),
        (foreign.robomimic, "robomimic", "already"),
        (foreign.mimicgen, "mimicgen", "already"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, make, to, said):
    with pytest.raises(UserError) as refused:
        convert(make(tmp_path / "a.hdf5"), to, tmp_path / "b.hdf5")
    assert said in str(refused.value) and [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_a_damaged_demo_leaves_the_old_output(tmp_path):
    file = foreign.mimicgen(tmp_path / "a.hdf5")
    with h5py.File(file, "r+") as opened:
        opened["data/demo_2/datagen_info/eef_pose"][4, 0, 0] = np.nan
    (tmp_path / "b.hdf5").write_bytes(b"old")
    with pytest.raises(UserError, match="eef_pose"):
        convert(file, "isaaclab3", tmp_path / "b.hdf5", overwrite=True)
    assert (tmp_path / "b.hdf5").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_leaves_the_old_output(tmp_path, monkeypatch):
    from mimicctl.conversion import dialects

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dialects, "_write_demo", full)
    with pytest.raises(RunFailed, match="free some space"):
        convert(SOURCE, "isaaclab2", tmp_path / "b.hdf5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "to", "called"),
    [
        (foreign.STACK_2, "isaaclab3", foreign.STACK_3),
        (foreign.STACK_3, "isaaclab2", foreign.STACK_2),
        (foreign.MIMIC, "isaaclab3", foreign.MIMIC),
        ("isaaclab_tasks:Isaac-Lift-Cube-Franka-v0", "isaaclab3", "isaaclab_tasks:Isaac-Lift-Cube-Franka-v0"),
        ("Isaac-Stack-Cube-Bin-Franka-IK-Rel-Mimic-v0", "isaaclab3", "IsaacContrib-Stack-Cube-Bin-Franka-IK-Rel-Mimic"),
        ("Isaac-Stack-Cube-Instance-Randomize-Franka-IK-Rel-v0", "isaaclab3", "IsaacContrib-Stack-Cube-Instance-Randomize-Franka-IK-Rel"),
        ("MuJoCo-Stack-Cube-Franka-IK-Rel-v0", "isaaclab2", "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"),
        ("StackThree_D0", "isaaclab3", "StackThree_D0"),
    ],
)
def test_tasks_are_called_what_that_generation_calls_them(name, to, called):
    assert env_name_for(name, to) == called


def test_the_command_says_what_it_does_before_and_after(tmp_path, mimicctl):
    foreign.mimicgen(tmp_path / "a.hdf5")
    made = mimicctl("dataset", "convert-dialect", "a.hdf5", "--to", "isaaclab3", "--json")
    assert made.returncode == 0, made.stderr
    assert "Actions are rescaled" in made.stderr and "float32" in made.stderr and "kept below mimicctl/aside" in made.stderr
    data = json.loads(made.stdout)
    assert data["demos"] == 3 and data["from"] == "mimicgen" and data["aside"] == ["states"] and Path(data["file"]).name == "a.isaaclab3.hdf5"
    again = mimicctl("dataset", "convert-dialect", "a.hdf5", "--to", "isaaclab3")
    assert again.returncode == 2 and "--overwrite" in again.stderr
    same = mimicctl("dataset", "convert-dialect", "a.hdf5", "--to", "isaaclab3", "--output-file", "a.hdf5", "--overwrite")
    assert same.returncode == 2 and "one of the inputs" in same.stderr


def test_a_file_that_forgot_its_format_is_noticed_and_put_right(tmp_path, mimicctl):
    file = foreign.isaaclab(tmp_path / "a.hdf5", 3)
    with h5py.File(file, "r+") as opened:
        del opened.attrs["format_version"]
    info = mimicctl("dataset", "info", "a.hdf5")
    assert "looks like xyzw" in info.stdout and "--from isaaclab3" in info.stdout
    convert(file, "isaaclab3", tmp_path / "b.hdf5", source="isaaclab3")
    assert differences(file, tmp_path / "b.hdf5") == {}
    with Dataset(tmp_path / "b.hdf5") as dataset:
        assert dataset.format_version == 1


def test_controllers_of_other_parts_of_the_robot_are_passed_over():
    parts = {"torso": {"type": "JOINT_POSITION", "output_max": 1.0}, "right": {"type": "OSC_POSE", "output_max": [0.1] * 3 + [0.4] * 3}}
    found = controller_of({"env_kwargs": {"controller_configs": {"body_parts": parts}}}, "here")
    assert found.limits == (0.1, 0.1, 0.1, 0.4, 0.4, 0.4)
    with pytest.raises(UserError, match="JOINT_POSITION"):
        controller_of({"env_kwargs": {"controller_configs": parts["torso"]}}, "here")
