"""Two arms that lift a tray: what counts as lifted, how actions are laid out, who can drive, and the loop from recording to annotation."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings, RecordSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import Command, make_device
from mimicctl.devices.hand_tracking import HandTracking
from mimicctl.devices.hands import hands_from_webxr
from mimicctl.envs import make_env
from mimicctl.envs.mujoco import panda
from mimicctl.envs.replay import by_actions, divergence
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.recording.quality import quality_of
from mimicctl.recording.scene_view import draw_scene
from mimicctl.recording.session import Outcome, Progress, Rules, commands_of, look, run_session
from mimicctl.recording.status import current_subtask
from mimicctl.tasks import find_task
from tests.devices import webxr

TRAY = "MuJoCo-Lift-Tray-Dual-Franka-IK-Abs-v0"
TASK = find_task(TRAY)
EEFS = ("left", "right")


@pytest.fixture(scope="module")
def env():
    made = make_env(TASK)
    yield made
    made.close()


def held_at(env, height: float, tilt: float = 0.0, opening: float = 0.011) -> np.ndarray:
    """A snapshot with the tray so high above where it stands [m], turned by `tilt` [rad] about y, and both hands at its handles."""
    env.reset([0], [np.random.SeedSequence(1)])
    snapshot = env.snapshot([0])[0]
    tray = poses.compose(poses.matrix_from_rotvec(np.array([0.0, tilt, 0.0])), np.array([0.5, 0.0, TASK.object("tray").rest_height + height]))
    first = env.layout.objects["tray"][0]
    snapshot[first : first + 3] = poses.position(tray)
    snapshot[first + 3 : first + 7] = poses.wxyz_from_xyzw(poses.quat_from_matrix(poses.rotation(tray)))
    for eef in EEFS:
        columns = env.reader.hand_columns(eef)
        snapshot[columns][:3] += env.reader.to_handle(snapshot, eef)
        snapshot[env.layout.arms[eef].finger_qpos] = opening
    return snapshot


@pytest.mark.parametrize(
    ("height", "tilt", "opening", "success"),
    [(0.101, 0.0, 0.011, True), (0.099, 0.0, 0.011, False), (0.101, 0.10, 0.011, False), (0.101, 0.07, 0.011, True), (0.101, 0.0, 0.04, False)],
    ids=["held high", "not high enough", "tilted", "nearly level", "thrown, grippers open"],
)
def test_success_is_a_level_tray_held_by_both_ten_centimetres_up(env, height, tilt, opening, success):
    assert bool(env.success(held_at(env, height, tilt, opening))) is success


@pytest.mark.parametrize("eef", EEFS)
def test_each_hand_has_its_signal_and_success_needs_both(env, eef):
    snapshot = held_at(env, 0.12)
    assert env.signals(snapshot) == {"grasp_left": True, "grasp_right": True}
    snapshot[env.layout.arms[eef].finger_qpos] = 0.04
    assert not env.signals(snapshot)[f"grasp_{eef}"] and sum(env.signals(snapshot).values()) == 1
    assert not env.success(snapshot)


def test_actions_are_both_hand_poses_and_then_both_grippers(env):
    eefs = {eef: pose[None] for eef, pose in env.eef_poses(env.snapshot([0])[0]).items()}
    targets = {eef: poses.apply_delta(pose, np.array([0.02, -0.01, 0.03, 0.1, 0.2, -0.1])) for eef, pose in eefs.items()}
    actions = env.target_poses_to_actions(eefs, targets, {"left": np.array([[1.0]]), "right": np.array([[-1.0]])})
    assert actions.shape == (1, TASK.action_dim) == (1, 16) and TASK.action_layout == "vqvq.."
    np.testing.assert_array_equal(actions[0, 14:], [1, -1])
    back = env.actions_to_target_poses(eefs, actions)
    for number, eef in enumerate(EEFS):
        np.testing.assert_allclose(back[eef], targets[eef], atol=1e-6)
        tool = poses.position(targets[eef])[0] - panda.TOOL_OFFSET * poses.rotation(targets[eef])[0, :, 2]
        np.testing.assert_allclose(actions[0, 7 * number : 7 * number + 3], tool, atol=1e-6)
        assert env.gripper_actions(actions)[eef].shape == (1, 1)


def test_noise_moves_the_arm_that_it_is_for_and_no_gripper(env):
    eefs = {eef: pose[None] for eef, pose in env.eef_poses(env.snapshot([0])[0]).items()}
    actions = env.target_poses_to_actions(eefs, eefs, dict.fromkeys(EEFS, np.array([[-1.0]])))
    noisy = env.noisy_actions(actions, {"left": np.array([[0.01, 0, 0, 0, 0, 0.02]]), "right": np.zeros((1, 6))})
    np.testing.assert_allclose(noisy[0, 7:], actions[0, 7:], atol=1e-6)
    tool = env.actions_to_target_poses({}, noisy)["left"]
    np.testing.assert_allclose(poses.delta_between(eefs["left"], tool), [[0.01, 0, 0, 0, 0, 0.02]], atol=1e-6)


def test_observations_are_of_both_arms_and_say_the_ways_to_the_handles(env):
    seen = env.observations(env.snapshot([0])[0])
    assert {key: value.shape[0] for key, value in seen.items()} == {
        "actions": 16, "joint_pos": 18, "joint_vel": 18, "object": 13, "gripper_pos": 4,
        "left_eef_pos": 3, "left_eef_quat": 4, "right_eef_pos": 3, "right_eef_quat": 4,
    }  # fmt: skip
    tray = env.object_poses(env.snapshot([0])[0])["tray"]
    for number, eef in enumerate(EEFS):
        handle = (tray @ np.array([*TASK.goal.handles[eef], 1.0]))[:3]
        np.testing.assert_allclose(seen["object"][7 + 3 * number : 10 + 3 * number], handle - seen[f"{eef}_eef_pos"], atol=1e-6)


def test_arms_collide_with_one_another_and_neither_with_itself(env):
    model = env.model

    def meet(a: int, b: int) -> bool:
        return bool(model.geom_contype[a] & model.geom_conaffinity[b] or model.geom_contype[b] & model.geom_conaffinity[a])

    body = {name: model.body(f"{name}_panda_hand").id for name in EEFS}
    left, right = (next(i for i in range(model.ngeom) if model.geom_bodyid[i] == body[eef]) for eef in EEFS)
    table = model.geom("table").id
    assert meet(left, right) and not meet(left, left) and not meet(right, right)
    assert all(meet(hand, other) for hand in (left, right) for other in (table, model.geom("tray/plate").id))


def test_the_scripted_operator_lifts_with_both_arms_in_step(env):
    device, tilts = make_device(TASK, RecordSettings(device="scripted"), 4), []
    progress = Progress(Rules(wanted=3, hold_needed=10))

    def watch(now: Progress) -> None:
        tilts.append(np.arccos(min(1.0, now.view.object_poses["tray"][2, 2])))

    run_session(env, device, None, progress, seed=4, on_step=watch)
    assert progress.outcomes == [Outcome.SAVED] * 3 and np.degrees(max(tilts)) < 5
    assert not device.human and "left and right" in device.help()


class TwoHands:
    """A person with a controller in each hand, who looks where the arms are and moves the hands accordingly."""

    def __init__(self, env) -> None:
        self._env = env
        self.device = HandTracking(RecordSettings(hand_smoothing=0.0, hand_dead_bands=[0.0, 0.0]), TASK)
        self._at = {eef: np.zeros(3) for eef in EEFS}
        self._closed, self._steps, self.name, self.human = 0, 0, "hands", True
        self.facts, self.help = self.device.facts, self.device.help

    def reset(self) -> None:
        self.device.reset()
        self._closed = self._steps = 0

    def command(self, view) -> Command:
        tray = view.object_poses["tray"]
        views = dict(zip(EEFS, (view, *view.others.values()), strict=True))
        gaps = {eef: (tray @ np.array([*TASK.goal.handles[eef], 1.0]))[:3] - poses.position(views[eef].eef_pose) for eef in EEFS}
        there = all(np.linalg.norm(gap) < 0.004 for gap in gaps.values())
        self._closed += there or self._closed > 0
        seen = {}
        for eef, gap in gaps.items():
            step = np.array([0.0, 0.0, 0.004 if self._closed > 12 else 0.0]) if self._closed else 0.3 * gap * (1, 1, np.linalg.norm(gap[:2]) < 0.006)
            self._at[eef] = self._at[eef] + np.clip(step, -0.01, 0.01)
            x, y, z = self._at[eef]
            seen[eef] = webxr.controller((-y, z, -x), squeeze=1, trigger=1 if self._closed else 0)
        self.device.feed(hands_from_webxr(seen))
        return self.device.command(view)


def test_both_hands_of_a_headset_lift_the_tray(env):
    person, progress = TwoHands(env), Progress(Rules(wanted=1, hold_needed=10))
    # Turned handles ask for a turn of the wrist; this one is nearly straight.
    seed = next(s for s in range(100) if _yaw_at_start(env, s) < 0.05)
    run_session(env, person, None, progress, seed=seed)
    assert progress.outcomes[-1] is Outcome.SAVED
    assert person.device.state == "left following, right following" and person.device.facts()["hand"] == "both"


def _yaw_at_start(env, seed: int) -> float:
    env.reset([0], [np.random.SeedSequence(seed, spawn_key=(1_000_003, 0))])
    tray = env.object_poses(env.snapshot([0])[0])["tray"]
    return abs(float(np.arctan2(tray[1, 0], tray[0, 0])))


def test_a_hand_moves_its_own_arm_alone():
    device = HandTracking(RecordSettings(hand_smoothing=0.0, hand_dead_bands=[0.0, 0.0]), TASK)
    env_view = look(made := make_env(TASK), made.snapshot([0])[0], 0)
    for z in (0.0, -0.02):
        device.feed(hands_from_webxr({"left": webxr.controller((0, 0, z), squeeze=1), "right": webxr.controller((0, 0, z))}))
        each = commands_of(TASK, device.command(env_view))
    np.testing.assert_allclose(each["left"].delta, [0.02 / TASK.command_scale, 0, 0, 0, 0, 0], atol=1e-9)
    assert not each["right"].delta.any() and device.state == "left following, right clutch released"
    made.close()


@pytest.mark.parametrize("device", ["keyboard", "gamepad", "udp"])
def test_a_device_with_axes_for_one_arm_is_refused(mimicctl, device):
    if device == "gamepad":
        pytest.importorskip("pygame")
    refused = mimicctl("record", "--task", TRAY, "--device", device)
    assert refused.returncode == 2 and "has 2 arms" in refused.stderr and "--device hands" in refused.stderr


def test_a_device_of_another_package_that_drives_one_arm_is_refused():
    with pytest.raises(UserError, match="nothing moves right"):
        commands_of(TASK, Command(np.zeros(6), 1.0))


def test_recording_replaying_and_annotating_follow_one_another(mimicctl):
    recorded = mimicctl("record", "--device", "scripted", "--task", TRAY, "--num-demos", "2", "--json")
    assert recorded.returncode == 0, recorded.stderr
    assert "lifts tray with left and right" in recorded.stderr and "now: left lift, right lift" in recorded.stderr
    replayed = mimicctl("replay", "--verify", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(mimicctl("annotate", "--json").stdout)["demos"] == 2
    checked = mimicctl("dataset", "check", "datasets/annotated.hdf5", "--json")
    assert checked.returncode == 0, checked.stdout


def test_demonstrations_that_come_with_it_replay_exactly(env):
    with resources.as_file(resources.files("mimicctl") / "data" / TASK.source_demos) as path, Dataset(Path(path)) as dataset:
        assert dataset.task_id == TRAY and len(dataset.demos) == 5
        for name, episode in dataset.episodes():
            snapshots = np.stack(list(by_actions(env, episode)))
            assert divergence(env, episode, snapshots, 1e-9).step is None, name
            assert env.success(snapshots[-1]) and episode.datagen_info["subtask_term_signals/grasp_right"].any()


def test_demonstrations_that_come_with_it_make_more_with_both_hands_in_step(tmp_path):
    made = generate(TRAY, 5, GenerateSettings(trials=4, workers=1, num_envs=4, output_file=str(tmp_path / "g.hdf5")), None)
    assert made.demos == 4
    with Dataset(made.path) as dataset:
        for name, episode in dataset.episodes():
            x, y = episode.states["rigid_object/tray/root_pose"][:, 3:5].T
            assert np.degrees(np.arccos(1 - 2 * (x**2 + y**2))).max() < 8, name


def test_the_quality_of_a_take_counts_both_arms(env):
    device, kept = make_device(TASK, RecordSettings(device="scripted"), 0), []

    class Keep:
        def write(self, episode) -> None:
            kept.append(episode)

    run_session(env, device, Keep(), Progress(Rules(wanted=1, hold_needed=10)), seed=0)
    episode, grippers = kept[0], env.gripper_actions(kept[0].actions)
    both = quality_of(episode, 20.0, grippers)
    episode.obs["right_eef_pos"] = np.repeat(episode.obs["right_eef_pos"][:1], len(episode), axis=0)
    episode.obs["right_eef_quat"] = np.repeat(episode.obs["right_eef_quat"][:1], len(episode), axis=0)
    assert quality_of(episode, 20.0, grippers).idle >= both.idle  # a pause is one of both
    # An arm that does nothing does not make the other one's way look better or worse.
    assert quality_of(episode, 20.0, grippers).directness == pytest.approx(quality_of(episode, 20.0, {"left": grippers["left"]}).directness)


def test_the_terminal_shows_both_grippers_and_says_what_each_has_to_do(env):
    text = draw_scene(TASK, look(env, held_at(env, 0.05), 0)).plain
    assert text.count("┳") == 2 and "left x +0.0" in text and "right x +0.0" in text
    assert current_subtask(TASK, {"grasp_left": True, "grasp_right": False}) == "left lift, right grasp"
