"""The dataset viewer's server, over real sockets."""

from __future__ import annotations

import io
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from mimicctl.dataset.masks import DISCARDED, KEPT, change_masks, without_discarded
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK
from mimicctl.web import datasets
from mimicctl.web.marks import mark_demos
from mimicctl.web.series import action_labels, series_of
from mimicctl.web.stage import Stages, viewed_as
from mimicctl.web.workspace import Workspace, source_text, version_of
from tests.episodes import make_episode
from tests.web.client import Client, served


@pytest.fixture
def folder(tmp_path, source_file):
    """A sound dataset, one with images, one cut off, one that is something else, and a hidden one."""
    folder = tmp_path / "datasets"
    (folder / "more").mkdir(parents=True)
    shutil.copy(source_file, folder / "a.hdf5")
    with DatasetWriter(folder / "more" / "b.hdf5", task_id="Unknown-Task-v0", lineage={"made_by": "mimicctl record"}) as writer:
        for i in range(3):
            episode = make_episode(i, success=i != 1)
            episode.obs["table_cam"] = np.full((20, 12, 16, 3), 10 * np.arange(20)[:, None, None, None], np.uint8)
            writer.write(episode)
    (folder / "cut.hdf5").write_bytes(source_file.read_bytes()[:300_000])
    (folder / "text.hdf5").write_text("hello")
    shutil.copy(source_file, folder / ".a.hdf5.working")
    return folder


@pytest.fixture
def client(folder):
    with served(datasets.routes(Workspace([folder]), Stages()), {"datasets.html": "Demonstrations"}) as server:
        yield Client(server)


def number_of(client: Client, name: str) -> int:
    return next(file["number"] for file in client.get("/api/datasets") if file["name"] == name)


def test_files_of_a_folder_are_listed_and_broken_ones_say_why(client):
    files = {file["name"]: file for file in client.get("/api/datasets")}
    assert list(files) == ["a.hdf5", "cut.hdf5", "more/b.hdf5", "text.hdf5"]
    assert files["a.hdf5"]["demos"] == 10 and not files["a.hdf5"]["problem"]
    assert "cut off" in files["cut.hdf5"]["problem"] and "repair" in files["cut.hdf5"]["do"]
    assert "not a readable" in files["text.hdf5"]["problem"]
    assert files["more/b.hdf5"]["cameras"] == ["table_cam"] and files["more/b.hdf5"]["made_by"] == "mimicctl record"


def test_a_file_that_is_being_recorded_is_shown_as_far_as_it_is_and_cannot_be_marked(client, folder):
    with DatasetWriter(folder / "now.hdf5", task_id=DEFAULT_TASK, lineage={}) as writer:
        writer.write(make_episode(0))
        number = number_of(client, "now.hdf5")
        shown = client.get(f"/api/datasets/{number}/demos")
        assert shown["file"]["being_written"] and len(shown["demos"]) == 1
        refused = client.refused(f"/api/datasets/{number}/marks", {"changes": {"demo_0": "kept"}, "version": shown["file"]["version"]})
        assert refused["status"] == 400 and "Another process" in refused["error"]
        writer.write(make_episode(1))
        assert len(client.get(f"/api/datasets/{number}/demos")["demos"]) == 2
    assert not client.get(f"/api/datasets/{number}/demos")["file"]["being_written"]


def test_demos_come_with_length_success_source_and_sketch(client):
    number = number_of(client, "a.hdf5")
    demos = client.get(f"/api/datasets/{number}/demos")["demos"]
    assert [demo["name"] for demo in demos] == [f"demo_{i}" for i in range(10)]
    assert demos[0]["steps"] == 203 and demos[0]["seconds"] == 10.15 and demos[0]["success"] and demos[0]["annotated"]
    assert demos[0]["source"] == "from demo_0, by scripted"
    sketches = np.frombuffer(client.bytes(f"/api/datasets/{number}/sketches/0"), "<f4").reshape(10, 32, 3)
    assert np.isfinite(sketches).all() and len(client.bytes(f"/api/datasets/{number}/sketches/8")) == 2 * 32 * 3 * 4


def test_series_hold_what_the_file_holds(client, folder):
    number = number_of(client, "a.hdf5")
    shown = client.get(f"/api/datasets/{number}/demos/demo_2/series")
    with Dataset(folder / "a.hdf5") as dataset:
        episode = dataset.episode("demo_2")
    groups = {group["title"]: {line["name"]: line["values"] for line in group["lines"]} for group in shown["groups"]}
    assert np.allclose(groups["actions"]["rz"], episode.actions[:, 5], atol=1e-5) and "gripper" not in groups["actions"]
    assert np.allclose(groups["eef position [m]"]["z"], episode.obs["eef_pos"][:, 2], atol=1e-5)
    starts, ends = [f"{name} starts" for name in ("grasp_1", "stack_1", "grasp_2", "stack_2")], ["grasp_1", "stack_1", "grasp_2"]
    assert next(iter(shown["signals"])) == "closed" and sorted(shown["signals"]) == sorted(["closed", *starts, *ends])
    grasp = episode.datagen_info["subtask_term_signals/grasp_1"]
    assert all(grasp[first:last].all() for first, last in shown["signals"]["grasp_1"])
    assert sum(last - first for first, last in shown["signals"]["grasp_1"]) == grasp.sum()


