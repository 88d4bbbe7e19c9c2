"""Control specs: what Isaac Lab documents for Transfer1, and the same for Transfer 2.5."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mimicctl.conversion.specs import HyperParameters, write_specs
from mimicctl.errors import UserError
from mimicctl.settings import CosmosSettings
from mimicctl.video import VideoWriter

PARTS = ("table_cam", "table_cam_depth", "table_cam_shaded_segmentation")
HYPER = HyperParameters("ugly", (0.3, 0.3, 0.6, 0.7))


def video(path: Path, frames: int = 3) -> Path:
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, (32, 32), 30) as writer:
        for _ in range(frames):
            writer.write(np.full((8, 8, 3), 90, np.uint8))
    return path


@pytest.fixture
def videos(tmp_path) -> Path:
    for demo in ("demo_2", "demo_10"):
        for part in PARTS:
            video(tmp_path / "videos" / f"{demo}_{part}.mp4")
    video(tmp_path / "videos" / "demo_2_wrist_cam.mp4")
    return tmp_path / "videos"


def test_transfer1_is_as_documented(videos, tmp_path):
    made = write_specs(videos, tmp_path / "specs", ["first", "second"], HYPER)
    assert [path.name for path in made.specs] == ["demo_2.json", "demo_10.json"]
    assert json.loads(made.specs[1].read_text()) == {
        "prompt": "second",
        "negative_prompt": "ugly",
        "input_video_path": str(videos / "demo_10_table_cam.mp4"),
        "sigma_max": 50,
        "vis": {"input_control": str(videos / "demo_10_table_cam.mp4"), "control_weight": 0.3},
        "edge": {"control_weight": 0.3},
        "depth": {"input_control": str(videos / "demo_10_table_cam_depth.mp4"), "control_weight": 0.6},
        "seg": {"input_control": str(videos / "demo_10_table_cam_shaded_segmentation.mp4"), "control_weight": 0.7},
    }


def test_transfer25_has_its_own_names_and_computes_blur_and_edges(videos, tmp_path):
    made = write_specs(videos, tmp_path / "specs", ["first"], HYPER, model="transfer2.5")
    spec = json.loads(made.specs[0].read_text())
    assert spec == {
        "name": "demo_2",
        "prompt": "first",
        "negative_prompt": "ugly",
        "video_path": str(videos / "demo_2_table_cam.mp4"),
        "vis": {"control_weight": 0.3},
        "edge": {"control_weight": 0.3},
        "depth": {"control_path": str(videos / "demo_2_table_cam_depth.mp4"), "control_weight": 0.6},
        "seg": {"control_path": str(videos / "demo_2_table_cam_shaded_segmentation.mp4"), "control_weight": 0.7},
    }
    noisier = HyperParameters("ugly", (0.3, 0.3, 0.6, 0.7), sigma_max=90)
    write_specs(videos, tmp_path / "specs", ["first"], noisier, model="transfer2.5", overwrite=True)
    assert json.loads(made.specs[0].read_text())["sigma_max"] == "90"  # text, as that release wants it


def test_prompts_go_round(videos, tmp_path):
    video(videos / "demo_11_table_cam.mp4")
    hyper = HyperParameters("", (1, 0, 0, 0))
    made = write_specs(videos, tmp_path / "specs", ["a", "b"], hyper)
    assert [json.loads(path.read_text())["prompt"] for path in made.specs] == ["a", "b", "a"] and made.prompts == 2


def test_a_control_without_weight_is_left_out_and_needs_no_video(videos, tmp_path):
    (videos / "demo_2_table_cam_depth.mp4").unlink()
    made = write_specs(videos, tmp_path / "specs", ["a"], HyperParameters("", (0.3, 0, 0, 0.7)))
    assert set(json.loads(made.specs[0].read_text())) == {"prompt", "negative_prompt", "input_video_path", "sigma_max", "vis", "seg"}


def test_missing_unreadable_and_unequal_videos_are_all_listed_and_nothing_is_written(videos, tmp_path):
    (videos / "demo_2_table_cam_depth.mp4").unlink()
    video(videos / "demo_10_table_cam_depth.mp4", 4)
    for part in PARTS:
        video(videos / f"demo_12_{part}.mp4")
    (videos / "demo_12_table_cam_depth.mp4").write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        write_specs(videos, tmp_path / "specs", ["a"], HYPER)
    where = caught.value.where
    assert "demo_2_table_cam_depth.mp4: missing" in where and "demo_12_table_cam_depth.mp4: this is not a readable video" in where
    assert "videos of demo_10" in where and "table_cam_depth has 4 frames of 32 x 32" in where
    assert not (tmp_path / "specs").exists()


def test_existing_specs_are_not_replaced_unasked_and_then_as_a_whole(videos, tmp_path):
    made = write_specs(videos, tmp_path / "specs", ["a"], HYPER)
    with pytest.raises(UserError, match="--overwrite"):
        write_specs(videos, tmp_path / "specs", ["b"], HYPER)
    (tmp_path / "specs" / "notes.json").write_text("{}")
    for path in videos.glob("demo_2_*"):
        path.unlink()
    write_specs(videos, tmp_path / "specs", ["b"], HYPER, overwrite=True)
    assert sorted(p.name for p in made.folder.iterdir()) == ["demo_10.json", "notes.json"]
    assert json.loads(made.specs[1].read_text())["prompt"] == "b"


@pytest.mark.parametrize("weights", [(0, 0, 0, 0), (0.5, -0.1, 0, 0)])
def test_weights_that_mean_nothing_are_refused(videos, tmp_path, weights):
    with pytest.raises(UserError, match="control weight"):
        write_specs(videos, tmp_path / "specs", ["a"], HyperParameters("", weights))


def test_as_it_is_typed_with_the_documented_hyper_parameters(videos, tmp_path, mimicctl):
    (tmp_path / "p.txt").write_text("one prompt\n")
    done = mimicctl("cosmos", "specs", "--videos-dir", "videos", "--prompts-file", "p.txt", "--specs-dir", "s")
    assert done.returncode == 0, done.stderr
    spec = json.loads((tmp_path / "s" / "demo_2.json").read_text())
    assert spec["negative_prompt"] == CosmosSettings().negative_prompt and spec["negative_prompt"].startswith("Looks like a dated video game")
    assert [spec[c]["control_weight"] for c in ("vis", "edge", "depth", "seg")] == [0.3, 0.3, 0.6, 0.7] and spec["sigma_max"] == 50
    assert "Next: mimicctl cosmos run" in done.stdout
    other = mimicctl(
        "cosmos", "specs", "--videos-dir", "videos", "--prompts-file", "p.txt", "--specs-dir", "s", "--overwrite", "--model", "transfer2.5",
        "--control-weight", "0.1,0.2,0,0", "--sigma-max", "60", "--negative-prompt", "blurred",
    )  # fmt: skip
    assert other.returncode == 0, other.stderr
    spec = json.loads((tmp_path / "s" / "demo_2.json").read_text())
    assert (spec["negative_prompt"], spec["sigma_max"], spec["vis"], spec["edge"]) == ("blurred", "60", {"control_weight": 0.1}, {"control_weight": 0.2})
    assert "depth" not in spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--videos-dir", "nowhere"], "no folder of videos"),
        (["--videos-dir", "videos", "--control-weight", "a,b"], "not a list of numbers"),
        (["--videos-dir", "videos", "--control-weight", "1,1"], "cosmos.control_weight"),
        (["--videos-dir", "videos", "--model", "transfer9"], "cosmos.model"),
        (["--videos-dir", "videos", "-o", "convert.camera=nose_cam"], "demo_<number>_nose_cam.mp4"),
    ],
)
def test_mistakes_are_answered(videos, tmp_path, mimicctl, arguments, message):
    (tmp_path / "p.txt").write_text("one prompt\n")
    done = mimicctl("cosmos", "specs", "--prompts-file", "p.txt", *arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
