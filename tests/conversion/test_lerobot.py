"""LeRobot datasets there and back, appending, interruptions, and what is refused. That the real lerobot reads them is tested in test_lerobot_real."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.conversion.lerobot import writer
from mimicctl.conversion.lerobot.features import ENVIRONMENT, STATE
from mimicctl.conversion.lerobot.folder import LeRobotFolder
from mimicctl.conversion.lerobot.from_lerobot import from_lerobot
from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
from mimicctl.dataset.check import check
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed, UserError
from mimicctl.tasks import DEFAULT_TASK
from tests.cameras import TASK, camera_episode, camera_file
from tests.conftest import ROOT
from tests.episodes import make_episode

pq = pytest.importorskip("pyarrow.parquet")

SIM_ARGS = {"dt": 0.005, "decimation": 10}
CAMERAS = ("table_cam", "wrist_cam")


def states_file(path: Path, demos: int = 5, first: int = 0, sim_args: dict = SIM_ARGS, **changes) -> Path:
    with DatasetWriter(path, task_id=DEFAULT_TASK, lineage={"made_by": "test"}, env_args={"sim_args": sim_args}) as out:
        for number in range(first, first + demos):
            out.write(make_episode(number, 12 + number, **changes), attempts=[json.dumps({"trial": number})])
    return path


def differences(path: Path, other: Path, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Arrays and attributes that two files do not have alike."""
    found = []
    with Dataset(path) as a, Dataset(other) as b:
        if a.demos != b.demos or a.masks != b.masks or a.env_args != b.env_args or a.format_version != b.format_version or a.attempts() != b.attempts():
            found.append("file")
        for name in a.demos:
            theirs, ours = dict(a.arrays(name)), dict(b.arrays(name))
            found += [f"{name}: {key}" for key in theirs.keys() ^ ours.keys()]
            found += [f"{name}: {key}" for key in theirs.keys() & ours.keys() if not _same(theirs[key], ours[key]) and key not in leave_out]
            if a.attributes(name) != b.attributes(name):
                found.append(f"{name}: attributes")
    return found


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)


def there_and_back(path: Path, **options) -> Path:
    back = path.with_name("back.hdf5")
    to_lerobot(path, path.with_name("there"), **options)
    from_lerobot(path.with_name("there"), back)
    return back


# There and back --------------------------------------------------------------------------------------


def test_recorded_demos_come_back_bit_for_bit(tmp_path, source_file):
    path = tmp_path / "a.hdf5"
    shutil.copy(source_file, path)
    split_file(path, valid_fraction=0.2, seed=0)
    back = there_and_back(path)
    assert differences(path, back) == []
    with Dataset(path) as a, Dataset(back) as b:
        assert a.content_hash() == b.content_hash()
        assert b.lineage["inputs"][0]["lineage"] == a.lineage


