"""Withdrawal reaches LeRobot datasets, what was made of them, and policies that LeRobot trained on them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.conversion.lerobot import writer
from mimicctl.conversion.lerobot.folder import LeRobotFolder
from mimicctl.conversion.lerobot.from_lerobot import from_lerobot
from mimicctl.conversion.lerobot.sidecar import Sidecar
from mimicctl.conversion.lerobot.splicing import stored_pictures
from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed, UserError
from mimicctl.provenance import purge_export
from mimicctl.provenance.checkpoints import refuse_tainted, taint_of
from mimicctl.provenance.graph import Graph
from mimicctl.provenance.trace import as_text, trace_of
from mimicctl.provenance.verify import verify
from mimicctl.provenance.withdraw import plan
from mimicctl.provenance.workspace import scan
from tests.cameras import SIM_ARGS, TASK
from tests.conversion.test_lerobot import differences
from tests.episodes import make_episode
from tests.provenance.test_withdraw import expected, withdraw
from tests.provenance.workshop import Workshop, make_workshop

pq = pytest.importorskip("pyarrow.parquet")

CAMERAS = ("observation.images.table_cam", "observation.images.wrist_cam")
OPERATORS = ("ada", "bert", "ada", "bert", "cleo")


@pytest.fixture
def shop(tmp_path) -> Workshop:
    """12 generated demos, and LeRobot's datasets of them: one of the generated, one of all files."""
    made = make_workshop(tmp_path / "work", 12, copies=4)
    to_lerobot(made.path("generated"), made.folder / "lerobot", fps=20)
    for name in ("generated", "annotated", "dataset"):
        to_lerobot(made.path(name), made.folder / "all", fps=20, append=(made.folder / "all").exists())
    return made


def pictures(number: int, steps: int) -> np.ndarray:
    """(steps, 40, 48, 3): coloured squares that wander, other ones in each episode."""
    squares = np.kron(np.random.default_rng(number).integers(0, 256, (5, 6, 3)), np.ones((8, 8, 1)))
    return np.stack([np.roll(squares, t, axis=1) for t in range(steps)]).astype(np.uint8)


@pytest.fixture
def filmed(tmp_path) -> Path:
    """A workspace with a recording by three operators, seen by two cameras, and LeRobot's of it. Episodes have odd lengths."""
    folder = tmp_path / "work"
    folder.mkdir()
    with DatasetWriter(folder / "dataset.hdf5", task_id=TASK, lineage={"made_by": "mimicctl record"}, env_args={"sim_args": SIM_ARGS}) as out:
        for number, operator in enumerate(OPERATORS):
            episode = make_episode(number, 11 + 2 * number)
            episode.obs |= {name: pictures(number, len(episode)) for name in ("table_cam", "wrist_cam")}
            episode.lineage = {"made_by": "mimicctl record", "device": "hands", "operator": operator}
            out.write(episode)
    to_lerobot(folder / "dataset.hdf5", folder / "lerobot")
    return folder


def stored_in(folder: Path) -> dict[int, list[list[bytes]]]:
    """Number of each episode to the stored pictures of each camera."""
    opened = LeRobotFolder(folder)
    return {entry.number: [stored_pictures(entry.clips[name], entry.length, opened.fps) for name in CAMERAS] for entry in opened.episodes}


