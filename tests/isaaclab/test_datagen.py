"""Our generation engine beside Isaac Lab 3.0's own functions, on a thousand random cases each.

`isaaclab_mimic.datagen` is imported without the simulator: it needs torch, and, of the rest, names of classes that are only asked for in annotations.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import itertools
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.generation.segments import Bridge, Waypoints, bridge_waypoints, rank_sources, segment_move
from mimicctl.generation.source import SourcePool
from mimicctl.generation.trajectory import Planner
from mimicctl.generation.trial import TrialSettings
from mimicctl.tasks import Subtask, SubtaskConstraint, TaskSpec
from tests.generation.two_hands import EEFS, pool, task

pytestmark = pytest.mark.isaaclab

CASES = 1000
EXACT = {"atol": 1e-6, "rtol": 0}


@pytest.fixture(scope="module")
def isaac():
    """Its modules by name; what they import of the simulator is left out again afterwards, for other tests that import Isaac Lab."""
    spec = importlib.util.find_spec("isaaclab")
    if spec is None:
        pytest.skip("Isaac Lab is not installed: pip install --no-deps isaaclab==3.0.0 (Python 3.12), or nox -s isaaclab_datagen")
    import torch

    precision = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # what they make themselves, such as a coordination's transform
    root = Path(spec.origin).parents[1]
    before = dict(sys.modules)
    for name in ("isaaclab", "isaaclab.utils", "isaaclab.utils.datasets", "isaaclab_mimic", "isaaclab_mimic.datagen"):
        package = types.ModuleType(name)
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules[name] = package
    math = importlib.import_module("isaaclab.utils.math")
    sys.modules["isaaclab.utils"].math = math
    episodes = sys.modules["isaaclab.utils.datasets"]
    episodes.EpisodeData = episodes.HDF5DatasetFileHandler = object
    managers, recorders = types.ModuleType("isaaclab.managers"), types.ModuleType("isaaclab.managers.recorder_manager")
    managers.TerminationTermCfg = recorders.RecorderManagerBaseCfg = object
    sys.modules |= {managers.__name__: managers, recorders.__name__: recorders}
    sys.modules["isaaclab.utils"].configclass = dataclasses_with_mutable_defaults
    envs = types.ModuleType("isaaclab.envs")
    envs.__path__ = [str(root / "isaaclab" / "envs")]
    sys.modules["isaaclab.envs"] = envs
    config = importlib.import_module("isaaclab.envs.mimic_env_cfg")
    for name in ("MimicEnvCfg", "SubTaskConstraintCoordinationScheme", "SubTaskConstraintType"):
        setattr(envs, name, getattr(config, name))
    envs.ManagerBasedRLMimicEnv = object
    found = SimpleNamespace(
        math=math,
        config=config,
        **{name: importlib.import_module(f"isaaclab_mimic.datagen.{name}") for name in ("data_generator", "selection_strategy", "waypoint", "datagen_info")},
    )
    yield found
    torch.set_default_dtype(precision)
    for name in set(sys.modules) - set(before):
        if name.startswith("isaaclab"):
            del sys.modules[name]
    sys.modules |= {name: module for name, module in before.items() if name.startswith("isaaclab")}


def dataclasses_with_mutable_defaults(cls: type) -> type:
    """What their `configclass` does as far as it matters here: keyword arguments over the class's defaults."""
    defaults = {name: getattr(cls, name) for name in vars(cls).get("__annotations__", {}) if hasattr(cls, name)}

    def init(self, **values) -> None:
        assert values.keys() <= defaults.keys(), values.keys() - defaults.keys()
        for name, value in {**defaults, **values}.items():
            setattr(self, name, value)

    cls.__init__ = init
    return cls


def tensor(array: np.ndarray):
    import torch

    return torch.tensor(np.asarray(array), dtype=torch.float64)


