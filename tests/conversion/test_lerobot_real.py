"""The real lerobot: it reads what is written here, and what it writes is read here. Offline."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mimicctl.conversion.lerobot.folder import LeRobotFolder
from mimicctl.conversion.lerobot.from_lerobot import from_lerobot
from mimicctl.conversion.lerobot.salvage import salvage
from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
from mimicctl.dataset.reader import Dataset
from tests.cameras import camera_file
from tests.conftest import ROOT
from tests.conversion.crashing_lerobot import FIRST, frame

pytestmark = pytest.mark.lerobot


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # What the datasets package has read before, it takes from its cache.
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def opened(root: Path, **options):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("local/there", root=root, video_backend="pyav", **options)


def test_lerobot_iterates_over_windows_of_an_exported_dataset(tmp_path, source_file):
    made = to_lerobot(source_file, tmp_path / "there")
    dataset = opened(made.folder, delta_timestamps={"observation.state": [-0.05, 0.0], "action": [i / 20 for i in range(16)]})
    assert (len(dataset), dataset.num_episodes, dataset.fps) == (made.frames, 10, 20)
    with Dataset(source_file) as source:
        first = 0
        for name in source.demos[:3]:
            demo = source.group(name)
            actions, steps = demo["actions"][()], len(demo["actions"])
            for t in (0, 7, steps - 3, steps - 1):
                item = dataset[first + t]
                rows = np.minimum(np.arange(t, t + 16), steps - 1)
                assert np.array_equal(item["action"].numpy(), actions[rows])
                assert np.array_equal(item["action_is_pad"].numpy(), np.arange(t, t + 16) >= steps)
                assert np.array_equal(item["observation.state"].numpy()[1, :3], demo["obs/eef_pos"][t])
                assert np.array_equal(item["observation.environment_state"].numpy()[:39], demo["obs/object"][t])
                assert item["task"] == made.instruction and item["timestamp"].item() == pytest.approx(t / 20)
            first += steps
        whole = np.concatenate([source.group(name)["actions"][()] for name in source.demos]).astype(np.float64)
    assert np.allclose(dataset.meta.stats["action"]["mean"], whole.mean(0)) and np.allclose(dataset.meta.stats["action"]["std"], whole.std(0))


def test_lerobot_decodes_the_frame_of_each_step(tmp_path):
    path = camera_file(tmp_path / "a.hdf5", 3, size=(64, 80))
    to_lerobot(path, tmp_path / "there")
    dataset = opened(tmp_path / "there", delta_timestamps={"observation.images.table_cam": [-0.05, 0.0]})
    with Dataset(path) as source:
        pictures = [source.group(name)["obs/table_cam"][()].astype(float) for name in source.demos]
    firsts = np.cumsum([0, *map(len, pictures)])
    for episode, t in ((0, 0), (1, 0), (1, 9), (2, 15)):
        seen = dataset[int(firsts[episode] + t)]["observation.images.table_cam"].numpy().transpose(0, 2, 3, 1) * 255
        errors = [np.abs(seen[1] - picture).mean() for picture in pictures[episode]]
        assert np.argmin(errors) == t and errors[t] < 3
        assert np.abs(seen[0] - pictures[episode][max(0, t - 1)]).mean() < 3


def lerobot_dataset(root: Path, features: dict, steps: int, fps: int = 20):
    """Two episodes that lerobot writes itself, and the frames they are of."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset.create("local/there", fps=fps, features=features, root=root, robot_type="franka", use_videos=True)
    rng, frames = np.random.default_rng(0), []
    y, x = np.mgrid[0:64, 0:80]
    for episode in range(2):
        for t in range(steps):
            frame = {}
            for key, feature in features.items():
                shape = feature["shape"]
                if feature["dtype"] in ("video", "image"):
                    frame[key] = np.stack([x * 3, y * 3, np.full_like(x, 40 * episode + 8 * t)], axis=-1).astype(np.uint8)
                else:
                    frame[key] = rng.normal(size=shape).astype(np.float32)
            frames.append({**frame})
            dataset.add_frame({**frame, "task": f"Task {episode}."})
        dataset.save_episode()
    dataset.finalize()
    return frames


