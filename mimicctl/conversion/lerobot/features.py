"""Which arrays of a demo are which feature of a LeRobot dataset.

    action                          (T, A)  what was intended where noise was added, else what was done
    observation.state               (T, S)  what the robot knows of itself, several observations side by side
    observation.environment_state   (T, E)  where the objects are; only where there are no cameras, since a policy learns from all that it is given
    observation.images.<camera>     video   uint8 RGB

All numbers are float32. Whatever else a demo has lies beside it (see `sidecar`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError, listed
from mimicctl.schema import INTENDED_ACTIONS
from mimicctl.tasks import twin_of, with_family

ACTION, STATE, ENVIRONMENT, IMAGES = "action", "observation.state", "observation.environment_state", "observation.images."

COUNTED = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}
"""Features that every LeRobot dataset has, each a number a frame."""

_OF_THE_ROBOT = re.compile(r"(.*_)?(eef_pos|eef_quat|gripper_pos|gripper_qpos|joint_vel)|hand_joint_state|base_velocity|state")
_OF_THE_SCENE = re.compile(r"objects?|gripper_to_.*|environment_state")


@dataclass(frozen=True)
class Part:
    """An observation that is part of a feature: its key, and its shape at one step."""

    key: str
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Layout:
    """What a LeRobot dataset is made of.

    Attributes:
        fps: frames per second, one a control step.
        robot: LeRobot's `robot_type`.
        action: numbers of an action.
        state, environment: what these features are put together from, in order.
        cameras: keys of `obs` with the (height, width) of their pictures.
    """

    fps: int
    robot: str
    action: int
    state: tuple[Part, ...]
    environment: tuple[Part, ...]
    cameras: dict[str, tuple[int, int]]

    @property
    def vectors(self) -> dict[str, tuple[Part, ...]]:
        """Features that observations are put into, without those that nothing is put into."""
        return {name: parts for name, parts in ((STATE, self.state), (ENVIRONMENT, self.environment)) if parts}

    def as_json(self) -> dict[str, Any]:
        """For the file that tells the way back."""
        return {name: [[part.key, list(part.shape)] for part in parts] for name, parts in self.vectors.items()} | {
            IMAGES + key: [[key, [*size, 3]]] for key, size in self.cameras.items()
        }

    def features(self) -> dict[str, dict[str, Any]]:
        """As `meta/info.json` has them."""
        vectors = {ACTION: [f"action_{i}" for i in range(self.action)]}
        vectors |= {name: [label for part in parts for label in _labels(part)] for name, parts in self.vectors.items()}
        found: dict[str, dict[str, Any]] = {name: {"dtype": "float32", "shape": [len(names)], "names": names} for name, names in vectors.items()}
        for key, (height, width) in self.cameras.items():
            info = {"video.height": height, "video.width": width, "video.codec": "h264", "video.pix_fmt": "yuv420p", "video.fps": self.fps, "video.channels": 3}
            info |= {"has_audio": False, "is_depth_map": False}
            found[IMAGES + key] = {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"], "info": info}
        return found | {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in COUNTED.items()}


def _labels(part: Part) -> list[str]:
    return [part.key] if part.width == 1 else [f"{part.key}_{i}" for i in range(part.width)]


def action_array(demo: h5py.Group) -> str:
    """The array of a demo that is its action feature."""
    return INTENDED_ACTIONS if INTENDED_ACTIONS in demo else "actions"


def plan_layout(
    dataset: Dataset,
    demos: Sequence[str],
    *,
    fps: int | None = None,
    state_keys: Sequence[str] = (),
    environment_keys: Sequence[str] = (),
    cameras: Sequence[str] = (),
) -> Layout:
    """What the demos are put into.

    Args:
        fps: none: the control rate that the dataset names.
        state_keys, environment_keys, cameras: none: those that are usual, of what the first demo has.

    Raises:
        UserError: the demos do not have it all in the same shapes, each of them named; or what is asked for cannot be put into a LeRobot dataset.
    """
    _refuse_other_quaternions(dataset)
    first = dataset.group(demos[0])
    observed = {key: item for key, item in first.get("obs", {}).items() if isinstance(item, h5py.Dataset)}
    numbers = {key: item for key, item in observed.items() if item.dtype.kind == "f" and item.ndim in (1, 2, 3)}
    pictures = {key: item for key, item in observed.items() if item.dtype == np.uint8 and item.ndim == 4 and item.shape[-1] == 3}
    seen = list(cameras) or list(pictures)
    state = list(state_keys) or [key for key in _usual_order(numbers) if _OF_THE_ROBOT.fullmatch(key)]
    environment = list(environment_keys) or ([] if seen else [key for key in _usual_order(numbers) if _OF_THE_SCENE.fullmatch(key)])
    where, has = str(dataset.path), f"it has {', '.join(numbers) or 'no numbers'}; pictures: {', '.join(pictures) or 'none'}"
    if not state:
        raise UserError("The dataset has none of the usual observations of a robot.", where=where, do=f"name some with --state-keys; {has}")
    if strangers := [key for key in (*state, *environment) if key not in numbers] + [key for key in seen if key not in pictures]:
        what = f"{demos[0]} has no {', '.join(strangers)} that could be a feature: observations are floats, cameras are uint8 RGB."
        raise UserError(what, where=where, do=has)
    layout = Layout(
        fps or _control_rate(dataset),
        (twin.robot if (twin := twin_of(dataset.task_id)) else "unknown"),
        first["actions"].shape[-1] if "actions" in first else 0,
        tuple(Part(key, numbers[key].shape[1:]) for key in state),
        tuple(Part(key, numbers[key].shape[1:]) for key in environment),
        {key: pictures[key].shape[1:3] for key in seen},
    )
    if problems := [f"{name}: {problem}" for name in demos for problem in _unfit(dataset.group(name), layout)]:
        do = "mimicctl dataset check says more; name what all demos have with --state-keys, --environment-keys and --cameras"
        raise UserError(f"Not every demo of {dataset.path} can be converted; nothing was written.", where=listed(problems), do=do)
    return layout


def _usual_order(numbers: Mapping[str, h5py.Dataset]) -> list[str]:
    """The hand first, objects before what is worked out from them: as policies of this project observe them."""
    last = ("joint_vel", "gripper_to_")
    return sorted(numbers, key=lambda key: any(word in key for word in last))


def _control_rate(dataset: Dataset) -> int:
    rate = dataset.control_hz
    if rate is None:
        raise UserError("The dataset does not say how many control steps make a second.", where=str(dataset.path), do="give --fps")
    if abs(rate - round(rate)) > 1e-6 or rate < 1:
        what = f"The control rate is {rate:g} Hz, and LeRobot counts whole frames per second."
        raise UserError(what, where=str(dataset.path), do="give the --fps to write instead; times will be off by that much")
    return round(rate)


def _refuse_other_quaternions(dataset: Dataset) -> None:
    if dataset.dialect.kind == "isaaclab2":
        what = "This is an Isaac Lab 2.x file, whose quaternions are wxyz; in LeRobot datasets nobody could tell."
        raise UserError(what, where=str(dataset.path), do=f"mimicctl dataset convert-dialect {dataset.path} --to isaaclab3, then convert that")


def _unfit(demo: h5py.Group, layout: Layout) -> Iterator[str]:
    """What keeps a demo from being put into the layout."""
    steps = len(demo["actions"]) if isinstance(demo.get("actions"), h5py.Dataset) else 0
    if not steps:
        yield "no actions"
        return
    wanted = {"actions": (layout.action,)}
    wanted |= {f"obs/{part.key}": part.shape for parts in layout.vectors.values() for part in parts}
    wanted |= {f"obs/{key}": (*size, 3) for key, size in layout.cameras.items()}
    if INTENDED_ACTIONS in demo:
        wanted[INTENDED_ACTIONS] = (layout.action,)
    for path, shape in wanted.items():
        array = demo.get(path)
        if not isinstance(array, h5py.Dataset):
            yield f"no {path}"
        elif array.shape != (steps, *shape):
            yield f"{path} is {array.shape}, not {(steps, *shape)}"
    for key, (height, width) in layout.cameras.items():
        if height % 2 or width % 2:
            yield f"obs/{key} is {width} x {height} pixels, and videos have an even number each way (mimicctl dataset render --image-size)"


def instruction_for(dataset: Dataset) -> str:
    """The task as a sentence, LeRobot's `task`: its description, or that of the first of its family that says it in full."""
    task = twin_of(dataset.task_id)
    if task is None:
        return dataset.task_id or "unknown task"
    return next((other.description for other in with_family(task) if not other.description.startswith("The same")), task.description)