def random_poses(rng: np.random.Generator, count: int | None = None) -> np.ndarray:
    shape = () if count is None else (count,)
    return poses.compose(poses.matrix_from_rotvec(rng.normal(0, 1.0, (*shape, 3))), rng.normal(0, 0.4, (*shape, 3)))


def cases():
    return (np.random.default_rng(number) for number in range(CASES))


def scheme_of(isaac, scheme: str):
    return getattr(isaac.config.SubTaskConstraintCoordinationScheme, scheme.upper())


def test_a_segment_is_moved_as_theirs(isaac):
    for rng in cases():
        eefs, (then, now) = random_poses(rng, 7), random_poses(rng, 2)
        theirs = isaac.data_generator.transform_source_data_segment_using_object_pose(tensor(now), tensor(eefs), tensor(then))
        np.testing.assert_allclose(segment_move("transform", then, now) @ eefs, theirs.numpy(), **EXACT)


@pytest.mark.parametrize("scheme", ["replay", "translate"])
def test_a_coordinated_segment_is_moved_as_theirs(isaac, scheme):
    quiet = {"coordination_scheme": scheme_of(isaac, scheme), "coordination_scheme_pos_noise_scale": 0.0, "coordination_scheme_rot_noise_scale": 0.0}
    for rng in cases():
        eefs, (then, now) = random_poses(rng, 7), random_poses(rng, 2)
        delta = isaac.data_generator.get_delta_pose_with_scheme(tensor(then), tensor(now), quiet)
        theirs = isaac.data_generator.transform_source_data_segment_using_delta_object_pose(tensor(eefs), delta)
        np.testing.assert_allclose(segment_move(scheme, then, now), delta.numpy(), **EXACT)
        np.testing.assert_allclose(segment_move(scheme, then, now) @ eefs, theirs.numpy(), **EXACT)


def test_the_scheme_that_theirs_does_not_come_to_moves_as_their_uncoordinated_segments(isaac):
    """ "transform" asks for a function that their module of mathematics does not have. When they add it, compare with that."""
    loud = {"coordination_scheme": scheme_of(isaac, "transform"), "coordination_scheme_pos_noise_scale": 0.0, "coordination_scheme_rot_noise_scale": 0.0}
    with pytest.raises(AttributeError, match="get_delta_object_pose"):
        isaac.data_generator.get_delta_pose_with_scheme(tensor(np.eye(4)), tensor(np.eye(4)), loud)
    for rng in cases():
        eefs, (then, now) = random_poses(rng, 7), random_poses(rng, 2)
        by_delta = isaac.data_generator.transform_source_data_segment_using_delta_object_pose(tensor(eefs), tensor(segment_move("transform", then, now)))
        theirs = isaac.data_generator.transform_source_data_segment_using_object_pose(tensor(now), tensor(eefs), tensor(then))
        np.testing.assert_allclose(by_delta.numpy(), theirs.numpy(), **EXACT)


def test_a_straight_bridge_goes_through_their_waypoints(isaac):
    for rng in cases():
        start, segment = random_poses(rng), random_poses(rng, 4)
        if rng.random() < 0.3:  # small turns, which they take at once
            segment[0, :3, :3] = poses.matrix_from_rotvec(rng.normal(0, 0.02, 3)) @ poses.rotation(start)
        grippers = rng.choice([-1.0, 1.0], (4, 1))
        steps, fixed, noise, shaken = int(rng.integers(0, 9)), int(rng.integers(0, 4)), float(rng.uniform(0, 0.1)), bool(rng.random() < 0.5)
        subtask = Subtask("s", None, action_noise=noise, num_interpolation_steps=steps, num_fixed_steps=fixed, apply_noise_during_interpolation=shaken)
        ours = bridge_waypoints(start, Waypoints(segment, grippers, np.full(4, noise)), subtask, Bridge("straight"))
        sequence, trajectory = isaac.waypoint.WaypointSequence, isaac.waypoint.WaypointTrajectory
        theirs, goal = trajectory(), trajectory()
        theirs.add_waypoint_sequence(sequence.from_poses(tensor(start[None]), tensor(grippers[:1]), noise))
        goal.add_waypoint_sequence(sequence.from_poses(tensor(segment), tensor(grippers), noise))
        theirs.merge(goal, num_steps_interp=steps, num_steps_fixed=fixed, action_noise=float(shaken) * noise)
        theirs.pop_first()
        assert_same_waypoints(ours, theirs.get_full_sequence().sequence)


