"""Control specs for Cosmos Transfer, one JSON file a demo: which videos control the augmentation, how strongly, and the prompt.

Transfer1 and Transfer 2.5 name things differently. The weights are the ones that Isaac Lab documents for Transfer1, in the order blur, edges,
depth, segmentation; Transfer 2.5 scales them down to a sum of 1 by itself. Its noise is on another scale, so there `sigma_max` is left to the
model unless it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mimicctl.conversion.names import in_natural_order, parse_video_name, video_name
from mimicctl.conversion.prompts import write_text
from mimicctl.errors import UserError, listed
from mimicctl.video import probe

Model = Literal["transfer1", "transfer2.5"]

_SIGMA_MAX_TRANSFER1 = 50
_CONTROLS = ("vis", "edge", "depth", "seg")
_CONTROL_VIDEOS = {"depth": "depth", "seg": "shaded_segmentation"}
"""Controls that have a video of their own. Blur and edges are computed from the colours."""

_SPEC_NAME = re.compile(r"demo_\d+\.json")


@dataclass(frozen=True)
class HyperParameters:
    """How the augmentation is steered. `weights` are of blur, edges, depth and segmentation; 0 leaves one out."""

    negative_prompt: str
    weights: Sequence[float]
    sigma_max: float | None = None


@dataclass(frozen=True)
class WrittenSpecs:
    """The spec files, in natural order, and how many prompts they use."""

    folder: Path
    specs: tuple[Path, ...]
    prompts: int


def write_specs(
    videos_dir: str | Path,
    specs_dir: str | Path,
    prompts: Sequence[str],
    hyper: HyperParameters,
    *,
    model: Model = "transfer1",
    camera: str = "table_cam",
    overwrite: bool = False,
) -> WrittenSpecs:
    """Write `demo_<number>.json` for every demo whose camera has a video. Demo after demo takes the next prompt, and the first after the last.

    Raises:
        UserError: control videos are missing or differ in length, all of it listed, or there are specs already. Nothing was written.
    """
    videos_dir, folder = Path(videos_dir).expanduser().absolute(), Path(specs_dir).expanduser().absolute()
    if not any(hyper.weights) or min(hyper.weights) < 0:
        raise UserError("At least one control weight must be above 0, and none below.", where="--control-weight", do="for instance 0.3,0.3,0.6,0.7")
    demos = _demos(videos_dir, camera)
    controls = {control: weight for control, weight in zip(_CONTROLS, hyper.weights, strict=True) if weight}
    problems = [problem for demo in demos for problem in _unfit(videos_dir, demo, camera, controls)]
    if problems:
        raise UserError(
            "Not every demo has its control videos; nothing was written.", where=listed(problems), do="mimicctl convert hdf5-to-mp4 --resume makes them"
        )
    old = [path for path in folder.glob("demo_*.json") if _SPEC_NAME.fullmatch(path.name)]
    if old and not overwrite:
        raise UserError("There are specs already.", where=str(folder), do="--overwrite replaces them, or choose another --specs-dir")
    make: Callable[..., dict[str, Any]] = _transfer1 if model == "transfer1" else _transfer25
    written = []
    for i, demo in enumerate(demos):
        paths = {part: str(videos_dir / video_name(demo, key)) for part, key in _keys(camera).items()}
        spec = make(demo, prompts[i % len(prompts)], paths, controls, hyper)
        written.append(folder / f"{demo}.json")
        write_text(written[-1], json.dumps(spec, indent=1) + "\n")
    for path in set(old) - set(written):
        path.unlink()  # of demos that are no more: cosmos run would take them for demos
    return WrittenSpecs(folder, tuple(written), min(len(prompts), len(demos)))


def _keys(camera: str) -> dict[str, str]:
    return {"rgb": camera, **{control: f"{camera}_{key}" for control, key in _CONTROL_VIDEOS.items()}}


def _demos(folder: Path, camera: str) -> list[str]:
    """Demos whose camera has a video, in natural order."""
    if not folder.is_dir():
        raise UserError("There is no folder of videos.", where=str(folder), do="mimicctl convert hdf5-to-mp4 makes them")
    named = ((path, parse_video_name(path)) for path in in_natural_order(folder.glob("demo_*.mp4")))
    demos = [f"demo_{parsed[0]}" for _, parsed in named if parsed and parsed[1] == camera]
    if not demos:
        raise UserError(f"There are no videos demo_<number>_{camera}.mp4.", where=str(folder), do="mimicctl convert hdf5-to-mp4 makes them")
    return demos


def _unfit(folder: Path, demo: str, camera: str, controls: Mapping[str, float]) -> list[str]:
    """What is missing or differs among the videos of a demo."""
    paths = {key: folder / video_name(demo, key) for part, key in _keys(camera).items() if part == "rgb" or part in controls}
    missing = [f"{path}: missing" for path in paths.values() if not path.exists()]
    if missing:
        return missing
    try:
        facts = {key: probe(path) for key, path in paths.items()}
    except UserError as error:
        return [f"{error.where}: {error.what[0].lower()}{error.what[1:-1]}"]
    if len({(f.frames, f.width, f.height) for f in facts.values()}) == 1:
        return []
    told = ", ".join(f"{key} has {f.frames} frames of {f.width} x {f.height}" for key, f in facts.items())
    return [f"videos of {demo} in {folder} differ: {told}"]


def _transfer1(demo: str, prompt: str, videos: Mapping[str, str], controls: Mapping[str, float], hyper: HyperParameters) -> dict[str, Any]:
    inputs = {"vis": videos["rgb"], "depth": videos["depth"], "seg": videos["seg"]}  # edges are always computed
    sigma_max = _SIGMA_MAX_TRANSFER1 if hyper.sigma_max is None else hyper.sigma_max
    return {
        "prompt": prompt,
        "negative_prompt": hyper.negative_prompt,
        "input_video_path": videos["rgb"],
        "sigma_max": sigma_max,
        **{c: ({"input_control": inputs[c]} if c in inputs else {}) | {"control_weight": weight} for c, weight in controls.items()},
    }


def _transfer25(demo: str, prompt: str, videos: Mapping[str, str], controls: Mapping[str, float], hyper: HyperParameters) -> dict[str, Any]:
    inputs = {"depth": videos["depth"], "seg": videos["seg"]}
    return {
        "name": demo,
        "prompt": prompt,
        "negative_prompt": hyper.negative_prompt,
        "video_path": videos["rgb"],
        **({} if hyper.sigma_max is None else {"sigma_max": f"{hyper.sigma_max:g}"}),
        **{c: ({"control_path": inputs[c]} if c in inputs else {}) | {"control_weight": weight} for c, weight in controls.items()},
    }
