"""Hands that a robot's body takes along."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings
from mimicctl.errors import UserError
from mimicctl.generation.diagnosis import LOST_GRASP, NEVER_ARRIVED, diagnose
from mimicctl.generation.overrides import with_overrides
from mimicctl.generation.segments import Bridge
from mimicctl.generation.source import SourceDemo, SourcePool
from mimicctl.generation.trial import TrialSettings, run_trials
from mimicctl.schema import Episode
from mimicctl.tasks import DEFAULT_TASK, Lift, ObjectSpec, Subtask, SubtaskConstraint, TaskSpec, find_task
from mimicctl.tasks.spec import BODY

LENGTH, RIDES, FAST = 20, 12, 0.06
ALOFT = np.array([0.2, 0.0, 0.3])
SHIFT = 0.4


def task() -> TaskSpec:
    """Ride on a cart to a mark, and point at it."""
    plain = {"action_noise": 0.0, "num_interpolation_steps": 0, "nn_k": 1}
    return dataclasses.replace(
        find_task(DEFAULT_TASK),
        objects=(ObjectSpec("mark", "grey", 0.1, 0.3, (0.5, 0.5, 0.5, 1.0)),),
        goal=Lift("mark", 0.1),
        hand=(),
        subtasks={BODY: (Subtask("go", "mark", None, **plain),), "hand": (Subtask("ride", BODY, "there", **plain), Subtask("point", "mark", None, **plain))},
        constraints=(SubtaskConstraint(((BODY, 0), ("hand", 1)), "sequential"),),
        success_hold_steps=1,
    )


def at(points: np.ndarray) -> np.ndarray:
    return poses.compose(np.eye(3), np.asarray(points, dtype=float))


def pool() -> SourcePool:
    """The cart goes by 10 cm a step; the hand rises by 1 cm while it rides."""
    step = np.arange(LENGTH)
    cart = np.stack([np.minimum(0.1 * step, 1.0), 0 * step, 0 * step], axis=-1)
    hand = cart + ALOFT + np.stack([0 * step, 0 * step, 0.01 * step], axis=-1)
    hand[RIDES:] = (1.2, 0.0, 0.1)
    mark = np.broadcast_to(np.array([1.2, 0.0, 0.0]), (LENGTH, 3))
    eefs = {BODY: at(cart), "hand": at(hand)}
    grippers = {BODY: np.zeros((LENGTH, 0)), "hand": np.ones((LENGTH, 1))}
    return SourcePool((SourceDemo("demo_0", eefs, eefs, grippers, {"mark": at(mark)}, {BODY: (LENGTH,), "hand": (RIDES, LENGTH)}),))


class Cart:
    """See `MimicEnv`. A row is where cart, hand and mark are; the hand is where it is sent at once, and the cart after a while."""

    num_envs = 1

    def __init__(self) -> None:
        self.task, self._row = task(), np.zeros(9)

    def reset(self, env_ids, seeds) -> None:
        self._row = np.array([0.0, 0.0, 0.0, *ALOFT, 1.2 + SHIFT, 0.0, 0.0])

    def step(self, actions, env_ids) -> None:
        self._row[:3] += np.clip(actions[0, :3] - self._row[:3], -FAST, FAST)
        self._row[3:6] = actions[0, 3:]

    def snapshot(self, env_ids=None) -> np.ndarray:
        return self._row[None].copy()

    def eef_poses(self, snapshot) -> dict[str, np.ndarray]:
        return {BODY: at(snapshot[..., :3]), "hand": at(snapshot[..., 3:6])}

    def object_poses(self, snapshot) -> dict[str, np.ndarray]:
        return {"mark": at(snapshot[..., 6:])}

    def signals(self, snapshot) -> dict[str, np.ndarray]:
        return {"there": snapshot[..., 0] > 0.9 + SHIFT}

    def success(self, snapshot) -> np.ndarray:
        return snapshot[..., 5] < 0.15

    def target_poses_to_actions(self, eef_poses, targets, grippers) -> np.ndarray:
        return np.concatenate([poses.position(targets[BODY]), poses.position(targets["hand"])], axis=-1)

    def noisy_actions(self, actions, noise) -> np.ndarray:
        return actions

    def navigation(self, snapshot) -> tuple[np.ndarray, np.ndarray]:
        gone = snapshot[..., 0] >= 1.0 + SHIFT - 1e-9
        return (snapshot[..., 0] > 0) & ~gone, gone

    def on_the_way(self, snapshot, goal) -> np.ndarray:
        return goal

    def episode(self, snapshots, actions, *, with_datagen_info) -> Episode:
        return Episode(actions, actions, {"rows": snapshots[:-1]}, {}, {})


def run(**settings) -> tuple[np.ndarray, np.ndarray]:
    """(T, 3) where the cart was, and where the hand was sent, of a trial."""
    numbers = iter(range(1))
    options = TrialSettings(task(), 7, Bridge("straight"), keep_failed=True, **settings)
    (result,) = run_trials(Cart(), pool(), options, lambda: next(numbers, None))
    assert result.success
    return result.episode.obs["rows"][:, :3], result.episode.actions[:, 3:]


def test_a_hand_keeps_its_relation_to_a_body_that_is_late_and_then_to_its_object():
    cart, hand = run()
    rise = 0.01 * np.minimum(np.maximum(np.arange(LENGTH + 1) - 1, 0), RIDES - 1)
    np.testing.assert_allclose(hand[: LENGTH + 1] - cart[: LENGTH + 1], ALOFT + np.stack([0 * rise, 0 * rise, rise], axis=-1), atol=1e-9)
    np.testing.assert_allclose(hand[-1], (1.2 + SHIFT, 0.0, 0.1), atol=1e-9)
    assert cart[LENGTH, 0] < 1.0 + SHIFT


def test_a_controller_has_the_goal_from_the_beginning_and_hands_wait_until_the_body_is_there():
    cart, hand = run(use_navigation_controller=True)
    there = int(np.argmax(cart[:, 0] >= 1.0 + SHIFT - 1e-9))
    assert there == pytest.approx((1.0 + SHIFT) / FAST, abs=1)
    assert (hand[:there, 2] > 0.25).all() and hand[-1, 2] == pytest.approx(0.1) and len(hand) <= there + 4


def test_only_hands_of_a_robot_with_a_body_are_about_it():
    spec = task()
    assert (spec.references(BODY), spec.references("hand")) == (["mark"], ["mark", BODY])
    with pytest.raises(UserError, match='no object "body"'):
        with_overrides(spec, GenerateSettings(subtasks={BODY: [{"object_ref": BODY}]}))


def test_a_body_is_to_blame_that_did_not_arrive_and_a_hand_that_lost_what_was_carried():
    spec = task()
    steps = {BODY: (Subtask("go", "mark", "there"), Subtask("stand", "mark")), "hand": (Subtask("ride", BODY, "there"), Subtask("point", "mark"))}
    still = np.array([[0.0, 0.0, 0.0, *ALOFT, 1.6, 0.0, 0.0]] * 3)
    verdict = diagnose(Cart(), still, dataclasses.replace(spec, subtasks=steps), success=False)
    assert (verdict.eef, verdict.reason, verdict.reached) == (BODY, NEVER_ARRIVED, {BODY: 0, "hand": 0})

    carrying = (Subtask("grasp", "mark", "grasp_mark"), Subtask("carry", BODY, "there"), Subtask("place", "mark"))
    env = Cart()
    env.signals = lambda rows: {"grasp_mark": np.array([False, True, True, True]), "there": np.array([False, False, True, True])}
    rows = np.array([[0.0, 0.0, 0.0, 1.6, 0.0, 0.3, 1.6, 0.0, 0.3]] * 3 + [[0.0, 0.0, 0.0, 1.6, 0.0, 0.3, 1.6, 0.0, 0.0]])
    verdict = diagnose(env, rows, dataclasses.replace(spec, subtasks={BODY: steps[BODY], "hand": carrying}), success=False)
    assert (verdict.eef, verdict.reason, verdict.reached["hand"]) == ("hand", LOST_GRASP, 2)