def assert_same_waypoints(ours: Waypoints, theirs: list) -> None:
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours.poses, [w.pose.numpy() for w in theirs], **EXACT)
    np.testing.assert_array_equal(ours.grippers, [w.gripper_action.numpy() for w in theirs])
    np.testing.assert_allclose(ours.noise, [float(w.noise) for w in theirs], **EXACT)


@pytest.mark.parametrize("strategy", ["nearest_neighbor_object", "nearest_neighbor_robot_distance"])
def test_the_nearest_sources_are_theirs_in_their_order(isaac, strategy, monkeypatch):
    import torch

    for rng in cases():
        demos, wanted = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        then, eefs = random_poses(rng, demos), random_poses(rng, demos)
        (now, eef), weights = random_poses(rng, 2), rng.uniform(0.1, 3, 2)
        subtask = Subtask("s", "cube", selection_strategy=strategy, nn_k=wanted, pos_weight=weights[0], rot_weight=weights[1])
        infos = [SimpleNamespace(eef_pose=tensor(e[None]), object_poses={"cube": tensor(t[None])}) for t, e in zip(then, eefs, strict=True)]
        theirs = isaac.selection_strategy.make_selection_strategy(strategy)
        for rank in range(min(wanted, demos)):
            monkeypatch.setattr(torch, "randint", lambda low, high, size, rank=rank: torch.tensor([rank]))
            expected = theirs.select_source_demo(tensor(eef), tensor(now), infos, pos_weight=weights[0], rot_weight=weights[1], nn_k=wanted)
            ranked = SimpleNamespace(choice=lambda choices, rank=rank: choices[rank])
            everyone = np.ones(demos, dtype=bool)
            ours = rank_sources(subtask, then, eefs, eefs, eef, eef, now, 1, lambda demo, equivalents: np.ones(len(equivalents)), everyone, ranked)
            assert ours[0][0] == int(expected)


def test_at_random_every_source_is_chosen_and_none_is_theirs_alone(isaac):
    infos = [SimpleNamespace(eef_pose=tensor(np.eye(4)[None]))] * 4
    theirs = isaac.selection_strategy.make_selection_strategy("random")
    then, everyone = random_poses(np.random.default_rng(0), 4), np.ones(4, dtype=bool)
    subtask, rng = Subtask("s", "cube"), np.random.default_rng(1)
    ours = {rank_sources(subtask, then, then, then, then[0], then[0], then[1], 1, lambda demo, e: np.ones(len(e)), everyone, rng)[0][0] for _ in range(CASES)}
    assert ours == {int(theirs.select_source_demo(None, None, infos)) for _ in range(CASES)} == {0, 1, 2, 3}


_STARTS = {"left": (4, 26), "right": (6, 28)}
"""Where the skills of both hands begin in every demo of the pool."""