def stretches_beside(folder: Path, going: set[str]) -> set[bytes]:
    """Bytes from the arrays that lie beside a dataset, of episodes that go and of no other."""
    found: dict[bool, set[bytes]] = {True: set(), False: set()}
    with h5py.File(folder / "mimicctl/chunk-000/file-000.hdf5") as file:
        for name, demo in file["data"].items():
            arrays: list[h5py.Dataset] = []
            demo.visititems(lambda path, item, arrays=arrays: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
            for content in (array[()].tobytes() for array in arrays):
                found[name in going].add(content[len(content) // 2 :][:48])
    return {stretch for stretch in found[True] - found[False] if len(stretch) == 48 and len(set(stretch)) > 12}


def files_with(folder: Path, what: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and "withdrawals" not in path.parts and what in path.read_bytes()]


def test_episodes_that_go_are_what_brute_force_over_the_draws_says_and_all_others_stay(shop, tmp_path):
    going = expected(shop, "bert")
    names = {"lerobot": ["generated"], "all": ["generated", "annotated", "dataset"]}
    actions: dict[tuple[str, str], np.ndarray] = {}
    order: dict[str, list[tuple[str, str]]] = {"lerobot": [], "all": []}
    for folder, files in names.items():
        for file in files:
            with Dataset(shop.path(file)) as dataset:
                for demo in dataset.demos:
                    demo_actions = dataset.group(demo)["actions"][()].astype(np.float32)
                    # The annotated ones have the actions of the recorded ones, but are demos of their own.
                    order[folder].append((file, demo))
                    actions[file, demo] = demo_actions
    beside = stretches_beside(shop.folder / "lerobot", going["generated"])
    planned, _, left = withdraw(shop.folder, "bert")
    assert left == [] and {purge.path.name: len(purge.demos) for purge in planned.purges}["lerobot"] == len(going["generated"]) > 0
    for folder, all_of_it in order.items():
        kept = [key for key in all_of_it if key[1] not in going[key[0]]]
        opened = LeRobotFolder(shop.folder / folder)
        assert not opened.damage() and [entry.number for entry in opened.episodes] == list(range(len(kept)))
        table = pq.read_table(opened.episodes[0].data).to_pydict()
        assert np.array_equal(np.array(table["action"], np.float32), np.concatenate([actions[key] for key in kept]))
        assert table["index"] == list(range(len(table["index"]))) and opened.info["total_frames"] == len(table["index"])
        steps = np.array(table["episode_index"])
        assert [int((steps == number).sum()) for number in range(len(kept))] == [len(actions[key]) for key in kept]
        with Sidecar(shop.folder / folder) as sidecar:
            assert [origin.demo for origin in sidecar.origins(len(kept))] == [demo for _, demo in kept]
    assert not files_with(shop.folder, b"bert"), "nor is the operator named any more"
    assert beside and not any(files_with(shop.folder, stretch) for stretch in beside), "nothing of them lies beside the rows"
    from_lerobot(shop.folder / "lerobot", tmp_path / "back.hdf5")
    with Dataset(tmp_path / "back.hdf5") as back, Dataset(shop.path("generated")) as generated:
        assert back.demos == generated.demos and back.attempts() == generated.attempts()
    assert not differences(shop.path("generated"), tmp_path / "back.hdf5"), "what is left is what is left of the file"
    assert not [finding for finding in verify(scan(shop.folder)) if finding.severity == "error"]
    graph = Graph(scan(shop.folder))
    assert plan(graph, "again", planned.withdrawn & graph.nodes.keys()).purges == ()


def test_pictures_that_a_crash_left_go_with_their_episode_and_files_of_ones_own_stay(shop):
    going = sorted(expected(shop, "bert")["generated"])
    staying = sorted({f"demo_{number}" for number in range(12)} - set(going))
    number_of = {name: int(name.removeprefix("demo_")) for name in (going[0], staying[0])}
    for name, number in number_of.items():
        folder = shop.folder / f"lerobot/images/top/episode-{number:06d}"
        folder.mkdir(parents=True)
        (folder / "frame-000000.png").write_bytes(name.encode())
    (shop.folder / "lerobot/notes.txt").write_text("somebody's own")
    withdraw(shop.folder, "bert")
    left = {path.name for path in (shop.folder / "lerobot/images/top").iterdir()}
    assert left == {f"episode-{number_of[staying[0]]:06d}"} and (shop.folder / "lerobot/notes.txt").read_text() == "somebody's own"


def test_statistics_are_those_of_what_is_left(shop):
    withdraw(shop.folder, "bert")
    opened = LeRobotFolder(shop.folder / "lerobot")
    actions = np.array(pq.read_table(opened.episodes[0].data)["action"].to_pylist(), np.float64)
    assert np.allclose(opened.statistics["action"]["mean"], actions.mean(axis=0)) and opened.statistics["action"]["count"] == [len(actions)]


def test_stored_pictures_of_others_are_the_same_bit_for_bit_and_those_that_go_are_nowhere(filmed):
    before = stored_in(filmed / "lerobot")
    planned, _, left = withdraw(filmed, "bert")
    assert left == [] and [purge.encoded for purge in planned.purges if purge.path.is_dir()] == [()]
    after = stored_in(filmed / "lerobot")
    assert list(after.values()) == [before[number] for number, operator in enumerate(OPERATORS) if operator != "bert"]
    kept = {picture for cameras in after.values() for pictures in cameras for picture in pictures}
    assert set(files_with(filmed, max(kept, key=len))) == {"file-000.mp4"}
    for number in (1, 3):
        gone = {picture for camera in before[number] for picture in camera if len(picture) > 40} - kept
        assert len(gone) > 5 and not any(files_with(filmed, picture) for picture in sorted(gone, key=len)[-6:])


def test_pictures_that_depend_on_those_that_go_are_encoded_again(filmed, monkeypatch, tmp_path):
    """As datasets were written before every episode began by itself."""
    written = writer.VideoWriter.write
    monkeypatch.setattr(writer.VideoWriter, "write", lambda self, picture, *, by_itself=False: written(self, picture))
    to_lerobot(filmed / "dataset.hdf5", filmed / "lerobot", overwrite=True)
    monkeypatch.undo()
    from_lerobot(filmed / "lerobot", tmp_path / "before.hdf5")
    planned, _, left = withdraw(filmed, "bert")
    (encoded,) = (facts["encoded_again"] for facts in planned.as_dict()["datasets"] if "encoded_again" in facts)
    assert left == [] and encoded and set(encoded) <= {2, 4}, "where the encoder began anew by itself they stay as they were"
    from_lerobot(filmed / "lerobot", tmp_path / "after.hdf5")
    with Dataset(tmp_path / "before.hdf5") as before, Dataset(tmp_path / "after.hdf5") as after:
        assert after.demos == ("demo_0", "demo_2", "demo_4")
        for name in after.demos:
            a, b = (dataset.group(name)["obs/table_cam"][()].astype(int) for dataset in (before, after))
            assert (np.abs(a - b).mean() < 9) if int(name[-1]) in encoded else np.array_equal(a, b)


def test_what_came_back_from_lerobot_with_other_pictures_is_found(filmed):
    from_lerobot(filmed / "lerobot", filmed / "back.hdf5")
    planned, _, left = withdraw(filmed, "bert")
    assert left == [] and {purge.path.name: sorted(purge.demos) for purge in planned.purges}["back.hdf5"] == ["demo_1", "demo_3"]
    assert not [finding for finding in verify(scan(filmed)) if finding.severity == "error"]


def test_a_dataset_that_nothing_is_left_of_is_removed(filmed):
    to_lerobot(filmed / "dataset.hdf5", filmed / "all_of_berts", overwrite=True)
    with h5py.File(filmed / "dataset.hdf5", "a") as file:
        file["mask/bert"] = np.array([b"demo_1", b"demo_3"])
    to_lerobot(filmed / "dataset.hdf5", filmed / "berts", filter_key="bert")
    withdraw(filmed, "bert")
    assert not (filmed / "berts").exists() and len(LeRobotFolder(filmed / "all_of_berts").episodes) == 3


def test_a_dataset_that_cannot_be_removed_is_said(filmed, monkeypatch):
    def fails(path, ignore_errors=False):
        if not ignore_errors:
            raise PermissionError(13, "Permission denied", str(path))

    with DatasetWriter(filmed / "last.hdf5", task_id=TASK, lineage={"made_by": "mimicctl record"}, env_args={"sim_args": SIM_ARGS}) as out:
        episode = make_episode(9, 11)
        episode.lineage = {"made_by": "mimicctl record", "device": "hands", "operator": "dora"}
        out.write(episode)
    to_lerobot(filmed / "last.hdf5", filmed / "doras")
    monkeypatch.setattr(purge_export.shutil, "rmtree", fails)
    with pytest.raises(RunFailed, match="not complete|Permission denied"):
        withdraw(filmed, "dora")


def test_a_damaged_one_stops_the_withdrawal_before_anything_is_done(filmed):
    video = next((filmed / "lerobot/videos").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:-100])
    before = (filmed / "dataset.hdf5").read_bytes()
    with pytest.raises(UserError, match="damaged"):
        withdraw(filmed, "bert")
    assert (filmed / "dataset.hdf5").read_bytes() == before


def test_episodes_of_which_nothing_says_what_they_are_cannot_be_seen(filmed):
    with h5py.File(filmed / "lerobot/mimicctl/chunk-000/file-000.hdf5", "a") as file:
        facts = json.loads(file["data/demo_2"].attrs["mimicctl_episode"])
        del facts["sha256"]  # as it was written before
        file["data/demo_2"].attrs["mimicctl_episode"] = json.dumps(facts)
    found = scan(filmed)
    assert found.unseen == {filmed / "lerobot": "episode_2 of the LeRobot dataset, of which nothing says what demonstration it is"}


def test_what_a_later_version_wrote_beside_a_dataset_cannot_be_seen(filmed):
    with h5py.File(filmed / "lerobot/mimicctl/chunk-000/file-000.hdf5", "a") as file:
        attributes = file["data/demo_2"].attrs
        attributes["mimicctl_episode"] = json.dumps({**json.loads(attributes["mimicctl_episode"]), "later": 1})
    assert "not as this version of mimicctl" in scan(filmed).unseen[filmed / "lerobot"]
    with pytest.raises(UserError, match="not as this version"):
        from_lerobot(filmed / "lerobot", filmed / "back.hdf5")


def test_policies_that_lerobot_trained_are_marked_and_refused(filmed):
    with Sidecar(filmed / "lerobot") as sidecar:
        demos = [origin.sha256 for origin in sidecar.origins(5)]
    run = filmed / "runs/act"
    checkpoint = run / "lerobot/checkpoints/000003/pretrained_model"
    checkpoint.mkdir(parents=True)
    facts = {
        "algo": "act",
        "seed": 3,
        "dataset": {"file": str(filmed / "lerobot"), "from": "datasets/lerobot", "demos": {"train": demos, "valid": []}},
        "settings": {"steps": 40, "options": ["policy.dim_model=32"]},
    }
    header = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (checkpoint / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"abcd")
    (checkpoint / "mimicctl.json").write_text(json.dumps(facts))
    (run / "lineage.json").write_text(json.dumps(facts))
    graph = Graph(scan(filmed))
    text = as_text(trace_of(graph, graph.find(filmed / "lerobot", "episode_1")))
    assert "also episode_1 of lerobot" in text and "model.safetensors" in text
    planned, _, _ = withdraw(filmed, "bert")
    assert planned.tainted == (checkpoint / "model.safetensors",) and taint_of(checkpoint) is not None
    assert (checkpoint / "model.safetensors").read_bytes().endswith(b"abcd")
    again = "mimicctl train --dataset datasets/lerobot --algo act"
    assert planned.retrain[0].startswith(again) and "--steps 40 --lerobot policy.dim_model=32 --seed 3" in planned.retrain[0]
    with pytest.raises(UserError, match="withdrawn"):
        refuse_tainted([checkpoint])
    # Taken out of its run it still says what it was trained on.
    (checkpoint / "model.safetensors").rename(filmed / "model.safetensors")
    (checkpoint / "mimicctl.json").rename(filmed / "mimicctl.json")
    (taken,) = scan(filmed).checkpoints
    assert taken.path == filmed / "model.safetensors" and taken.demos == set(demos)


def test_what_comes_back_bit_for_bit_is_the_same_demo(shop):
    from_lerobot(shop.folder / "lerobot", shop.folder / "back.hdf5")
    graph = Graph(scan(shop.folder))
    node = graph.find(shop.folder / "back.hdf5", "demo_3")
    assert node is graph.find(shop.path("generated"), "demo_3") is graph.find(shop.folder / "lerobot", "episode_3")
    assert node.sha256 not in node.parents and not [finding for finding in verify(graph.workspace) if finding.severity == "error"]


@pytest.mark.lerobot
def test_lerobot_reads_what_is_left(filmed, monkeypatch, tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    withdraw(filmed, "bert")
    dataset = LeRobotDataset("local/left", root=filmed / "lerobot", video_backend="pyav", delta_timestamps={"action": [0.0, 0.05]})
    assert (dataset.num_episodes, len(dataset)) == (3, 11 + 15 + 19)
    index = 0
    with Dataset(filmed / "dataset.hdf5") as left:
        for episode, name in enumerate(left.demos):
            demo = left.group(name)
            for t in range(left.length(name)):
                item = dataset[index]
                assert item["episode_index"] == episode and np.array_equal(item["action"][0].numpy(), demo["actions"][t])
                seen = np.moveaxis(item["observation.images.table_cam"].numpy() * 255, 0, -1)
                assert np.abs(seen - demo["obs/table_cam"][t]).mean() < 15, "other squares are some 80 levels away"
                index += 1
