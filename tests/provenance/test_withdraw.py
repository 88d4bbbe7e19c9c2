"""Withdrawal: what goes is exactly what was made from the withdrawn demos, its bytes are gone, and all else stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.dataset.committed_file import write_lock
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.errors import UserError
from mimicctl.provenance import purge as purging
from mimicctl.provenance.checkpoints import facts_of, refuse_tainted, taint_of
from mimicctl.provenance.graph import Graph
from mimicctl.provenance.search import Search
from mimicctl.provenance.verify import verify
from mimicctl.provenance.withdraw import carry_out_all, demos_named, of_operator, plan
from mimicctl.provenance.workspace import scan
from tests.provenance.workshop import OPERATORS, Workshop, fake_checkpoint, fake_run, make_workshop

TRIALS, COPIES = 300, 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Workshop:
    """10 source demos by 3 operators, 300 generated, merged with augmented copies."""
    return make_workshop(tmp_path_factory.mktemp("whole") / "work", TRIALS, copies=COPIES)


@pytest.fixture
def shop(whole, tmp_path) -> Workshop:
    shutil.copytree(whole.folder, tmp_path / "work")
    return Workshop(tmp_path / "work", whole.used)


@pytest.fixture
def small(tmp_path) -> Workshop:
    return make_workshop(tmp_path / "small", 12, copies=4)


def expected(shop: Workshop, operator: str) -> dict[str, set[str]]:
    """File to the demos that must go, from who supplied which trial: nothing of what the files say is looked at."""
    own = {f"demo_{i}" for i, name in enumerate(OPERATORS) if name == operator}
    generated = {trial for trial, used in shop.used.items() if operator in used}
    augmented = {trial for trial in generated if trial < COPIES}
    return {
        "dataset": own,
        "annotated": own,
        "generated": {f"demo_{i}" for i in generated},
        "augmented": {f"demo_{i}" for i in augmented},
        "merged": {f"demo_{i}" for i in generated} | {f"demo_{len(shop.used) + i}" for i in augmented},
    }


def arrays_of(path: Path) -> dict[str, dict[str, tuple]]:
    with h5py.File(path) as file:
        found: dict[str, dict[str, tuple]] = {}
        for name, demo in file["data"].items():
            found[name] = {f"@{key}": str(value) for key, value in demo.attrs.items()}
            demo.visititems(
                lambda key, item, name=name: (
                    found[name].update({key: (item.dtype.str, item.shape, item[()].tobytes())}) if isinstance(item, h5py.Dataset) else None
                )
            )
        return found


def withdraw(folder: Path, operator: str):
    graph = Graph(scan(folder))
    planned = plan(graph, operator, of_operator(graph, operator))
    return planned, *carry_out_all(graph, planned)


@pytest.mark.parametrize("operator", ["bert", "ada"])
def test_the_plan_is_what_brute_force_over_the_draws_says(shop, operator):
    graph = Graph(scan(shop.folder))
    planned = plan(graph, operator, of_operator(graph, operator))
    assert {purge.path.stem: set(purge.demos) for purge in planned.purges} == expected(shop, operator)
    assert 0 < len(expected(shop, operator)["generated"]) < TRIALS
    assert [purge.path.stem for purge in planned.purges][-2:] == ["annotated", "dataset"], "what is left of an interrupted one must be found again"


def test_purged_bytes_are_gone_and_all_else_is_the_same_bit_for_bit(shop):
    split_file(shop.path("merged"))
    paths = {name: shop.path(name) for name in ("dataset", "annotated", "generated", "augmented", "merged")}
    before = {name: arrays_of(path) for name, path in paths.items()}
    with Dataset(paths["merged"]) as dataset:
        masks = dataset.masks
    going = expected(shop, "bert")
    planned, record, left = withdraw(shop.folder, "bert")
    for name, path in paths.items():
        assert arrays_of(path) == {demo: arrays for demo, arrays in before[name].items() if demo not in going[name]}
        kept = {part for demo, arrays in before[name].items() if demo not in going[name] for key, part in arrays.items()}
        content = path.read_bytes()
        for i, demo in enumerate(sorted(going[name])):
            parts = [part[2] for key, part in before[name][demo].items() if key[0] != "@" and part not in kept and len(set(part[2])) > 12]
            assert len(parts) >= 5
            # Not only whole arrays: no stretch of 48 bytes from the middle of them.
            for part in parts if i < 5 else [before[name][demo]["actions"][2]]:
                assert part[len(part) // 2 :][:48] not in content, (name, demo, len(part))
    assert left == [] and json.loads(record.read_text())["state"] == "done"
    assert json.loads(record.read_text())["withdrawn"] == sorted(planned.withdrawn)
    assert record.stat().st_mode & 0o777 == 0o600
    with Dataset(paths["merged"]) as dataset:
        assert dataset.masks == {key: tuple(name for name in names if name not in going["merged"]) for key, names in masks.items()}
        assert dataset.group(dataset.demos[0]).parent.attrs["total"] == dataset.total
    with Dataset(paths["generated"]) as dataset:
        assert all(not {"demo_4", "demo_5", "demo_6"} & set(attempt["sources"]) for attempt in dataset.attempts())
    assert not [finding for finding in verify(scan(shop.folder)) if finding.severity == "error"]
    assert not any(b"bert" in path.read_bytes() for path in paths.values()), "nor is the operator named any more"
    assert sorted(path.name for path in shop.folder.iterdir()) == sorted([*(path.name for path in paths.values()), "withdrawals"])


def test_one_demo_is_withdrawn_with_what_was_made_of_it_and_nothing_before_it(small):
    graph = Graph(scan(small.folder))
    planned = plan(graph, "one", demos_named(graph, [f"{small.path('generated')}:demo_2"]))
    assert {purge.path.stem: set(purge.demos) for purge in planned.purges} == {
        "generated": {"demo_2"},
        "augmented": {"demo_2"},
        "merged": {"demo_2", "demo_14"},
    }
    assert {place.file.stem for place in planned.ancestors} == {"annotated", "dataset"}


def test_checkpoints_are_marked_and_refused_and_their_statistics_removed(small):
    trial = next(trial for trial, used in small.used.items() if "bert" in used)
    other = next(trial for trial, used in small.used.items() if "bert" not in used)
    tainted = fake_run(small.folder / "runs" / "bad", small.path("merged"), [f"demo_{trial}", f"demo_{other}"])
    clean = fake_run(small.folder / "runs" / "good", small.path("merged"), [f"demo_{other}"])
    stray = small.folder / "elsewhere.pth"
    shutil.copy(tainted / "models" / "model_epoch_1.pth", stray)
    weights = zipfile.ZipFile(stray).read("archive/data/0")
    planned, _, _ = withdraw(small.folder, "bert")
    assert set(planned.tainted) == {stray, tainted / "models" / "model_epoch_1.pth", tainted / "training_state.pth"}
    for path in planned.tainted:
        with pytest.raises(UserError, match="withdrawn") as caught:
            refuse_tainted([path])
        assert "--allow-tainted" in caught.value.do
        refuse_tainted([path], allowed=True)
        assert zipfile.ZipFile(path).read("archive/data/0") == weights and path.stat().st_mode & 0o777 == 0o600
    assert facts_of(stray)["seed"] == 5
    refuse_tainted(clean.glob("**/*.pth"))
    assert not (tainted / "logs" / "normalization_params.txt").exists() and (clean / "logs" / "normalization_params.txt").exists()
    assert planned.kept == (tainted / "videos" / "model_epoch_1" / "rollout_000_success.mp4",) and planned.kept[0].exists()
    (command,) = planned.retrain
    assert command.startswith(f"mimicctl train --dataset {small.path('merged')} --recipe mlp") and "--normalize-actions --seed 5 --overwrite" in command


def test_what_cannot_be_seen_is_said(small, tmp_path):
    with h5py.File(small.folder / "foreign.hdf5", "w") as file:
        file.create_dataset("data/demo_0/actions", data=np.zeros((5, 7), np.float32))
    (small.folder / "broken.hdf5").write_bytes(b"nothing")
    (small.folder / "copy.zip").write_bytes(b"PK")
    (small.folder / "clip.mp4").write_bytes(b"a film")
    fake_checkpoint(small.folder / "other.pth", {"model": {}})
    (tmp_path / "outside.hdf5").write_bytes(b"")
    (small.folder / "link.hdf5").symlink_to(tmp_path / "outside.hdf5")
    unseen = {path.name for path in Graph(scan(small.folder)).workspace.unseen}
    assert unseen == {"foreign.hdf5", "broken.hdf5", "copy.zip", "clip.mp4", "other.pth", "link.hdf5"}


def test_what_may_not_be_read_cannot_be_seen_and_does_not_stop_the_withdrawal(small, monkeypatch):
    secret, folder = small.folder / "notes.bin", small.folder / "closed"
    secret.write_bytes(bytes(range(256)))
    folder.mkdir()
    access, is_in, list_folder = os.access, Search._is_in, os.scandir

    def refuse(path: object, denied: Path) -> None:
        if Path(path) == denied:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != secret and access(path, mode))
    monkeypatch.setattr(Search, "_is_in", lambda self, path: refuse(path, secret) or is_in(self, path))
    monkeypatch.setattr(os, "scandir", lambda path: refuse(path, folder) or list_folder(path))
    planned, record, left = withdraw(small.folder, "bert")
    assert planned.unseen == dict.fromkeys((secret, folder), "no permission to read it") and left == []
    assert json.loads(record.read_text())["state"] == "done"


def test_bytes_are_found_where_nothing_says_what_they_are(small):
    with Dataset(small.path("dataset")) as dataset:
        (small.folder / "export.npy").write_bytes(b"x" * 13 + dataset.group("demo_5")["actions"][()].tobytes())
    _, record, left = withdraw(small.folder, "bert")
    assert [path.name for path in left] == ["export.npy"]
    assert json.loads(record.read_text())["bytes_still_found_in"] == [str(left[0])]


def test_videos_of_withdrawn_demos_are_removed(small):
    with Dataset(small.path("dataset")) as dataset:
        for name in ("demo_5", "demo_1"):
            comment = json.dumps({"made_by": "mimicctl convert hdf5-to-mp4", "demo": name, "sha256": dataset.demo_sha256(name)})
            (small.folder / f"{name}_table_cam.mp4").write_bytes(b"\0\0ftyp" + comment.encode() + b"\0")
    planned, _, _ = withdraw(small.folder, "bert")
    assert [path.name for path in planned.removed] == ["demo_5_table_cam.mp4"]
    assert not planned.removed[0].exists() and (small.folder / "demo_1_table_cam.mp4").exists()


def test_an_interrupted_withdrawal_goes_on(small, monkeypatch):
    done = []

    def interrupted(purge, *rest, carry_out=purging.carry_out):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(purge.path)
        carry_out(purge, *rest)

    monkeypatch.setattr("mimicctl.provenance.withdraw.carry_out", interrupted)
    with pytest.raises(KeyboardInterrupt):
        withdraw(small.folder, "bert")
    monkeypatch.undo()
    planned, _, left = withdraw(small.folder, "bert")
    assert {purge.path for purge in planned.purges}.isdisjoint(done) and left == []
    assert not any(b"bert" in path.read_bytes() for path in small.folder.glob("*.hdf5"))


def test_a_file_that_cannot_be_written_anew_stays_as_it_was(small, monkeypatch):
    before = small.path("generated").read_bytes()

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(purging, "_copy_masks", full)
    with pytest.raises(UserError, match="No space left"):
        withdraw(small.folder, "bert")
    assert small.path("generated").read_bytes() == before
    assert not list(small.folder.glob(".*"))


def test_nothing_is_done_while_a_dataset_is_being_written(small):
    with write_lock(small.path("merged")), pytest.raises(UserError, match="Another process is writing"):
        withdraw(small.folder, "bert")
    assert not (small.folder / "withdrawals").exists() and b"bert" in small.path("annotated").read_bytes()


def test_a_mark_survives_a_second_withdrawal(small):
    run = fake_run(small.folder / "runs" / "bad", small.path("merged"), ["demo_0", "demo_1"])
    withdraw(small.folder, "bert")
    mark = taint_of(run / "training_state.pth")
    planned, _, _ = withdraw(small.folder, "ada")
    assert mark and planned.tainted == () and taint_of(run / "training_state.pth") == mark


def test_the_command_plans_does_and_refuses(mimicctl, small):
    before = {path: path.read_bytes() for path in small.folder.glob("*")}
    dry = mimicctl("provenance", "withdraw", "--operator", "bert", "--dry-run", "--json", cwd=small.folder)
    assert dry.returncode == 0, dry.stderr
    planned = json.loads(dry.stdout)
    assert {path: path.read_bytes() for path in small.folder.glob("*")} == before
    done = mimicctl("provenance", "withdraw", "--operator", "bert", "--json", cwd=small.folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).items() >= planned.items()
    again = mimicctl("provenance", "withdraw", "--operator", "bert", cwd=small.folder)
    assert again.returncode == 2 and "operators that are named: ada (4), cleo (3)" in again.stderr
    for arguments in (
        (),
        ("--operator", "ada", "--demo", "dataset.hdf5:demo_0"),
        ("--demo", "demo_0"),
        ("--demo", "dataset.hdf5:demo_77"),
        ("--demo", "no.hdf5:demo_0"),
    ):
        refused = mimicctl("provenance", "withdraw", *arguments, cwd=small.folder)
        assert refused.returncode == 2 and "\n  do  " in refused.stderr, arguments
