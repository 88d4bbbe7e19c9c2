"""Playing demonstrations again: by actions and by states, compared with the recording."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.errors import UserError
from mimicctl.recording.playback import play


@pytest.fixture
def recording(source_file, tmp_path) -> Path:
    """Two demos of those that come with the task."""
    path = tmp_path / "datasets" / "dataset.hdf5"
    path.parent.mkdir()
    shutil.copy(source_file, path)
    with h5py.File(path, "r+") as file:
        for name in list(file["data"]):
            if name not in ("demo_0", "demo_1"):
                del file[f"data/{name}"]
    return path


def edit(path: Path, key: str, step: int | slice, column: int | slice, by) -> None:
    with h5py.File(path, "r+") as file:
        values = file[f"data/demo_1/{key}"]
        row = values[step]
        row[..., column] = by(row[..., column])
        values[step] = row


@pytest.mark.parametrize("states", [False, True])
def test_our_demos_are_played_to_the_last_bit(recording, states):
    seen = []
    played = list(play(recording, states=states, tolerance=0.0, on_step=lambda name, step, view: seen.append((name, step, view.eef_pose[2, 3]))))
    assert [(p.name, p.success, p.divergence.step, p.divergence.worst) for p in played] == [("demo_0", True, None, 0.0), ("demo_1", True, None, 0.0)]
    assert len(seen) == sum(p.steps + 1 for p in played) and seen[0][:2] == ("demo_0", 0)
    assert len({height for _, _, height in seen}) > 100


def test_where_a_demo_leaves_its_recording_is_said(recording):
    edit(recording, "states/rigid_object/cube_2/root_pose", 40, 1, lambda y: y + 0.02)
    edit(recording, "states/rigid_object/cube_1/root_pose", 60, 0, lambda x: x + 0.5)
    first, second = play(recording, tolerance=0.01)
    assert first.divergence.step is None
    assert (second.divergence.step, second.divergence.what) == (40, "rigid_object/cube_2/root_pose") and second.divergence.worst == pytest.approx(0.5, abs=1e-4)
    (again,) = play(recording, ["demo_1"], tolerance=0.03)
    assert again.divergence.step == 60


def test_other_actions_lead_elsewhere_and_states_do_not_care(recording):
    edit(recording, "actions", slice(30, 60), 0, lambda x: x + 0.05)
    (by_actions,) = play(recording, ["demo_1"], tolerance=0.01)
    assert not by_actions.success and 30 <= by_actions.divergence.step < 45
    (by_states,) = play(recording, ["demo_1"], states=True, tolerance=0.01)
    assert by_states.success and by_states.divergence.step is None


def test_a_quaternion_and_its_negative_are_the_same(recording):
    edit(recording, "states/rigid_object/cube_3/root_pose", 20, slice(3, 7), np.negative)
    (played,) = play(recording, ["demo_1"], tolerance=0.0)
    assert played.divergence.step is None


def test_what_cannot_be_played_is_said(recording):
    with pytest.raises(UserError, match="no demo_7 in the file; it has demo_0 to demo_1"):
        list(play(recording, ["demo_7"]))
    with h5py.File(recording, "r+") as file:
        del file["data/demo_0/states"]
    assert [p.success for p in play(recording)] == [True, True]
    for wish in ({"states": True}, {"tolerance": 0.01}):
        with pytest.raises(UserError, match="demo_0 has no recorded states"):
            list(play(recording, **wish))


@pytest.mark.render
def test_films_show_every_step(recording, tmp_path):
    import av

    (played,) = play(recording, ["demo_1"], videos=tmp_path / "films")
    with av.open(str(played.video)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == played.steps + 1 and np.abs(frames[0].astype(int) - frames[80]).mean() > 1


def test_as_it_is_typed(recording, mimicctl):
    done = mimicctl("replay", "--verify", "--json")
    assert done.returncode == 0 and "demo_1: success  (2 of 2)" in done.stderr
    told = json.loads(done.stdout)
    assert [demo["divergence"]["step"] for demo in told["demos"]] == [None, None] and told["file"] == str(recording)
    edit(recording, "states/rigid_object/cube_2/root_pose", 40, 1, lambda y: y + 0.02)
    done = mimicctl("replay", "--verify", "--demo", "demo_1")
    assert done.returncode == 1 and "rigid_object/cube_2/root_pose" in done.stdout
    done = mimicctl("replay", "nowhere.hdf5")
    assert done.returncode == 2 and "no such file" in done.stderr
