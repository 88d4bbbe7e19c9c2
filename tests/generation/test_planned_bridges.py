"""Bridges that are planned: clear of what stands in the way, the same wherever they are found, and an arch where there are none."""

from __future__ import annotations

import dataclasses
import itertools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings, RecordSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import make_device
from mimicctl.envs import make_env, make_planner
from mimicctl.envs.base import Way
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.generation.segments import Bridge, Waypoints, bridge_waypoints
from mimicctl.generation.source import SourcePool
from mimicctl.generation.trajectory import Planner
from mimicctl.generation.trial import TrialSettings
from mimicctl.tasks import DEFAULT_TASK, Subtask, find_task
from tests.generation import two_hands

needs_ompl = pytest.mark.skipif(find_spec("ompl") is None, reason="OMPL is not installed")

WALLED = "MuJoCo-Stack-Cube-Wall-Franka-IK-Rel-v0"
OPEN = np.array([1.0])


def beside(env, name: str, height: float) -> np.ndarray:
    """The eef's pose, turned as it is now, above an object."""
    row = env.snapshot()[0]
    pose = env.eef_poses(row)["franka"].copy()
    pose[:3, 3] = poses.position(env.object_poses(row)[name]) + np.array([0.0, 0.0, height])
    return pose


def driven(env, targets: np.ndarray) -> np.ndarray:
    """Eef poses (L + 1, 4, 4) of an env whose hand is driven to targets, one after the other."""
    rows = [env.snapshot()[0]]
    for target in targets:
        here = env.eef_poses(rows[-1][None])
        env.step(env.target_poses_to_actions(here, {"franka": target[None]}, {"franka": OPEN[None]}))
        rows.append(env.snapshot()[0])
    return env.eef_poses(np.stack(rows))["franka"]


def deepest(task, path: np.ndarray) -> float:
    """How far any point of the hand is inside the wall on a path (L, 4, 4) [m]; negative: how far from it. By nothing but the two shapes as the task has them."""
    (wall,) = task.obstacles
    grids = []
    for box in task.hand:
        axes = [np.linspace(c - h, c + h, 9) for c, h in zip(box.centre, box.half_size, strict=True)]
        grids.append(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3))
    points = np.concatenate(grids)
    dense = np.concatenate([poses.interpolate(a, b, np.arange(10) / 10) for a, b in itertools.pairwise(path)])
    world = np.einsum("tij,nj->tni", poses.rotation(dense), points) + poses.position(dense)[:, None]
    return float(np.max(np.min(np.array(wall.half_size) - np.abs(world - np.array(wall.centre)), axis=-1)))


def from_side_to_side(task, seed: int):
    """An env whose hand has come to the red cube, and the pose above the blue one beyond the wall."""
    env = make_env(task)
    env.reset([0], [np.random.SeedSequence(seed)])
    down = bridge_waypoints(env.eef_poses(env.snapshot()[0])["franka"], still(beside(env, "cube_2", 0.12)), Subtask("go", "cube_2"), Bridge())
    driven(env, np.concatenate([down.poses, np.repeat(down.poses[-1:], 20, axis=0)]))
    return env, beside(env, "cube_1", 0.12)


def still(pose: np.ndarray) -> Waypoints:
    return Waypoints(pose[None], OPEN[None], np.zeros(1))


@needs_ompl
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planned_way_leads_over_the_wall_and_an_arch_into_it(seed):
    task = find_task(WALLED)
    env, end = from_side_to_side(task, seed)
    state, start = env.get_state([0]), env.eef_poses(env.snapshot()[0])["franka"]
    way = make_planner(task).way(env.snapshot()[0], start, end[None], OPEN[None], None, 0.03, 0.15, seed=5)
    followed = driven(env, way.targets)
    assert deepest(task, followed) < 0
    assert np.linalg.norm(followed[-1][:3, 3] - end[:3, 3]) < 0.006
    arch = bridge_waypoints(start, still(end), Subtask("stack", "cube_1"), Bridge("arch"))
    assert deepest(task, arch.poses) > 0
    env.set_state([0], state)
    assert np.linalg.norm(driven(env, np.concatenate([arch.poses, np.repeat(end[None], 20, axis=0)]))[-1][:3, 3] - end[:3, 3]) > 0.05


@needs_ompl
def test_a_way_depends_on_its_arguments_alone():
    task = find_task(WALLED)
    env, end = from_side_to_side(task, 1)
    row = env.snapshot()[0]
    start = env.eef_poses(row)["franka"]
    arguments = (start, end[None], OPEN[None], None, 0.03, 0.15)
    planner = make_planner(task)
    first, other = planner.way(row, *arguments, 5), planner.way(row, *arguments, 6)
    again = make_planner(task).way(row, *arguments, 5)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert first.targets.shape != other.targets.shape or not np.array_equal(first.targets, other.targets)


@needs_ompl
def test_no_way_through_a_wall_without_an_end():
    task = find_task(WALLED)
    wall = dataclasses.replace(task.obstacles[0], centre=(0.8, 0.0, 0.6), half_size=(0.6, 0.01, 0.6))
    env, end = from_side_to_side(task, 1)
    row = env.snapshot()[0]
    planner = make_planner(dataclasses.replace(task, obstacles=(wall,)))
    assert planner.way(row, env.eef_poses(row)["franka"], end[None], OPEN[None], None, 0.03, 0.15, 5) is None


@needs_ompl
def test_no_way_to_where_the_arm_does_not_reach():
    task = find_task(WALLED)
    env, end = from_side_to_side(task, 1)
    end[0, 3] = 2.0
    row = env.snapshot()[0]
    assert make_planner(task).way(row, env.eef_poses(row)["franka"], end[None], OPEN[None], None, 0.03, 0.15, 5) is None