def generator(isaac, spec: TaskSpec, **datagen):
    """Their `DataGenerator` on our task and source demos, without an env."""
    made = object.__new__(isaac.data_generator.DataGenerator)
    kwargs = lambda s: {"nn_k": s.nn_k, "pos_weight": s.pos_weight, "rot_weight": s.rot_weight}  # noqa: E731
    shared = ("object_ref", "selection_strategy", "first_subtask_start_offset_range", "action_noise", "num_interpolation_steps", "num_fixed_steps")
    starts = _STARTS if datagen.get("use_skillgen") else {}
    made.env_cfg = SimpleNamespace(
        subtask_configs={
            eef: [
                isaac.config.SubTaskConfig(
                    subtask_term_offset_range=s.term_offset_range,
                    subtask_start_offset_range=s.start_offset_range,
                    selection_strategy_kwargs={} if s.selection_strategy == "random" else kwargs(s),
                    apply_noise_during_interpolation=s.apply_noise_during_interpolation,
                    **{name: getattr(s, name) for name in shared},
                )
                for s in subtasks
            ]
            for eef, subtasks in spec.subtasks.items()
        },
        datagen_config=isaac.config.DataGenConfig(**datagen),
    )
    demos = pool().demos
    spans = {eef: [list(zip(starts.get(eef, (0, *d.ends[eef][:-1])), d.ends[eef], strict=True)) for d in demos] for eef in EEFS}
    infos = [
        SimpleNamespace(
            eef_pose={eef: tensor(d.eef_poses[eef]) for eef in EEFS},
            target_eef_pose={eef: tensor(d.target_poses[eef]) for eef in EEFS},
            gripper_action={eef: tensor(d.gripper_actions[eef]) for eef in EEFS},
            object_poses={name: tensor(track) for name, track in d.object_poses.items()},
        )
        for d in demos
    ]
    made.src_demo_datagen_info_pool = SimpleNamespace(subtask_boundaries=spans, datagen_infos=infos)
    return made


def test_boundaries_are_shifted_as_theirs(isaac, monkeypatch):
    """With the same uniform numbers. The range of the first start is of one value: of a wider one they ignore the upper end."""
    demos = pool().demos
    for rng in cases():
        (late, _), ranges = rng.integers(0, 4, 2), {eef: tuple(np.sort(rng.integers(-3, 8, 2)).tolist()) for eef in EEFS}
        spec = task()
        changed = {
            eef: (dataclasses.replace(s[0], first_subtask_start_offset_range=(int(late), int(late)), term_offset_range=ranges[eef]), s[1])
            for eef, s in spec.subtasks.items()
        }
        spec = dataclasses.replace(spec, subtasks=changed)
        uniform = rng.uniform(size=(len(EEFS), 3, len(demos)))  # first start, then both ends
        theirs_order = iter(uniform.reshape(-1, len(demos)))
        ours_order = iter([uniform[e, k, d] for d in range(len(demos)) for e in range(len(EEFS)) for k in (1, 2, 0)])
        monkeypatch.setattr(np.random, "randint", lambda low, high, size, u=theirs_order: low + np.floor(next(u) * (high - low)).astype(int))
        theirs = generator(isaac, spec).randomize_subtask_boundaries()
        draws = SimpleNamespace(integers=lambda low, high, u=ours_order: low + int(next(u) * (high - low)))
        for d, bounds in enumerate(pool().draw_bounds(spec, draws)):
            for eef in EEFS:
                np.testing.assert_array_equal(bounds[eef], theirs[eef][d])


def test_skills_are_shifted_as_theirs(isaac, monkeypatch):
    """With the same uniform numbers: of each hand the first start, then start and end of each subtask."""
    demos = tuple(dataclasses.replace(demo, starts=_STARTS) for demo in pool().demos)
    for rng in cases():
        late, spec = int(rng.integers(0, 3)), task()
        changed = {}
        for eef, (grasp, lift) in spec.subtasks.items():
            starts, ends = (tuple(np.sort(rng.integers(-2, 3, 2)).tolist()) for _ in range(2)), tuple(np.sort(rng.integers(-2, 4, 2)).tolist())
            first = dataclasses.replace(grasp, first_subtask_start_offset_range=(late, late), start_offset_range=next(starts), term_offset_range=ends)
            changed[eef] = (first, dataclasses.replace(lift, start_offset_range=next(starts)))
        spec = dataclasses.replace(spec, subtasks=changed)
        uniform = rng.uniform(size=(len(EEFS), 5, len(demos)))
        theirs_order = iter(uniform.reshape(-1, len(demos)))
        ours_order = iter([uniform[e, k, d] for d in range(len(demos)) for e in range(len(EEFS)) for k in (2, 4, 0, 1, 3)])
        monkeypatch.setattr(np.random, "randint", lambda low, high, size, u=theirs_order: low + np.floor(next(u) * (high - low)).astype(int))
        theirs = generator(isaac, spec, use_skillgen=True).randomize_subtask_boundaries()
        draws = SimpleNamespace(integers=lambda low, high, u=ours_order: low + int(next(u) * (high - low)))
        for d, bounds in enumerate(SourcePool(demos).draw_bounds(spec, draws)):
            for eef in EEFS:
                np.testing.assert_array_equal(bounds[eef], theirs[eef][d])