def test_long_demos_are_thinned_out_but_signals_stay_exact(tmp_path):
    steps = 9000
    signal = np.zeros(steps, bool)
    signal[4321] = True
    with DatasetWriter(tmp_path / "long.hdf5", task_id="", lineage={}) as writer:
        writer.write(make_episode(0, steps=steps, datagen_info={"subtask_term_signals/blink": signal}))
    with Dataset(tmp_path / "long.hdf5") as dataset:
        series = series_of(dataset, "demo_0")
    assert len(series["at"]) == 4000 and series["at"][-1] == steps - 1 and series["signals"]["blink"] == [[4321, 4322]]
    assert [line["name"] for line in series["groups"][0]["lines"]] == [str(i) for i in range(7)]


def test_states_are_replayed_as_bodies_of_the_scene(client, folder):
    number = number_of(client, "a.hdf5")
    frames = np.frombuffer(client.bytes(f"/api/datasets/{number}/demos/demo_0/frames"), "<f4").reshape(204, -1, 7)
    scene = client.bytes(f"/api/datasets/{number}/scene")
    assert b'"cube_2"' in scene[:100_000]
    with Dataset(folder / "a.hdf5") as dataset:
        cube = dataset.episode("demo_0").states["rigid_object/cube_1/root_pose"]
    off = np.abs(frames[1:, :, :3] - cube[:, None, :3]).max(axis=(0, 2))
    assert off.min() < 1e-5


def test_scenes_that_are_not_known_are_refused_with_the_reason(client):
    number = number_of(client, "more/b.hdf5")
    assert "not known here" in client.refused(f"/api/datasets/{number}/scene")["error"]
    assert viewed_as("Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0").task_id == DEFAULT_TASK
    with pytest.raises(UserError, match="names no task"):
        viewed_as("")


def test_images_come_one_by_one_and_as_a_film(client):
    number = number_of(client, "more/b.hdf5")
    film = client.images(f"/api/datasets/{number}/demos/demo_1/images/table_cam")
    assert len(film) == 20
    shown = np.asarray(Image.open(io.BytesIO(film[17])))
    assert shown.shape == (12, 16, 3) and abs(shown.mean() - 170) < 3
    assert client.bytes(f"/api/datasets/{number}/demos/demo_1/images/table_cam/17") == film[17]


@pytest.mark.parametrize(
    "path",
    [
        "9/demos",
        "0/demos/demo_77/series",
        "0/demos/..%2fdemo_0/frames",
        "0/demos/demo_0/images/table_cam/0",
        "2/demos/demo_0/images/table_cam/20",
        "2/demos/demo_0/images/eef_pos",
        "1/demos",
        "999999/demos/demo_0/series",
    ],
)
def test_what_is_not_there_is_refused_with_the_reason(client, path):
    client.get("/api/datasets")
    refused = client.refused(f"/api/datasets/{path}")
    assert refused["status"] == 400 and refused["error"]


@pytest.mark.parametrize("path", ["../etc/passwd", "-1/demos", "a/demos", "0/demos/demo_0/images/table_cam/-1", "0/demos/a/b/c/series"])
def test_files_have_no_other_names_than_numbers(client, path):
    assert client.refused(f"/api/datasets/{path}")["status"] == 404


def test_a_damaged_demo_is_refused_with_the_reason(client, folder):
    with h5py.File(folder / "a.hdf5", "r+") as file:
        del file["data/demo_3/actions"]
    number = number_of(client, "a.hdf5")
    assert client.get(f"/api/datasets/{number}/demos")["demos"][3]["steps"] == 0
    for what in ("series", "frames"):
        assert client.refused(f"/api/datasets/{number}/demos/demo_3/{what}")["error"]


# Marks -----------------------------------------------------------------------------------------------------


def test_marks_are_masks_and_the_data_stays(client, folder):
    number = number_of(client, "a.hdf5")
    with Dataset(folder / "a.hdf5") as dataset:
        before = dataset.content_hash()
    version = client.get(f"/api/datasets/{number}/demos")["file"]["version"]
    answer = client.post(f"/api/datasets/{number}/marks", {"changes": {"demo_1": "kept", "demo_2": "discarded", "demo_3": "discarded"}, "version": version})
    assert (answer["kept"], answer["discarded"]) == (1, 2) and answer["version"] != version
    client.post(f"/api/datasets/{number}/marks", {"changes": {"demo_1": "", "demo_3": "kept"}, "version": answer["version"]})
    marks = {demo["name"]: demo["mark"] for demo in client.get(f"/api/datasets/{number}/demos")["demos"] if demo["mark"]}
    assert marks == {"demo_2": "discarded", "demo_3": "kept"}
    with Dataset(folder / "a.hdf5") as dataset:
        assert dataset.masks == {"kept": ("demo_3",), "discarded": ("demo_2",)} and dataset.content_hash() == before
    assert not list(folder.glob(".*masks")) and not list(folder.glob("*.lock"))