def test_demos_with_gaps_in_their_numbers_and_the_log_of_attempts_come_back(tmp_path):
    path = states_file(tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        del file["data/demo_2"]
    back = there_and_back(path)
    assert differences(path, back) == []
    with Dataset(back) as dataset:
        assert dataset.demos == ("demo_0", "demo_1", "demo_3", "demo_4") and len(dataset.attempts()) == 5


def test_actions_that_were_intended_are_what_is_learnt_from(tmp_path):
    noisy = make_episode(1, 12)
    noisy.intended_actions = noisy.actions + 0.5
    with DatasetWriter(tmp_path / "a.hdf5", task_id=DEFAULT_TASK, lineage={}, env_args={"sim_args": SIM_ARGS}) as out:
        out.write(noisy)
        out.write(make_episode(2, 12))
    back = there_and_back(tmp_path / "a.hdf5")
    action = np.stack(pq.read_table(tmp_path / "there/data/chunk-000/file-000.parquet")["action"].to_numpy())
    assert np.array_equal(action, np.concatenate([noisy.intended_actions, make_episode(2, 12).actions]))
    assert differences(tmp_path / "a.hdf5", back) == []


def test_numbers_of_double_precision_come_back_so(tmp_path):
    path = states_file(tmp_path / "a.hdf5", 2)
    with h5py.File(path, "r+") as file:
        for key in ("actions", "obs/eef_pos"):
            exact = file[f"data/demo_0/{key}"][()].astype(np.float64) / 3
            del file[f"data/demo_0/{key}"]
            file[f"data/demo_0/{key}"] = exact
    assert differences(path, there_and_back(path)) == []


def test_pictures_come_back_as_the_codec_kept_them_and_other_images_exactly(tmp_path):
    path = camera_file(tmp_path / "a.hdf5", size=(64, 80))
    back = there_and_back(path)
    assert differences(path, back, leave_out=tuple(f"obs/{key}" for key in CAMERAS)) == []
    with Dataset(path) as a, Dataset(back) as b:
        for name in a.demos:
            for key in CAMERAS:
                stored, kept = (dataset.group(name)[f"obs/{key}"][()].astype(int) for dataset in (a, b))
                # The disc has another place at each step and another brightness in each demo: frames of others would differ by far more.
                assert np.abs(stored - kept).mean() < 3


def test_what_a_policy_is_given_depends_on_whether_there_are_cameras(tmp_path):
    to_lerobot(states_file(tmp_path / "a.hdf5"), tmp_path / "a")
    to_lerobot(camera_file(tmp_path / "b.hdf5"), tmp_path / "b")
    a, b = LeRobotFolder(tmp_path / "a").features, LeRobotFolder(tmp_path / "b").features
    assert a[STATE]["names"] == b[STATE]["names"]
    assert a[ENVIRONMENT]["names"] == [f"object_{i}" for i in range(39)] and ENVIRONMENT not in b
    assert {name for name in b if "images" in name} == {f"observation.images.{key}" for key in CAMERAS}


def test_features_can_be_chosen(tmp_path):
    made = to_lerobot(camera_file(tmp_path / "a.hdf5"), tmp_path / "a", state_keys=["joint_vel"], environment_keys=["object", "eef_pos"], cameras=["wrist_cam"])
    features = LeRobotFolder(made.folder).features
    assert features[STATE]["names"][0] == "joint_vel_0" and features[ENVIRONMENT]["shape"] == [42] and "observation.images.table_cam" not in features
    from_lerobot(tmp_path / "a", tmp_path / "b.hdf5")
    assert differences(tmp_path / "a.hdf5", tmp_path / "b.hdf5", leave_out=("obs/wrist_cam",)) == []


def test_statistics_are_those_of_all_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "EPISODES_A_FILE", 2)
    path = states_file(tmp_path / "a.hdf5")
    to_lerobot(path, tmp_path / "a")
    with Dataset(path) as dataset:
        actions = np.concatenate([dataset.group(name)["actions"][()] for name in dataset.demos]).astype(np.float64)
    stats = LeRobotFolder(tmp_path / "a").statistics["action"]
    for name, wanted in {"min": actions.min(0), "max": actions.max(0), "mean": actions.mean(0), "std": actions.std(0), "count": [len(actions)]}.items():
        assert np.allclose(stats[name], wanted)
    assert np.all(np.array(stats["q01"]) < stats["q10"]) and np.all(np.array(stats["q90"]) < stats["q99"])


def test_statistics_of_pictures_are_those_of_all_pixels(tmp_path):
    path = camera_file(tmp_path / "a.hdf5", 2)
    to_lerobot(path, tmp_path / "a")
    with Dataset(path) as dataset:
        pictures = np.concatenate([dataset.group(name)["obs/table_cam"][()] for name in dataset.demos]).reshape(-1, 3) / 255
    stats = LeRobotFolder(tmp_path / "a").statistics["observation.images.table_cam"]
    for name, wanted in {"min": pictures.min(0), "max": pictures.max(0), "mean": pictures.mean(0), "std": pictures.std(0)}.items():
        assert np.allclose(np.array(stats[name]), wanted.reshape(3, 1, 1)), name
    assert stats["count"] == [12 + 14]