@pytest.mark.parametrize("scheme", [None, "replay", "translate"])
@pytest.mark.parametrize(
    "flags", [{}, {"transform_first_robot_pose": True}, {"interpolate_from_last_target_pose": False}], ids=lambda f: next(iter(f), "defaults")
)
def test_whole_trajectories_of_two_hands_are_theirs(isaac, scheme, flags):
    """Both subtasks of both hands, planned from the same scene: source, move, bridge, noise levels, and how many steps go side by side."""
    pair = (("left", 1), ("right", 1))
    constraints = () if scheme is None else (SubtaskConstraint(pair, "coordination", coordination_scheme=scheme),)
    for rng in itertools.islice(cases(), CASES // 9):  # a thousand in all nine variants
        spec = task(constraints=constraints)
        strategies = ["nearest_neighbor_object", "nearest_neighbor_robot_distance"]
        changed = {
            eef: tuple(dataclasses.replace(s, selection_strategy=str(rng.choice(strategies)), action_noise=0.02) for s in subtasks)
            for eef, subtasks in spec.subtasks.items()
        }
        spec = dataclasses.replace(spec, subtasks=changed)
        theirs = generator(
            isaac, spec, generation_select_src_per_subtask=True, generation_select_src_per_arm=True, **{f"generation_{k}": v for k, v in flags.items()}
        )
        # Out of reach of the bar: how what is in the hand lies in it is something that they do not look at.
        now, hands = {"bar": random_poses(rng)}, {eef: poses.compose(np.eye(3), np.full(3, 2.0)) @ random_poses(rng) for eef in EEFS}
        theirs.env = SimpleNamespace(
            get_object_poses=lambda env_ids, now=now: {name: tensor(pose[None]) for name, pose in now.items()},
            get_robot_eef_pose=lambda env_ids, eef_name, hands=hands: tensor(hands[eef_name][None]),
        )
        bounds = {eef: np.array(spans) for eef, spans in theirs.src_demo_datagen_info_pool.subtask_boundaries.items()}
        rules: dict = {}
        if scheme is not None:
            kind = isaac.config.SubTaskConstraintType.COORDINATION
            made = isaac.config.SubTaskConstraintConfig(eef_subtask_constraint_tuple=pair, constraint_type=kind, coordination_scheme=scheme_of(isaac, scheme))
            rules = made.generate_runtime_subtask_constraints()
        selected: dict = dict.fromkeys(EEFS)
        settings = TrialSettings(spec, 0, Bridge("straight"), select_src_per_arm=True, **flags)
        planner = Planner(pool(), settings, rng)
        tracks, last = {eef: planner.track(eef, hands[eef], None) for eef in EEFS}, dict.fromkeys(EEFS)
        for number in (0, 1):
            for eef in EEFS:
                length, synchronous = planner.plan(tracks[eef], eef, number, hands[eef], now, None)
                segment = theirs.generate_eef_subtask_trajectory(0, eef, number, bounds, rules, selected)
                last[eef] = theirs.merge_eef_subtask_trajectory(0, eef, number, last[eef], segment)
                assert tracks[eef].sources[-1] == selected[eef]
                assert_same_waypoints(tracks[eef].waypoints, last[eef])
                assert length == len(last[eef])
                assert synchronous == rules.get((eef, number), {}).get("synchronous_steps", 0)
                for step in range(length):
                    tracks[eef].go_to(step)
