"""What a task is, as data: no physics engine is imported here.

Field names, defaults and meanings are Isaac Lab Mimic's (`SubTaskConfig`, `SubTaskConstraintConfig`), so that a task written for
one reads like a task for the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from mimicctl.tasks.goals import Arrive, Goal, HandOver, Lift, LiftTogether, OwnSuccess, PlaceIn, Pour, PutInto, Stack
from mimicctl.tasks.objects import Grip, Label, ObjectSpec, Obstacle, Part, Tray, Wheel

# What success asks for and what a scene is made of have modules of their own.
__all__ = [
    "Arrive",
    "Goal",
    "Grip",
    "HandOver",
    "Label",
    "Lift",
    "LiftTogether",
    "ObjectSpec",
    "Obstacle",
    "OwnSuccess",
    "Part",
    "PlaceIn",
    "Pour",
    "PutInto",
    "Stack",
    "Tray",
    "Wheel",
]

SelectionStrategy = Literal["random", "nearest_neighbor_object", "nearest_neighbor_robot_distance", "nearest_neighbor_gap"]

CoordinationScheme = Literal["replay", "transform", "translate"]

Modality = Literal["rgb", "depth", "normals", "segmentation"]
"""What a camera measures; docs/cameras.md has shapes, units and frames."""

RenderingMode = Literal["performance", "balanced", "quality"]
"""How much is spent on a picture."""

BODY = "body"
"""The eef that is a robot's body, whose subtasks take it from place to place, as Isaac Lab calls it. As the `object_ref` of another eef: a segment that
keeps its relation to the body while that goes."""

HUMANOIDS = ("g1", "gr1t2", "mobile_g1")
"""Of `TaskSpec.robot`: both arms by inverse kinematics that come with the extra `humanoid`."""

LETTER_WIDTH = {"v": 3, "q": 4, ".": 1}
"""Columns that a letter of a layout stands for: a vector, a quaternion, a number."""


def layout_width(layout: str) -> int:
    """Columns that a layout (`TaskSpec.obs_layout`, `TaskSpec.action_layout`) is of."""
    return sum(LETTER_WIDTH[letter] for letter in layout)


@dataclass(frozen=True)
class Subtask:
    """One stretch of a demonstration that keeps its relation to one object.

    Attributes:
        name: what a person calls it, for instance "grasp the red cube".
        object_ref: the object the segment moves with; None: it is replayed where it was, and sources are chosen at random; `BODY`: the robot's body, which may
            be on its way, and takes the segment along.
        term_signal: the signal whose rising edge ends the subtask; None for the last one of an eef.
        term_offset_range: control steps, both ends included, added to the boundary by chance in each trial.
        selection_strategy: how the source demo is chosen. "nearest_neighbor_gap" adds to the distance of "nearest_neighbor_object" the gap that the
            bridge has to close, from where the hand is to where the moved segment begins.
        nn_k: the nearest-neighbour strategies choose uniformly among this many.
        pos_weight, rot_weight: of metres and radians in the nearest-neighbour distance.
        action_noise: standard deviation, action units, while the segment is executed.
        contact_noise: the same, shortly before and after the gripper closes or opens; None: no different there.
        num_interpolation_steps: control steps that bridge from the last segment to this one; "auto": as many as the gap needs at the source's usual speed.
        num_fixed_steps: control steps the first target of the segment is held.
        apply_noise_during_interpolation: noise on the bridge too.
        start_signal: name of the signal that says where the part begins that keeps its relation to the object, for planners that find the way there
            (SkillGen). It is marked if one asks for it, and used with `use_skillgen`, here and in Isaac Lab.
        start_offset_range: control steps, both ends included, added to that beginning by chance in each trial; with `use_skillgen` only.
        first_subtask_start_offset_range: control steps, both ends included, of the beginning of a source that are left out, by chance in each trial;
            of an eef's first subtask only.
        description, next_subtask_description: what an operator is told to do in it, and after it; "": its name, and what the next one says.
    """

    name: str
    object_ref: str | None
    term_signal: str | None = None
    term_offset_range: tuple[int, int] = (0, 0)
    selection_strategy: SelectionStrategy = "random"
    nn_k: int = 3
    pos_weight: float = 1.0
    rot_weight: float = 1.0
    action_noise: float = 0.03
    contact_noise: float | None = None
    num_interpolation_steps: int | Literal["auto"] = 5
    num_fixed_steps: int = 0
    apply_noise_during_interpolation: bool = False
    start_signal: str | None = None
    start_offset_range: tuple[int, int] = (0, 0)
    first_subtask_start_offset_range: tuple[int, int] = (0, 0)
    description: str = ""
    next_subtask_description: str = ""


def objective(subtasks: tuple[Subtask, ...], number: int) -> str:
    """What an operator is told to do in subtask `number`."""
    announced = subtasks[number - 1].next_subtask_description if number else ""
    return announced or subtasks[number].description or subtasks[number].name


@dataclass(frozen=True)
class SubtaskConstraint:
    """What subtasks of two end-effectors owe each other in time and space.

    Attributes:
        eef_subtask_constraint_tuple: two pairs of eef and subtask number. Of a sequential constraint the first comes first.
        constraint_type: "sequential": the second subtask ends after the first. "coordination": both move a source segment of the same
            demo by the same transform, go through its last steps side by side, and end together.
        sequential_min_time_diff: control steps that the second subtask keeps until the first has ended; -1: all, it does not begin before.
        coordination_scheme: the transform. "replay": none; "translate": as the object was shifted; "transform": as it was shifted and turned.
            The object is that of the subtask that begins first.
        coordination_scheme_pos_noise_scale, coordination_scheme_rot_noise_scale: a chance shift along each axis [m], and turn of the object
            in place about each [rad], of the transform, uniform up to this much either way.
        coordination_synchronize_start: neither begins before the other can.
    """

    eef_subtask_constraint_tuple: tuple[tuple[str, int], tuple[str, int]]
    constraint_type: Literal["sequential", "coordination"]
    sequential_min_time_diff: int = -1
    coordination_scheme: CoordinationScheme = "replay"
    coordination_scheme_pos_noise_scale: float = 0.0
    coordination_scheme_rot_noise_scale: float = 0.0
    coordination_synchronize_start: bool = False


@dataclass(frozen=True)
class HandBox:
    """Part of the room a hand takes up, an axis-aligned box in the eef frame: centre and half-size [m]."""

    centre: tuple[float, float, float]
    half_size: tuple[float, float, float]


@dataclass(frozen=True)
class ResetRange:
    """Where things may start.

    Attributes:
        x, y: ranges in the env frame [m].
        yaw: range [rad].
        min_separation: least distance between any two object centres [m].
        joint_noise: standard deviation of the robot's joints about their home [rad, for a base also m].
        x_of, y_of, yaw_of: objects that have a range of their own, within the common one [m, m, rad].
        inside: object to the container, one that comes before it, in whose middle it starts, and how thick the container's floor is [m].
        z_of: height of what an object stands on, where that is not z = 0 [m].
        base_noise: standard deviation of where a base that carries arms stands about its home [m, rad].
    """

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: tuple[float, float]
    min_separation: float
    joint_noise: float
    y_of: dict[str, tuple[float, float]] = field(default_factory=dict)
    x_of: dict[str, tuple[float, float]] = field(default_factory=dict)
    yaw_of: dict[str, tuple[float, float]] = field(default_factory=dict)
    inside: dict[str, tuple[str, float]] = field(default_factory=dict)
    z_of: dict[str, float] = field(default_factory=dict)
    base_noise: float = 0.0

    def span_of(self, name: str) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges of x and y in which the object `name` may start [m]."""
        if name in self.inside:
            return self.span_of(self.inside[name][0])
        return self.x_of.get(name, self.x), self.y_of.get(name, self.y)

    def yaws_of(self, name: str) -> tuple[float, float]:
        """Range of yaw in which the object `name` may start [rad]."""
        return self.yaw_of.get(name, self.yaw)


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole camera.

    Attributes:
        parent: body it is fixed to; "" for the env frame.
        position: in the parent's frame [m].
        quat: xyzw, from the camera's axes (x right, y down, z forward: ROS) to the parent's.
        height, width: of the image [pixels].
        focal_length, horizontal_aperture: [mm]; pixels are square.
        clip: nearest and farthest distance along z that is seen [m].
        modalities: what is stored, each under its own key.
    """

    name: str
    parent: str
    position: tuple[float, float, float]
    quat: tuple[float, float, float, float]
    height: int
    width: int
    modalities: tuple[Modality, ...] = ("rgb",)
    focal_length: float = 24.0
    horizontal_aperture: float = 20.955
    clip: tuple[float, float] = (0.1, 2.0)

    @property
    def vertical_fov(self) -> float:
        """[rad]"""
        return 2 * math.atan(self.horizontal_aperture * self.height / self.width / (2 * self.focal_length))

    def key(self, modality: Modality) -> str:
        """The observation key, as Isaac Lab names it: `table_cam`, `table_cam_depth`."""
        return self.name if modality == "rgb" else f"{self.name}_{modality}"


@dataclass(frozen=True)
class IsaacLab:
    """How Isaac Lab runs a task.

    Attributes:
        env_id: of the Mimic environment in its registry.
        physics: "auto" for the best that is installed, "newton", "ovphysx", or "physx", which is Isaac Sim's.
        device: what the physics runs on: "cpu", "cuda", "cuda:1".
        visualizer: windows to open, as Isaac Lab calls them; "" for none.
        overrides: of the environment's config, `key=value`, as Isaac Lab's scripts take them.
    """

    env_id: str
    physics: Literal["auto", "newton", "ovphysx", "physx"] = "auto"
    device: str = "cpu"
    visualizer: str = ""
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskSpec:
    """A task on one backend.

    Attributes:
        task_id: the registered id, for instance `MuJoCo-Stack-Cube-Franka-IK-Rel-v0`.
        robot: whose model it is.
        control: "rel" (7: delta position, rotation vector, gripper),
            "abs" (8: hand position, hand quaternion xyzw, gripper; of several eefs first the hands, then the grippers; of a body at last 4: its velocities
            ahead, to its left [m/s] and round [rad/s], and its hips' height above the floor [m]) or
            "velocity" (3: of a base ahead and to its left [m/s], and its turn [rad/s]).
        control_hz: control rate.
        action_scale: what the controller multiplies a relative action by.
        home: joint positions at reset, of the arm, or of each [rad], or of the base, or body (x, y, yaw), or where a gripper hangs (x, y, z, yaw); empty: a
            humanoid's posture.
        subtasks: per end-effector, in order.
        goal: what success asks for.
        constraints: between subtasks of different end-effectors.
        obstacles: what is in the way.
        bases: eef name to where its arm stands (x, y) [m], looking along +x; empty: one arm, at the origin.
        hand_joints: columns of an action that drive one hand: 1 of a gripper, or its joints.
        fingers: which finger of a person ("thumb", "index", ...; "" for none) each of these joints follows, in the order of a gripper part; empty: a gripper has none.
        hand: boxes that enclose what moves with the eef: hand and open fingers, or the whole base.
        obs_layout: what the columns of an observation are, for those that have a direction or none: "v" vector, "q" quaternion, "." number.
        success_hold_steps: consecutive control steps success must hold.
        horizon: control steps after which an episode has timed out.
        sources_of: id of another task whose demonstrations serve as sources too; "" for none.
        source_demos, prompt_templates: names of files in `mimicctl/data`; "" if none come with the task.
        cameras: what looks on; they change nothing about the physics.
        semantic_colors: class (an object's name, "table", "ground", "robot", "background") to its RGB in segmentations.
        generation: settings of `mimicctl generate` that it asks for, by name, where the user has not set them.
        isaaclab: how Isaac Lab runs it; None: MuJoCo does.
        swing_cancellation: whether the controller damps the swing of a gripper that hangs; None: there is nothing that hangs.
    """

    task_id: str
    description: str
    control: Literal["rel", "abs", "velocity"]
    control_hz: float
    action_scale: float
    home: tuple[float, ...]
    objects: tuple[ObjectSpec, ...]
    reset: ResetRange
    subtasks: dict[str, tuple[Subtask, ...]]
    goal: Goal
    constraints: tuple[SubtaskConstraint, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    robot: Literal["franka", "dual_franka", "tiago", "g1", "gr1t2", "mobile_g1", "cable_robot", "other"] = "franka"
    bases: dict[str, tuple[float, float]] = field(default_factory=dict)
    hand_joints: int = 1
    fingers: tuple[str, ...] = ()
    hand: tuple[HandBox, ...] = ()
    obs_layout: dict[str, str] = field(default_factory=dict)
    success_hold_steps: int = 10
    horizon: int = 600
    sources_of: str = ""
    source_demos: str = ""
    prompt_templates: str = ""
    cameras: tuple[CameraSpec, ...] = ()
    semantic_colors: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    isaaclab: IsaacLab | None = None
    swing_cancellation: bool | None = None

    @property
    def on_floor(self) -> bool:
        """Whether a base is driven, by velocities, and not an arm."""
        return self.control == "velocity"

    @property
    def is_humanoid(self) -> bool:
        """Whether it needs what comes with the extra `humanoid`."""
        return self.robot in HUMANOIDS

    @property
    def command_scale(self) -> float:
        """[m, rad] that one unit of a device's command sends the eef by; under absolute control as far as Isaac Lab's relative control does."""
        return self.action_scale if self.control == "rel" else 0.5

    @property
    def action_dim(self) -> int:
        if self.on_floor:
            return 3
        return ({"rel": 6, "abs": 7}[self.control] + self.hand_joints) * self._hands + 4 * self.has_body

    @property
    def action_layout(self) -> str:
        """As `obs_layout`: of the actions."""
        if self.on_floor:
            return "..."
        return {"rel": "vv", "abs": "vq"}[self.control] * self._hands + "." * (self.hand_joints * self._hands + 4 * self.has_body)

    @property
    def has_body(self) -> bool:
        """Whether its robot goes from place to place, and uses its arms."""
        return BODY in self.subtasks

    @property
    def _hands(self) -> int:
        return len(self.eef_names) - self.has_body

    def references(self, eef: str) -> list[str]:
        """What a subtask of `eef` may be about: the objects, and the body that takes it along."""
        return [*(item.name for item in self.objects), *([BODY] if self.has_body and eef != BODY else [])]

    @property
    def eef_names(self) -> tuple[str, ...]:
        return tuple(self.subtasks)

    @property
    def term_signals(self) -> tuple[str, ...]:
        """Every signal that ends a subtask, in order."""
        return tuple(s.term_signal for subtasks in self.subtasks.values() for s in subtasks if s.term_signal)

    @property
    def names_starts(self) -> bool:
        """Whether every subtask names its start signal."""
        return all(s.start_signal for subtasks in self.subtasks.values() for s in subtasks)

    @property
    def bodies(self) -> tuple[ObjectSpec, ...]:
        """Everything that lies free in the scene: the objects, each of its instances where one has any."""
        return tuple(body for item in self.objects for body in item.bodies)

    def object(self, name: str) -> ObjectSpec:
        return next(o for o in self.objects if o.name == name)