# More of them, and interruptions ---------------------------------------------------------------------


def test_demos_are_appended_once(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "EPISODES_A_FILE", 2)
    first, second = states_file(tmp_path / "a.hdf5", 3), states_file(tmp_path / "b.hdf5", 2, first=3)
    split_file(second, valid_fraction=0.5, seed=0)
    to_lerobot(first, tmp_path / "there")
    made = to_lerobot(second, tmp_path / "there", append=True, instruction="Do it otherwise.")
    assert (made.demos, made.there, made.episodes) == (2, 0, 5)
    again = to_lerobot(second, tmp_path / "there", append=True)
    assert (again.demos, again.there, again.episodes) == (0, 2, 5)
    folder = LeRobotFolder(tmp_path / "there")
    assert folder.episodes[4].tasks == ("Do it otherwise.",) and len(folder.tasks) == 2
    assert [entry.first for entry in folder.episodes] == list(np.cumsum([0, 12, 13, 14, 15]))
    from_lerobot(tmp_path / "there", tmp_path / "back.hdf5")
    with Dataset(tmp_path / "back.hdf5") as back, Dataset(second) as b:
        assert back.demos == tuple(f"demo_{i}" for i in range(5))
        assert {key: len(names) for key, names in back.masks.items()} == {"train": 1, "valid": 1}
        assert np.array_equal(back.group("demo_4")["obs/object"][()], b.group("demo_1")["obs/object"][()])


def test_a_recording_that_has_grown_is_appended_from_where_it_was(tmp_path):
    path = states_file(tmp_path / "a.hdf5", 3)
    to_lerobot(path, tmp_path / "there")
    states_file(path, 2, first=3)
    made = to_lerobot(path, tmp_path / "there", append=True)
    assert (made.demos, made.there) == (2, 3)
    from_lerobot(tmp_path / "there", tmp_path / "back.hdf5")
    with Dataset(path) as a, Dataset(tmp_path / "back.hdf5") as b:
        assert a.content_hash() == b.content_hash()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sim_args": {"dt": 0.01, "decimation": 10}}, "fps 20, not 10"),
        ({"actions": np.zeros((12, 8), np.float32)}, "action: shape [7], not [8]"),
        ({"obs": {"eef_pos": np.zeros((12, 3), np.float32)}}, "a feature observation.environment_state"),
        ({"sim_args": {"dt": 0.01, "decimation": 5}}, "env_args"),
    ],
)
def test_what_does_not_fit_is_not_appended(tmp_path, change, said):
    to_lerobot(states_file(tmp_path / "a.hdf5"), tmp_path / "there")
    before = {path: path.read_bytes() for path in (tmp_path / "there").rglob("*") if path.is_file()}
    other = states_file(tmp_path / "b.hdf5", 1, **change)
    with pytest.raises(UserError, match="another format") as caught:
        to_lerobot(other, tmp_path / "there", append=True)
    assert said in caught.value.where
    assert {path: path.read_bytes() for path in (tmp_path / "there").rglob("*") if path.is_file()} == before


def test_a_dataset_that_is_there_is_replaced_only_on_request(tmp_path):
    path = states_file(tmp_path / "a.hdf5")
    to_lerobot(path, tmp_path / "there", fps=5)
    with pytest.raises(UserError, match="exists already"):
        to_lerobot(path, tmp_path / "there")
    with pytest.raises(UserError, match="another format"):
        to_lerobot(path, tmp_path / "there", resume=True)
    to_lerobot(path, tmp_path / "there", overwrite=True)
    assert LeRobotFolder(tmp_path / "there").fps == 20
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "there"]
    with pytest.raises(UserError, match="other files"):
        to_lerobot(states_file(tmp_path / "b.hdf5", first=7), tmp_path / "there", resume=True)