def test_what_lerobot_wrote_comes_with_what_it_has(tmp_path):
    picture = {"shape": (64, 80, 3), "names": ["height", "width", "channels"]}
    features = {
        "observation.state": {"dtype": "float32", "shape": (6,), "names": [f"joint_{i}" for i in range(6)]},
        "action": {"dtype": "float32", "shape": (4,), "names": None},
        "observation.images.front": {"dtype": "video", **picture},
        "observation.images.side": {"dtype": "image", **picture},
    }
    frames = lerobot_dataset(tmp_path / "there", features, steps=8)
    made = from_lerobot(tmp_path / "there", tmp_path / "back.hdf5")
    assert made.without == 2 and made.left_out == ()
    with Dataset(tmp_path / "back.hdf5") as back:
        for episode, name in enumerate(back.demos):
            demo, wanted = back.group(name), frames[8 * episode : 8 * episode + 8]
            assert np.array_equal(demo["actions"][()], np.stack([f["action"] for f in wanted]))
            assert np.array_equal(demo["obs/state"][()], np.stack([f["observation.state"] for f in wanted]))
            assert np.array_equal(demo["obs/side"][()], np.stack([f["observation.images.side"] for f in wanted]))
            assert np.abs(demo["obs/front"][()].astype(int) - np.stack([f["observation.images.front"] for f in wanted])).mean() < 4
            assert back.demo_lineage(name)["lerobot"]["tasks"] == [f"Task {episode}."]


def test_episodes_are_added_to_each_others_datasets(tmp_path, source_file):
    """Ours to one that lerobot made of the same features, and lerobot's to the result."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    layout = to_lerobot(source_file, tmp_path / "ours").layout
    features = {name: feature for name, feature in layout.features().items() if name.startswith(("action", "observation"))}
    frames = lerobot_dataset(tmp_path / "there", {name: {**feature, "shape": tuple(feature["shape"])} for name, feature in features.items()}, steps=8)
    made = to_lerobot(source_file, tmp_path / "there", append=True)
    assert (made.demos, made.episodes) == (10, 12)
    resumed = LeRobotDataset.resume("local/there", root=tmp_path / "there")
    for recorded in frames[:8]:
        resumed.add_frame({**recorded, "task": "One more."})
    resumed.save_episode()
    resumed.finalize()
    dataset = opened(tmp_path / "there")
    assert dataset.num_episodes == 13 and len(dataset) == 16 + sum(entry.length for entry in LeRobotFolder(tmp_path / "ours").episodes) + 8
    assert np.array_equal(dataset[len(dataset) - 1]["action"].numpy(), frames[7]["action"])
    back = from_lerobot(tmp_path / "there", tmp_path / "back.hdf5")
    assert (back.demos, back.without) == (13, 3)
    with Dataset(source_file) as source, Dataset(tmp_path / "back.hdf5") as there:
        assert np.array_equal(
            there.group("demo_5")["states/rigid_object/cube_1/root_pose"][()], source.group("demo_3")["states/rigid_object/cube_1/root_pose"][()]
        )


@pytest.mark.parametrize(
    ("episodes", "where", "encoded"),
    [(3, "after", ()), (12, "recording", ()), (3, "rows saved", (2,)), (3, "one camera encoded", (2,)), (3, "pictures saved", ()), (3, "streaming", ())],
)
def test_what_a_killed_lerobot_session_leaves_is_a_dataset_again(tmp_path, episodes, where, encoded):
    killed = subprocess.run([sys.executable, "-m", "tests.conversion.crashing_lerobot", str(tmp_path / "there"), str(episodes), where], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises((OSError, ValueError)):  # it looks for what is missing on the hub, where it may not, or finds a table that was never closed
        opened(tmp_path / "there")
    made = salvage(tmp_path / "there", tmp_path / "saved")
    whole = episodes - (where == "recording")
    assert made.saved == tuple(range(whole)) and made.encoded == encoded
    assert [lost.episode for lost in made.lost] == [whole] * (where == "recording")
    dataset = opened(tmp_path / "saved", delta_timestamps={"action": [0.0, 0.05]})
    assert (dataset.num_episodes, len(dataset)) == (whole, sum(FIRST + episode for episode in range(whole)))
    index = 0
    for episode in range(whole):
        for step in range(FIRST + episode):
            item, wanted = dataset[index], frame(episode, step)
            assert np.array_equal(item["action"][0].numpy(), wanted["action"])
            assert np.array_equal(item["observation.state"].numpy(), wanted["observation.state"]) and item["task"] == f"Task {episode % 2}."
            assert bool(item["next.success"]) == wanted["next.success"]
            for key in ("observation.images.front", "observation.images.wrist"):
                assert np.abs(item[key].numpy() * 255 - wanted[key][0, 0, 0]).max() < 4
            index += 1
