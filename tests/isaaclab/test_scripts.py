"""Isaac Lab's own conversion and merge scripts, run as they are from the checkout that ISAACLAB_PATH names, beside ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.conversion.encodings import DEFAULT_KEYS
from mimicctl.conversion.from_video import read_videos
from mimicctl.conversion.to_video import VideoFormat, make_videos
from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset
from tests.cameras import camera_file

pytestmark = pytest.mark.isaaclab

SIZE = (96, 80)


@pytest.fixture(scope="module")
def script():
    """Runs one of scripts/tools."""
    checkout = os.environ.get("ISAACLAB_PATH")
    if not checkout:
        pytest.skip("ISAACLAB_PATH names no checkout of Isaac Lab's repository")

    def run(name: str, *arguments: object) -> None:
        done = subprocess.run([sys.executable, Path(checkout) / "scripts" / "tools" / name, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def seen(tmp_path) -> Path:
    """Two demos with all that cameras see, all of it within Isaac Lab's range: its script lets depth beyond 1.5 m wrap around."""
    path = camera_file(tmp_path / "a.hdf5", 2)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            metres = demo["obs/table_cam_depth"]
            metres[...] = np.clip(metres[()], 0.1, 1.49)
    return path


def videos_of(folder: Path) -> dict[str, np.ndarray]:
    import av

    found = {}
    for path in sorted(folder.glob("*.mp4")):
        with av.open(str(path)) as video:
            found[path.name] = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    return found


def test_videos_have_the_same_names_sizes_and_pictures(script, seen, tmp_path):
    script("hdf5_to_mp4.py", "--input_file", seen, "--output_dir", tmp_path / "theirs", "--video_width", SIZE[0], "--video_height", SIZE[1])
    make_videos(seen, tmp_path / "ours", form=VideoFormat(*SIZE, 30))
    theirs, ours = videos_of(tmp_path / "theirs"), videos_of(tmp_path / "ours")
    assert list(ours) == list(theirs) and len(ours) == 2 * len(DEFAULT_KEYS)
    for name, pictures in theirs.items():
        assert ours[name].shape == pictures.shape, name
        # They are encoded differently; what is shown is the same.
        error = np.abs(ours[name].astype(int) - pictures)
        assert np.median(error) <= 4 and error.mean() < 8, (name, np.median(error), error.mean())


def test_their_videos_are_read_here_and_ours_there(script, seen, tmp_path):
    script("hdf5_to_mp4.py", "--input_file", seen, "--output_dir", tmp_path / "theirs", "--input_keys", "table_cam")
    make_videos(seen, tmp_path / "ours", keys=["table_cam"])
    read_videos(seen, tmp_path / "theirs", tmp_path / "here.hdf5")
    script("mp4_to_hdf5.py", "--input_file", seen, "--videos_dir", tmp_path / "ours", "--output_file", tmp_path / "there.hdf5")
    with h5py.File(seen) as original, h5py.File(tmp_path / "here.hdf5") as here, h5py.File(tmp_path / "there.hdf5") as there:
        # Ours holds the augmented demos alone; theirs the originals first.
        assert len(here["data"]) == 2 and len(there["data"]) == 4
        for i in range(2):
            wanted = original[f"data/demo_{i}/obs/table_cam"][()].astype(int)
            for found in (here[f"data/demo_{i}"], there[f"data/demo_{i + 2}"]):
                assert found["obs/table_cam"].shape == wanted.shape
                assert np.median(np.abs(found["obs/table_cam"][()] - wanted)) <= 4
                np.testing.assert_array_equal(found["obs/eef_pos"][()], original[f"data/demo_{i}/obs/eef_pos"][()])
    with Dataset(tmp_path / "there.hdf5") as dataset:
        assert len(dataset) == 4


def test_merged_files_hold_the_same(script, seen, tmp_path):
    other = camera_file(tmp_path / "b.hdf5", 3)
    script("merge_hdf5_datasets.py", "--input_files", seen, other, "--output_file", tmp_path / "theirs.hdf5")
    merge([seen, other], tmp_path / "ours.hdf5")
    with h5py.File(tmp_path / "theirs.hdf5") as theirs, h5py.File(tmp_path / "ours.hdf5") as ours:
        assert list(ours["data"]) == list(theirs["data"])
        for name in theirs["data"]:
            np.testing.assert_array_equal(ours[f"data/{name}/actions"][()], theirs[f"data/{name}/actions"][()])
            np.testing.assert_array_equal(ours[f"data/{name}/obs/table_cam"][()], theirs[f"data/{name}/obs/table_cam"][()])
        assert ours["data"].attrs["env_args"] == theirs["data"].attrs["env_args"]
