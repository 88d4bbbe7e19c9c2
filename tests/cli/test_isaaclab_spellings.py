"""Commands as Isaac Lab's pages spell them: what the flags of its launcher ask for here, and what of them is refused."""

from __future__ import annotations

import pytest

from mimicctl.cli.common import demand
from mimicctl.cli.record import _devices
from mimicctl.cli.train import _refuse_other_task
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from tests.episodes import make_episode

NUT_POUR = "MuJoCo-NutPour-G1-Pink-IK-Abs"


@pytest.mark.parametrize(
    ("given", "operators", "simulators"),
    [
        (("scripted", None, None), "scripted", None),
        (("scripted", None, "cpu"), "scripted", "cpu"),
        (("cpu", "handtracking", None), "hands", "cpu"),
        ((None, "keyboard", None), "keyboard", None),
        ((None, "keyboard", "cuda:0"), "keyboard", "cuda:0"),
        (("handtracking", None, None), "hands", None),
    ],
)
def test_device_is_the_simulators_beside_teleop_device(given, operators, simulators):
    assert _devices(*given) == (operators, simulators)


def test_two_devices_of_the_simulator_are_refused():
    with pytest.raises(UserError, match="are the same"):
        _devices("cpu", "keyboard", "cpu")


def test_cameras_are_demanded_of_a_task_that_has_some():
    demand(f"{NUT_POUR}-Visuomotor-Mimic-v0", cameras=True, pinocchio=False)
    with pytest.raises(UserError, match="has no cameras") as refused:
        demand(f"{NUT_POUR}-v0", cameras=True, pinocchio=False)
    assert refused.value.do == f"give --task {NUT_POUR}-Visuomotor-v0"
    with pytest.raises(UserError, match="has no cameras") as refused:
        demand("MuJoCo-Drive-Tiago-v0", cameras=True, pinocchio=False)
    assert refused.value.do == "leave it out"


def test_inverse_kinematics_are_demanded_where_a_humanoid_is(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    demand("MuJoCo-Lift-Cube-Franka-IK-Rel-v0", cameras=False, pinocchio=True)
    with pytest.raises(UserError, match="not installed"):
        demand(f"{NUT_POUR}-v0", cameras=False, pinocchio=True)


def test_the_nut_pours_commands_are_taken_as_isaac_lab_spells_them(mimicctl):
    """As far as they go without demonstrations: every flag is known, and what is missing is said."""
    annotate = mimicctl(
        "annotate", "--device", "cpu", "--enable_cameras", "--rendering_mode", "balanced", "--task", f"{NUT_POUR}-Visuomotor-Mimic-v0",
        "--input_file", "none.hdf5", "--output_file", "annotated.hdf5", "--enable_pinocchio",
    )  # fmt: skip
    generate = mimicctl(
        "generate", "--device", "cpu", "--headless", "--enable_cameras", "--rendering_mode", "balanced", "--task", f"{NUT_POUR}-Visuomotor-Mimic-v0",
        "--generation_num_trials", "1", "--num_envs", "1", "--input_file", "none.hdf5", "--output_file", "generated.hdf5",
    )  # fmt: skip
    train = mimicctl("train", "--task", f"{NUT_POUR}-v0", "--algo", "bc", "--normalize_training_actions", "--dataset", "none.hdf5")
    for refused in (annotate, generate, train):
        assert refused.returncode == 2 and "none.hdf5" in refused.stderr and "No such option" not in refused.stderr


@pytest.mark.parametrize(
    ("recorded", "named", "refused"),
    [
        (f"{NUT_POUR}-Visuomotor-v0", f"{NUT_POUR}-v0", False),
        (f"{NUT_POUR}-Visuomotor-v0", f"{NUT_POUR}-Mimic-v0", False),
        (f"{NUT_POUR}-v0", f"{NUT_POUR}-Visuomotor-v0", True),
        (f"{NUT_POUR}-Visuomotor-v0", "MuJoCo-PickPlace-G1-Pink-IK-Abs-v0", True),
    ],
)
def test_what_was_drawn_is_trained_by_the_name_of_the_task_without_cameras(tmp_path, recorded, named, refused):
    """As the nut pour is, whose demonstrations on Isaac Lab always have images."""
    path = tmp_path / "a.hdf5"
    with DatasetWriter(path, task_id=recorded, lineage={"made_by": "test"}) as out:
        out.write(make_episode(0, 12))
    if not refused:
        _refuse_other_task(path, named)
        return
    with pytest.raises(UserError, match="another task"):
        _refuse_other_task(path, named)