def test_marking_what_has_changed_meanwhile_is_refused(client, folder):
    number = number_of(client, "a.hdf5")
    version = client.get(f"/api/datasets/{number}/demos")["file"]["version"]
    split_file(folder / "a.hdf5")
    refused = client.refused(f"/api/datasets/{number}/marks", {"changes": {"demo_1": "kept"}, "version": version})
    assert "has changed" in refused["error"]
    with Dataset(folder / "a.hdf5") as dataset:
        assert set(dataset.masks) == {"train", "valid"}


@pytest.mark.parametrize(
    "body", [[], {}, {"changes": [], "version": ""}, {"changes": {"demo_99": "kept"}}, {"changes": {"demo_0": 3}}, {"changes": {"demo_0": "deleted"}}]
)
def test_marks_that_mean_nothing_are_refused(client, body):
    number = number_of(client, "a.hdf5")
    version = client.get(f"/api/datasets/{number}/demos")["file"]["version"]
    if isinstance(body, dict) and isinstance(body.get("changes"), dict):
        body = {**body, "version": version}
    assert client.refused(f"/api/datasets/{number}/marks", body)["status"] == 400
    assert client.get(f"/api/datasets/{number}/demos")["file"]["version"] == version


def test_interrupted_marking_leaves_the_file_whole(folder, monkeypatch):
    path = folder / "a.hdf5"
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mimicctl.dataset.masks.write_masks", fail)
    with pytest.raises(UserError, match="No space"):
        mark_demos(path, {"demo_0": "kept"}, version_of(path))
    assert path.read_bytes() == before and not list(folder.glob(".*masks"))


def test_discarded_demos_are_in_no_split_and_kept_ones_can_be_split_alone(folder):
    path = folder / "a.hdf5"
    change_masks(path, lambda dataset: {KEPT: ["demo_1", "demo_4", "demo_6"], DISCARDED: ["demo_0", "demo_9"]})
    masks = split_file(path)
    assert len(masks["train"]) + len(masks["valid"]) == 8 and not {"demo_0", "demo_9"} & {*masks["train"], *masks["valid"]}
    assert {name for names in split_file(path, filter_key=KEPT, overwrite=True).values() for name in names} == {"demo_1", "demo_4", "demo_6"}
    with Dataset(path) as dataset:
        assert without_discarded(dataset, ("demo_0", "demo_1")) == ("demo_1",)
    with pytest.raises(UserError, match="no mask/better"):
        split_file(path, filter_key="better")
    change_masks(path, lambda dataset: {DISCARDED: dataset.demos})
    with pytest.raises(UserError, match="all are discarded"):
        split_file(path, overwrite=True)


# The list ---------------------------------------------------------------------------------------------------


def test_what_is_given_must_be_there_and_a_folder_may_appear_later(tmp_path, source_file):
    with pytest.raises(UserError, match="no such file"):
        Workspace([tmp_path / "nothing.hdf5"])
    workspace = Workspace.of_folder(tmp_path / "datasets")
    assert workspace.files() == []
    (tmp_path / "datasets").mkdir()
    shutil.copy(source_file, tmp_path / "datasets" / "x.hdf5")
    assert [file.name for file in workspace.files()] == ["x.hdf5"]


def test_numbers_stay_with_their_files(tmp_path, source_file):
    (tmp_path / "d").mkdir()
    shutil.copy(source_file, tmp_path / "d" / "m.hdf5")
    workspace = Workspace([tmp_path / "d"])
    number = workspace.files()[0].number
    shutil.copy(source_file, tmp_path / "d" / "a.hdf5")
    assert {file.name: file.number for file in workspace.files()}["m.hdf5"] == number
    (tmp_path / "d" / "m.hdf5").unlink()
    assert [file.name for file in workspace.files()] == ["a.hdf5"] and "not there" in workspace.file(number).problem


@pytest.mark.parametrize(
    ("lineage", "text"),
    [
        ({}, ""),
        ({"device": "keyboard", "operator": "Ada"}, "by keyboard, Ada"),
        ({"trial": 7, "sources": ["demo_1", "demo_1", "demo_4"]}, "trial 7 from demo_1, demo_4"),
        ({"parent": {"demo": "demo_3", "trial": 2}}, "from demo_3, trial 2"),
    ],
)
def test_sources_in_a_few_words(lineage, text):
    assert source_text(lineage) == text


@pytest.mark.parametrize(
    ("task", "width", "last"),
    [(DEFAULT_TASK, 7, "gripper"), ("MuJoCo-Stack-Cube-Franka-IK-Abs-v0", 8, "gripper"), (DEFAULT_TASK, 8, "7"), ("Unknown-v0", 2, "1"), ("", 3, "2")],
)
def test_actions_are_named_by_the_task_or_counted(task, width, last):
    labels = action_labels(task, width)
    assert len(labels) == width and labels[-1] == last