def run(path: Path, trials: int = 4, task: str = WALLED, **settings):
    options = {"output_file": str(path), "trials": trials, "guarantee": False, "workers": 1, "num_envs": 2, "use_skillgen": True, **settings}
    return generate(task, 3, GenerateSettings(**options), None)


def logged(path: Path) -> tuple[str, list]:
    with Dataset(path) as dataset:
        return dataset.content_hash(), dataset.attempts()


@needs_ompl
def test_planned_demos_do_not_depend_on_how_the_work_is_spread(tmp_path):
    one, other = run(tmp_path / "a.hdf5", trials=2), run(tmp_path / "b.hdf5", trials=2, workers=2, num_envs=1)
    assert logged(one.path) == logged(other.path)
    assert one.report.successes >= 1
    assert one.report.sought == sum(len(attempt["sources"]) for attempt in logged(one.path)[1])


@needs_ompl
def test_where_no_way_is_found_an_arch_leads_and_the_log_says_so(tmp_path, monkeypatch):
    from mimicctl.envs.mujoco.motion_planner import PandaMotionPlanner

    monkeypatch.setattr(PandaMotionPlanner, "way", lambda *_: None)
    made = run(tmp_path / "a.hdf5", task=DEFAULT_TASK)
    names = [subtask.name for subtask in find_task(DEFAULT_TASK).subtasks["franka"]]
    assert [attempt["unplanned"] for attempt in logged(made.path)[1]] == [names] * 4
    assert (made.report.sought, made.report.unplanned) == (16, 16)
    assert made.report.successes >= 2
    assert made.report.as_dict()["planning"] == {"sought": 16, "not_found": 16}


def test_an_arch_leaves_the_log_as_it_was(tmp_path):
    made = run(tmp_path / "a.hdf5", trials=2, task=DEFAULT_TASK, use_skillgen=False)
    assert all("unplanned" not in attempt for attempt in logged(made.path)[1])
    assert "planning" not in made.report.as_dict()


def test_planning_without_ompl_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        run(tmp_path / "a.hdf5")
    assert caught.value.do == 'pip install "mimicctl[plan]"'
    assert not list(tmp_path.iterdir())


def test_planning_for_a_robot_that_nothing_plans_for_is_refused(tmp_path):
    with pytest.raises(UserError, match="no planner for the robot of MuJoCo-Drive"):
        run(tmp_path / "a.hdf5", task="MuJoCo-Drive-Tiago-v0", use_skillgen=False, bridge="plan")
    assert not list(tmp_path.iterdir())


@needs_ompl
def test_a_segment_that_leads_into_an_obstacle_has_no_room():
    task = find_task(WALLED)
    env, end = from_side_to_side(task, 1)
    row, planner = env.snapshot()[0], make_planner(task)
    start = env.eef_poses(row)["franka"]
    inside = end.copy()
    inside[1, 3] = 0.0
    into_the_wall = poses.interpolate(end, inside, np.linspace(0, 1, 20))
    rooms = [planner.way(row, start, segment, np.repeat(OPEN[None], len(segment), axis=0), None, 0.03, 0.15, 5).room for segment in (end[None], into_the_wall)]
    assert rooms[0] > 0.005 and rooms[1] < 0.001


class Rooms:
    """Finds a way to whatever is asked for, and says of each in turn how much room is left after it."""

    def __init__(self, *rooms: float | None) -> None:
        self.rooms, self.asked = list(rooms), []

    def __call__(self, start, segment, grippers, held, step, turn, seed) -> Way | None:
        self.asked.append(segment)
        room = self.rooms[len(self.asked) - 1]
        return None if room is None else Way(np.repeat(segment[:1], 3, axis=0), room)


@pytest.mark.parametrize(
    ("rooms", "taken"), [((0.04,), 0), ((-0.01, 0.04), 1), ((None, 0.04), 1), ((-0.01, None, 0.002, -0.02, -0.02, 0.001), 2), ((None,) * 6, None)]
)
def test_the_first_source_with_room_is_taken_else_that_with_the_most(rooms, taken):
    spec, demos = two_hands.task(), two_hands.pool().demos
    way = Rooms(*rooms)
    planner = Planner(SourcePool(demos + demos), TrialSettings(spec, 0, Bridge("plan")), np.random.default_rng(0))
    rest = poses.compose(np.eye(3), np.array([0.3, 0.4, 0.3]))
    track = planner.track("left", rest, None)
    planner.plan(track, "left", 0, rest, {"bar": two_hands.source(0, 0.55, 0.05, 0.1).object_poses["bar"][0]}, way)
    assert len(way.asked) == len(rooms)
    assert track.unplanned == ([0] if taken is None else [])
    followed = track.waypoints.poses[track.waypoints.lead :]
    np.testing.assert_array_equal(followed, way.asked[taken or 0])


def test_cubes_start_on_their_sides_of_the_wall():
    task = find_task(WALLED)
    env = make_env(task, 16)
    places = {name: pose[:, 1, 3] for name, pose in env.object_poses(env.snapshot()).items()}
    assert np.all(places["cube_1"] > 0.16) and np.all(places["cube_2"] < -0.16) and np.all(places["cube_3"] < -0.16)


def test_the_scripted_operator_does_not_take_a_task_with_a_wall():
    with pytest.raises(UserError, match="would run into the wall"):
        make_device(find_task(WALLED), RecordSettings(device="scripted"), 0)