_KILLED = """
import os, signal, sys
from mimicctl.conversion.lerobot import writer
from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
source, folder, append, where, times = sys.argv[1], sys.argv[2], sys.argv[3] == "append", sys.argv[4], int(sys.argv[5])
writer.EPISODES_A_FILE = 1
whole = getattr(writer._Batch, where) if hasattr(writer._Batch, where) else getattr(writer, where)
left = [times]
def killed(*arguments):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*arguments)
setattr(writer._Batch if hasattr(writer._Batch, where) else writer, where, killed)
to_lerobot(source, folder, append=append)
"""


def test_a_folder_that_is_no_dataset_is_neither_replaced_nor_added_to(tmp_path):
    path = states_file(tmp_path / "a.hdf5", 1)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.tex").write_text("years of work")
    for options, said in (({"overwrite": True}, "something else"), ({"append": True}, "no meta/info.json"), ({"resume": True}, "no meta/info.json")):
        with pytest.raises(UserError, match=said):
            to_lerobot(path, tmp_path / "there", **options)
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["thesis.tex"]


def test_a_conversion_that_was_killed_before_its_first_batch_is_resumed(tmp_path):
    path, folder = states_file(tmp_path / "a.hdf5", 2), tmp_path / "there"
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(path), str(folder), "new", "_replace", "1"], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(UserError, match="interrupted"):
        to_lerobot(path, folder)
    assert to_lerobot(path, folder, resume=True).demos == 2
    from_lerobot(folder, tmp_path / "back.hdf5")
    assert differences(path, tmp_path / "back.hdf5") == []


@pytest.mark.parametrize("how", ["new", "append"])
@pytest.mark.parametrize(("where", "times"), [("_row", 3), ("finish", 3), ("_replace", 7), ("_replace", 9)])
def test_a_killed_conversion_goes_on_where_it_was(tmp_path, how, where, times):
    """`_replace` writes three files a batch: the seventh and ninth are after the third batch's files have their names, before it counts."""
    path, folder = camera_file(tmp_path / "a.hdf5", 5), tmp_path / "there"
    if how == "append":
        other = tmp_path / "b.hdf5"
        with DatasetWriter(other, task_id=TASK, lineage={}, env_args={"sim_args": SIM_ARGS}) as out:
            out.write(camera_episode(7, 12))
        to_lerobot(other, folder)
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(path), str(folder), how, where, str(times)], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if how == "append":
        assert LeRobotFolder(folder).damage() == [], "it is whole at every moment"
    else:
        assert not folder.exists()
    made = to_lerobot(path, folder, append=how == "append", resume=how == "new")
    assert (made.demos, made.there) == (3, 2)
    from_lerobot(folder, tmp_path / "back.hdf5")
    with Dataset(path) as a, Dataset(tmp_path / "back.hdf5") as back:
        others = len(back) - len(a)
        assert others == (how == "append")
        for i, name in enumerate(a.demos):
            assert np.array_equal(a.group(name)["obs/eef_pos"][()], back.group(f"demo_{i + others}")["obs/eef_pos"][()])
    assert not list(tmp_path.rglob("*partial*"))


def test_the_way_back_goes_on_after_the_last_good_demo(tmp_path):
    path = states_file(tmp_path / "a.hdf5")
    to_lerobot(path, tmp_path / "there")

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        from_lerobot(tmp_path / "there", tmp_path / "back.hdf5", on_progress=interrupt)
    assert not (tmp_path / "back.hdf5").exists()
    made = from_lerobot(tmp_path / "there", tmp_path / "back.hdf5", resume=True)
    assert made.resumed_at == 3
    assert differences(path, tmp_path / "back.hdf5") == []
    assert from_lerobot(tmp_path / "there", tmp_path / "back.hdf5", resume=True).resumed_at == 5
    assert differences(path, tmp_path / "back.hdf5") == [], "and once more changes nothing"
    to_lerobot(states_file(tmp_path / "b.hdf5", 1, first=8), tmp_path / "there", append=True)
    with pytest.raises(UserError, match="another dataset"):
        from_lerobot(tmp_path / "there", tmp_path / "back.hdf5", resume=True)
    assert differences(path, tmp_path / "back.hdf5") == []


