"""Every check of a task passes on a sound one, and fails on one that has just that fault."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.authoring.check import Finding, check_task
from mimicctl.authoring.spec_checks import OF_THE_SPEC
from mimicctl.envs.mujoco.env import MujocoEnv
from mimicctl.errors import UserError
from mimicctl.tasks import Lift, ObjectSpec, TaskSpec, find_task
from tests.conftest import ROOT

LIFT, STACK, DRIVE = (find_task(f"MuJoCo-{name}-v0") for name in ("Lift-Cube-Franka-IK-Rel", "Stack-Cube-Franka-IK-Rel", "Drive-Tiago"))
TRAY = find_task("MuJoCo-Lift-Tray-Dual-Franka-IK-Abs-v0")
LIFT_DEMOS = ROOT / "mimicctl" / "data" / "lift_cube_franka.hdf5"
CUBE = LIFT.objects[0]


def fault_of(findings: list[Finding], check: str) -> Finding:
    """The finding of that name, which must be the first that failed, and have a remedy."""
    failed = [finding for finding in findings if not finding.ok]
    assert failed and failed[0].check == check, findings
    assert failed[0].what and failed[0].do
    return failed[0]


def with_subtasks(task: TaskSpec, *changes: dict) -> TaskSpec:
    (eef, subtasks), *_ = task.subtasks.items()
    return replace(task, subtasks={eef: tuple(replace(s, **change) for s, change in zip(subtasks, changes, strict=True))})


def with_reset(task: TaskSpec, **changes) -> TaskSpec:
    return replace(task, reset=replace(task.reset, **changes))


def with_instances(*instances: ObjectSpec) -> TaskSpec:
    return replace(LIFT, objects=(replace(CUBE, instances=instances),))


def twins(count: int) -> tuple[ObjectSpec, ...]:
    return tuple(replace(CUBE, name=f"cube_{i}" if i else "cube") for i in range(count))


# Sound ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [LIFT, DRIVE], ids=lambda task: task.task_id)
def test_a_task_that_comes_with_mimicctl_passes(task):
    done = []
    findings = check_task(task, resets=2, on_attempt=done.append)
    assert all(finding.ok for finding in findings), findings
    assert len(findings) == 17 and done[-1] == 2


def test_demonstrations_of_a_file_stand_in_for_the_operator():
    findings = check_task(LIFT, input_file=LIFT_DEMOS)
    assert all(finding.ok for finding in findings), findings
    assert "scripted operator" not in [finding.check for finding in findings]
    assert "in all 5" in next(finding.what for finding in findings if finding.check == "signals in order")


def test_automatic_interpolation_is_no_fault():
    automatic = with_subtasks(LIFT, {}, {"num_interpolation_steps": "auto"})
    assert all(check(automatic) for _, check in OF_THE_SPEC)


# Faults in a task file ---------------------------------------------------------------------------------

FAULTS = {
    "a subtask about nothing": ("names", with_subtasks(LIFT, {"object_ref": "ball"}, {}), "about ball"),
    "a goal about nothing": ("names", replace(LIFT, goal=Lift("ball", 0.1)), "the goal is about ball"),
    "two objects of one name": ("names", replace(LIFT, objects=(CUBE, CUBE)), "two objects cube"),
    "two instances of one name": ("names", with_instances(*[replace(CUBE, name="cube/a")] * 2), "two objects cube/a"),
    "an instance called otherwise": ("names", with_instances(replace(CUBE, name="ball")), "an instance of cube is called ball"),
    "an instance of another size": ("names", with_instances(replace(CUBE, name="cube/a", edge=0.05)), "not like cube but for its looks"),
    "another end-effector": ("names", replace(LIFT, subtasks={"arm": LIFT.subtasks["franka"]}), "subtasks are of arm"),
    "no subtask": ("subtasks", replace(LIFT, subtasks={"franka": ()}), "no subtask"),
    "a subtask without an end": ("subtasks", with_subtasks(LIFT, {"term_signal": None}, {}), "no term_signal"),
    "a signal after the last": ("subtasks", with_subtasks(LIFT, {}, {"term_signal": "lift_1"}), "the last"),
    "offsets the wrong way round": ("subtasks", with_subtasks(LIFT, {"term_offset_range": (6, 2)}, {}), "from 6 to 2"),
    "no neighbour": ("subtasks", with_subtasks(LIFT, {"nn_k": 0}, {}), "below"),
    "less than no noise": ("subtasks", with_subtasks(LIFT, {"contact_noise": -0.1}, {}), "below"),
    "one signal twice": (
        "subtasks",
        replace(LIFT, subtasks={"franka": (LIFT.subtasks["franka"][0], *LIFT.subtasks["franka"])}),
        "same signal",
    ),
    "a cube of no size": ("env", replace(LIFT, objects=(replace(CUBE, edge=-1.0),)), "cannot be made"),
    "a signal that there is not": ("signals", with_subtasks(LIFT, {"term_signal": "grasp_7"}, {}), "grasp_7"),
    "no room": ("start states", with_reset(replace(LIFT, objects=twins(4)), min_separation=0.5), "do not find room"),
    "a range the wrong way round": ("reset range", with_reset(LIFT, x=(0.6, 0.4)), "from 0.6 to 0.4"),
    "a range of nothing": ("reset range", with_reset(LIFT, y_of={"ball": (0.0, 0.1)}), "about ball"),
    "a range of its own the wrong way round": ("reset range", with_reset(LIFT, y_of={"cube": (0.1, 0.0)}), "from 0.1 to 0.0"),
    "a range of its own beyond the common one": ("reset range", with_reset(LIFT, y_of={"cube": (0.0, 0.9)}), "leaves reset.y"),
    "a constraint about nothing": (
        "constraints",
        replace(TRAY, constraints=(replace(TRAY.constraints[0], eef_subtask_constraint_tuple=(("left", 1), ("right", 7))),)),
        'no subtask 7 of "right"',
    ),
    "closer than together": ("reset range", with_reset(LIFT, min_separation=-0.1), "below 0"),
    "beside the table": ("start states", with_reset(LIFT, x=(1.2, 1.3)), "moves"),
    "one in the other": ("start states", with_reset(replace(LIFT, objects=twins(3)), x=(0.5, 0.51), y=(0.0, 0.01), min_separation=0.0), "moves"),
    "there already": ("not done at the start", replace(DRIVE, goal=replace(DRIVE.goal, distance=9.0, angle=4.0)), "a success already"),
    "a layout too wide": ("observations", replace(LIFT, obs_layout={"eef_pos": "vv"}), "is 6 wide"),
    "a layout of nothing": ("observations", replace(LIFT, obs_layout={"eef_poss": "v"}), "not observed"),
    "a layout in other letters": ("observations", replace(LIFT, obs_layout={"eef_pos": "xyz"}), "'x'"),
    "an arm that does not move": ("actions", replace(LIFT, action_scale=0.0), "goes 0.0 cm"),
    "a goal too high": ("scripted operator", replace(LIFT, goal=Lift("cube", 0.9), horizon=150), "attempt 1 timed out"),
    "too little time": ("scripted operator", replace(LIFT, horizon=20), "masters 0.0 % (0 of 2"),
    "out of reach": ("scripted operator", with_reset(replace(LIFT, horizon=120), x=(0.75, 0.8), y=(0.5, 0.55)), "masters 0.0 %"),
    "offsets too wide": ("offsets", with_subtasks(LIFT, {"term_offset_range": (2, 200)}, {}), "too short"),
    "subtasks in another order": (
        "signals in order",
        with_subtasks(STACK, {"term_signal": "grasp_2"}, {}, {"term_signal": "grasp_1"}, {}),
        "stack_1 rises at step",
    ),
}


@pytest.mark.parametrize(("check", "task", "what"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_a_task_file_is_found(check, task, what):
    assert what in fault_of(check_task(task, resets=2), check).what


def test_a_failure_now_and_then_is_told_and_is_no_fault(monkeypatch):
    from mimicctl.authoring import check

    def one_failed(env, count, seed, on_attempt):
        first, *others = original(env, count, seed, on_attempt)
        return [dataclasses.replace(first, outcome="timed out", saved=False), *others]

    original = check.attempts_of_operator
    monkeypatch.setattr(check, "attempts_of_operator", one_failed)
    findings = check_task(LIFT, resets=10)
    assert all(finding.ok for finding in findings), findings
    assert any("attempt 1 timed out" in finding.what for finding in findings)


# Faults in an env -----------------------------------------------------------------------------------------


class NotANumber(MujocoEnv):
    def observations(self, snapshot):
        return super().observations(snapshot) | {"eef_pos": np.full((*snapshot.shape[:-1], 3), np.nan, np.float32)}


class Wide(MujocoEnv):
    def observations(self, snapshot):
        return super().observations(snapshot) | {"eef_pos": super().observations(snapshot)["eef_pos"].astype(np.float64)}


class SeesTheBatch(MujocoEnv):
    def observations(self, snapshot):
        return super().observations(snapshot) | {"neighbours": np.full((*snapshot.shape[:-1], 1), snapshot.ndim, np.float32)}


class AimsAside(MujocoEnv):
    def actions_to_target_poses(self, eef_poses, actions):
        targets = super().actions_to_target_poses(eef_poses, actions)
        targets["franka"][..., 0, 3] += 0.01
        return targets


class NoLimits(MujocoEnv):
    def noisy_actions(self, actions, noise):
        noisy = actions.copy()
        noisy[..., :6] += noise["franka"].astype(np.float32)
        return noisy


class NoiseOnTheGripper(MujocoEnv):
    def noisy_actions(self, actions, noise):
        noisy = super().noisy_actions(actions, noise)
        noisy[..., 6] += noise["franka"][..., 0]
        return noisy


class NoiseOfItsOwn(MujocoEnv):
    def noisy_actions(self, actions, noise):
        return super().noisy_actions(actions, {"franka": noise["franka"] + 0.01})


class Forgets(MujocoEnv):
    def set_state(self, env_ids, states):
        pass


class PutsBackElsewhere(MujocoEnv):
    def reset_to(self, env_ids, states):
        super().reset_to(env_ids, [state | {"rigid_object/cube/root_pose": state["rigid_object/cube/root_pose"] + np.float32(1e-4)} for state in states])


class Coarse(MujocoEnv):
    """Starts from more digits than a file has."""

    def reset(self, env_ids, seeds):
        super().reset(env_ids, seeds)
        for env_id in env_ids:
            self._data[env_id].qpos += 1e-12
            self._look(env_id)


class EarlySignal(MujocoEnv):
    def signals(self, snapshot):
        return {name: np.ones_like(value) for name, value in super().signals(snapshot).items()}


class NoSignal(MujocoEnv):
    def signals(self, snapshot):
        return {name: np.zeros_like(value) for name, value in super().signals(snapshot).items()}


class Breaks(MujocoEnv):
    def gripper_actions(self, actions):
        raise KeyError("gripper")


@pytest.mark.parametrize(
    ("env", "check", "what"),
    [
        (NotANumber, "observations", "eef_pos is not finite"),
        (Wide, "observations", "float64"),
        (SeesTheBatch, "observations", "neighbours of one state is another in a batch"),
        (AimsAside, "actions", "off by 0.01"),
        (NoLimits, "noise", "noise takes actions to"),
        (NoiseOnTheGripper, "noise", "gripper"),
        (NoiseOfItsOwn, "noise", "no noise changes actions"),
        (Forgets, "state", "does not continue"),
        (PutsBackElsewhere, "scene state", "has another rigid_object/cube/root_pose"),
        (Coarse, "scene state", "moves on differently"),
        (EarlySignal, "not done at the start", "grasp_1 is true in a start state"),
        (NoSignal, "signals in order", "grasp_1 never rises in attempt 1"),
        (Breaks, "actions", "KeyError: 'gripper'"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_fault_in_an_env_is_found(monkeypatch, env, check, what):
    monkeypatch.setattr("mimicctl.authoring.check.make_env", env)
    assert what in fault_of(check_task(LIFT, resets=1), check).what


# Faults in demonstrations -----------------------------------------------------------------------------------


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    return Path(shutil.copy(LIFT_DEMOS, tmp_path / "demos.hdf5"))


def test_a_demonstration_that_does_not_succeed_is_named(demos):
    with h5py.File(demos, "r+") as file:
        file["data/demo_2/actions"][:, -1] = 1.0  # the gripper stays open
    assert "demo_2 does not end in success" in fault_of(check_task(LIFT, input_file=demos), "success").what


def test_a_replay_that_leaves_its_recording_is_found(demos):
    with h5py.File(demos, "r+") as file:
        file["data/demo_1/states/articulation/robot/joint_position"][7, 0] += 1e-6
    assert "demo_1, played again, leaves its recording at step 7" in fault_of(check_task(LIFT, input_file=demos), "replay").what


def test_demonstrations_of_another_task_are_refused(source_file):
    with pytest.raises(UserError):
        check_task(LIFT, input_file=source_file)


# The command --------------------------------------------------------------------------------------------------


def test_the_command_says_what_is_wrong_and_exits_with_1(mimicctl, tmp_path):
    made = json.loads(mimicctl("tasks", "new", "mine", "--json").stdout)
    path = Path(made["file"])
    path.write_text(path.read_text().replace('"grasp_1", (2, 6)', '"grasp_1", (2, 90)'))
    done = mimicctl("tasks", "check", made["id"], "--resets", "1")
    assert done.returncode == 1 and "1 of 17 checks failed" in done.stdout
    assert "FAILED" in done.stdout and "do  make term_offset_range of the subtask before it smaller" in done.stdout
    told = mimicctl("tasks", "check", made["id"], "--resets", "1", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["complete"]
    checks = json.loads(told.stdout)["checks"]
    assert [check["check"] for check in checks if not check["ok"]] == ["offsets"]


def test_the_command_says_that_checks_were_left_out(mimicctl):
    made = json.loads(mimicctl("tasks", "new", "mine", "--json").stdout)
    path = Path(made["file"])
    path.write_text(path.read_text().replace('"lift", "cube"', '"lift", "ball"'))
    done = mimicctl("tasks", "check", made["id"])
    assert done.returncode == 1 and "1 of 4 checks failed; those that need what failed were left out." in done.stdout


def test_a_task_that_there_is_not_cannot_be_checked(mimicctl):
    done = mimicctl("tasks", "check", "MuJoCo-Nothing-v0")
    assert done.returncode == 2 and "There is no task" in done.stderr