# Datasets of others, and damaged ones -----------------------------------------------------------------


def test_a_dataset_without_our_sidecar_comes_with_what_it_has(tmp_path):
    to_lerobot(camera_file(tmp_path / "a.hdf5"), tmp_path / "there")
    shutil.rmtree(tmp_path / "there" / "mimicctl")
    made = from_lerobot(tmp_path / "there", tmp_path / "back.hdf5", task_id=TASK)
    assert made.without == 3
    with Dataset(tmp_path / "a.hdf5") as a, Dataset(tmp_path / "back.hdf5") as back:
        assert {path for path, _ in back.arrays("demo_1")} == {"actions", "obs/state", *(f"obs/{key}" for key in CAMERAS)}
        assert np.array_equal(back.group("demo_1")["actions"][()], a.group("demo_1")["actions"][()])
        assert back.control_hz == 20 and back.task_id == TASK
        assert back.demo_lineage("demo_1")["lerobot"]["episode"] == 1
        assert [finding for finding in check(back) if finding.severity == "error"] == []


def test_an_episode_that_was_changed_since_is_not_given_the_sidecar_of_another(tmp_path):
    to_lerobot(states_file(tmp_path / "a.hdf5", 2), tmp_path / "there")
    path = tmp_path / "there/data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    actions = np.stack(table["action"].to_numpy()).astype(np.float32)
    actions[-1] += 1
    import pyarrow as pa

    index = table.column_names.index("action")
    pq.write_table(table.set_column(index, "action", pa.FixedSizeListArray.from_arrays(pa.array(actions.reshape(-1)), 7)), path)
    assert from_lerobot(tmp_path / "there", tmp_path / "back.hdf5").without == 1
    with Dataset(tmp_path / "back.hdf5") as back:
        assert "states" in back.group("demo_0") and "states" not in back.group("demo_1")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def edit_info(folder: Path, **changes: object) -> None:
    path = folder / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "where", "said"),
    [
        (lambda d: cut(d / "data/chunk-000/file-001.parquet"), "data/chunk-000/file-001.parquet", "was cut off: it has no footer (episodes 2 to 3)"),
        (
            lambda d: cut(d / "videos/observation.images.table_cam/chunk-000/file-000.mp4"),
            "table_cam/chunk-000/file-000.mp4",
            "cut off, or is no video (episodes 0 to 1)",
        ),
        (
            lambda d: (d / "videos/observation.images.wrist_cam/chunk-000/file-001.mp4").unlink(),
            "wrist_cam/chunk-000/file-001.mp4",
            "is missing (episodes 2 to 3)",
        ),
        (lambda d: cut(d / "meta/episodes/chunk-000/file-000.parquet"), "meta/episodes/chunk-000/file-000.parquet", "was cut off"),
        (lambda d: cut(d / "mimicctl/chunk-000/file-000.hdf5"), "mimicctl/chunk-000/file-000.hdf5", "was cut off"),
        (lambda d: cut(d / "meta/info.json"), "meta/info.json", "not readable JSON"),
        (lambda d: (d / "meta/info.json").unlink(), "there", "no meta/info.json"),
        (lambda d: edit_info(d, codebase_version="v2.1"), "there", "lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=local/there"),
        (lambda d: edit_info(d, codebase_version="v1.6"), "there", "version 1.6"),
        (lambda d: edit_info(d, codebase_version="v4.0"), "there", "v4.0"),
        (lambda d: edit_info(d, fps="fast"), "meta/info.json", "no fps"),
        (lambda d: edit_info(d, total_episodes=7), "there", "counts 7 episodes, and its table of episodes has 4"),
        (shutil.rmtree, "there", "no such folder"),
    ],
    ids=["data", "video", "missing", "episodes", "sidecar", "info", "no info", "v2.1", "v1", "v4", "fps", "count", "folder"],
)
def test_a_damaged_dataset_is_refused_by_name_and_nothing_is_written(tmp_path, monkeypatch, damage, where, said):
    monkeypatch.setattr(writer, "EPISODES_A_FILE", 2)
    to_lerobot(camera_file(tmp_path / "a.hdf5", 4), tmp_path / "there")
    damage(tmp_path / "there")
    with pytest.raises(UserError) as caught:
        from_lerobot(tmp_path / "there", tmp_path / "back.hdf5")
    assert not isinstance(caught.value, RunFailed)
    assert where in caught.value.where and said in str(caught.value)
    assert not list(tmp_path.glob("back*"))


def test_numbers_that_were_changed_in_the_middle_end_the_way_back_with_what_was_good(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "EPISODES_A_FILE", 2)
    to_lerobot(states_file(tmp_path / "a.hdf5", 4), tmp_path / "there")
    path = tmp_path / "there/data/chunk-000/file-001.parquet"
    content = bytearray(path.read_bytes())
    content[60:400] = bytes(340)
    path.write_bytes(bytes(content))
    with pytest.raises(RunFailed) as caught:
        from_lerobot(tmp_path / "there", tmp_path / "back.hdf5")
    assert caught.value.where == str(path)
    with Dataset(tmp_path / "back.partial.hdf5") as kept:
        assert len(kept) == 2


# Demos that do not fit ---------------------------------------------------------------------------------


def without_control_rate(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": DEFAULT_TASK, "type": 2})


def odd_pictures(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["obs/table_cam"] = np.zeros((len(demo["actions"]), 9, 8, 3), np.uint8)


def of_isaaclab2(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["format_version"]


def one_without_object(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["data/demo_3/obs/object"]


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (without_control_rate, {}, "give --fps"),
        (odd_pictures, {}, "8 x 9 pixels"),
        (of_isaaclab2, {}, "convert-dialect"),
        (one_without_object, {}, "demo_3: no obs/object"),
        (lambda path: None, {"state_keys": ["elbow"]}, "no elbow"),
        (lambda path: None, {"cameras": ["table_cam"]}, "no table_cam"),
        (lambda path: None, {"filter_key": "train"}, 'mask "train"'),
        (lambda path: None, {"append": True}, "no dataset to append to"),
    ],
    ids=["rate", "odd", "wxyz", "missing", "state", "camera", "mask", "append"],
)
def test_what_cannot_be_converted_is_refused_before_anything_is_written(tmp_path, change, options, said):
    path = states_file(tmp_path / "a.hdf5")
    change(path)
    with pytest.raises(UserError) as caught:
        to_lerobot(path, tmp_path / "there", **options)
    assert said in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_numbers_that_are_not_finite_end_the_conversion_at_their_demo(tmp_path):
    path = states_file(tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        file["data/demo_3/obs/eef_pos"][4] = np.nan
    with pytest.raises(RunFailed, match="not finite") as caught:
        to_lerobot(path, tmp_path / "there")
    assert "demo_3" in caught.value.where and not (tmp_path / "there").exists()


def test_the_commands_find_each_others_output(mimicctl, tmp_path):
    (tmp_path / "datasets").mkdir()
    camera_file(tmp_path / "datasets/generated.hdf5")
    there = mimicctl("convert", "hdf5-to-lerobot", "--json")
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout)["episodes"] == 3
    back = mimicctl("convert", "lerobot-to-hdf5")
    assert back.returncode == 0, back.stderr
    assert "datasets/from_lerobot.hdf5" in back.stdout
    again = mimicctl("convert", "hdf5-to-lerobot")
    assert again.returncode == 2 and "--append" in again.stderr
    with Dataset(tmp_path / "datasets/from_lerobot.hdf5") as dataset:
        assert len(dataset) == 3
