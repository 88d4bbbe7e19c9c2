"""Verification names what was changed: the demo, the file, the parent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.seals import Seal, attributes_sha256, demo_sha256, replace_seals, seals_of
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.provenance.verify import verify
from mimicctl.provenance.workspace import scan
from mimicctl.schema import LINEAGE_ATTR
from tests.episodes import make_episode
from tests.provenance.workshop import Workshop, make_workshop


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("whole") / "work", 8, copies=3)


@pytest.fixture
def shop(whole, tmp_path) -> Workshop:
    shutil.copytree(whole.folder, tmp_path / "work")
    return Workshop(tmp_path / "work", whole.used)


def errors(folder: Path) -> list[tuple[str, str, str]]:
    return [(f.file.name, f.demo, f.what) for f in verify(scan(folder)) if f.severity == "error"]


def forge(path: Path, change, *, reseal: bool = False) -> None:
    """Change a file; with `reseal` so well that its own seals agree."""
    with h5py.File(path, "r+") as file:
        change(file)
        if reseal:
            rows = [row for row in seals_of(file) if row.demo in file["data"]]
            replace_seals(file, [Seal(r.demo, demo_sha256(file["data"][r.demo]), r.parent, attributes_sha256(file["data"][r.demo])) for r in rows])


def tell(demo: str, **changes: object):
    """Change the lineage of a demo."""

    def change(file: h5py.File) -> None:
        attributes = file["data"][demo].attrs
        attributes[LINEAGE_ATTR] = json.dumps({**json.loads(attributes[LINEAGE_ATTR]), **changes})

    return change


def nudge(demo: str, path: str = "actions"):
    def change(file: h5py.File) -> None:
        array = file["data"][demo][path]
        array[3, 0] = np.nextafter(array[3, 0], np.float32(np.inf))

    return change


def test_what_is_as_it_was_written_is_found_so(shop):
    assert list(verify(scan(shop.folder))) == []


@pytest.mark.parametrize("path", ["actions", "states/rigid_object/cube_1/root_pose"])
def test_an_edited_demo_is_named(shop, path):
    forge(shop.path("dataset"), nudge("demo_7", path))
    found = errors(shop.folder)
    assert ("dataset.hdf5", "demo_7", "was edited: its arrays are not those that were written") in found
    assert {demo for file, demo, _ in found if file == "dataset.hdf5"} == {"demo_7"}


def test_an_edited_attribute_is_named(shop):
    forge(shop.path("generated"), lambda file: file["data/demo_2"].attrs.__setitem__("success", False))
    assert errors(shop.folder)[0][:2] == ("generated.hdf5", "demo_2") and "attributes were changed" in errors(shop.folder)[0][2]


def test_an_edit_that_was_sealed_again_is_found_by_what_was_made_of_it(shop):
    forge(shop.path("annotated"), nudge("demo_7"), reseal=True)
    found = errors(shop.folder)
    assert ("generated.hdf5", "", "was made from other demos than annotated.hdf5 has now: demo_7") in found
    # Its own parent does not move as it does any more.
    assert ("annotated.hdf5", "demo_7") in {(file, demo) for file, demo, what in found if "forged parent" in what}


def test_a_demo_that_was_taken_out_or_put_in_is_named(shop):
    def change(file: h5py.File) -> None:
        del file["data/demo_3"]
        file.copy(file["data/demo_4"], file["data"], "demo_44")

    forge(shop.path("dataset"), change)
    found = {(demo, what.partition(":")[0].partition(",")[0]) for file, demo, what in errors(shop.folder) if file == "dataset.hdf5"}
    assert found == {("demo_3", "was removed"), ("demo_44", "has no seal")}


def test_a_seal_that_was_taken_out_breaks_the_chain(shop):
    def change(file: h5py.File) -> None:
        table = file["mimicctl/seals"]
        rows = np.delete(table[()], 3)
        table.resize((len(rows),))
        table[:] = rows
        del file["data/demo_3"]

    forge(shop.path("dataset"), change)
    assert ("dataset.hdf5", "demo_4", "the chain of seals is broken after that of demo_2: this seal was replaced, or one before it taken out") in errors(
        shop.folder
    )


def test_a_swapped_file_is_named(shop):
    with DatasetWriter(shop.folder / "other.hdf5", task_id="t", lineage={"made_by": "mimicctl record"}) as writer:
        for i in range(10):
            writer.write(make_episode(3000 + i))
    (shop.folder / "other.hdf5").replace(shop.path("dataset"))
    assert ("annotated.hdf5", "", "was made from another file than dataset.hdf5: none of the 10 demos is the same (a swapped file)") in errors(shop.folder)


def test_a_forged_source_is_named(shop):
    with Dataset(shop.path("generated")) as dataset:
        true = dataset.demo_lineage("demo_1")
        forged = ["demo_9" if name == true["sources"][0] else name for name in true["sources"]]
    forge(shop.path("generated"), tell("demo_1", sources=forged), reseal=True)
    (found,) = [what for file, demo, what in errors(shop.folder) if (file, demo) == ("generated.hdf5", "demo_1")]
    assert found.startswith("says it was made from demo_9") and "the log of its trial says" in found


def test_a_source_that_the_run_never_had_is_named(shop):
    forge(shop.path("generated"), tell("demo_1", source_sha256={"demo_0": "ab" * 32}), reseal=True)
    assert any(demo == "demo_1" and "was not among those of the run" in what for _, demo, what in errors(shop.folder))


def test_a_forged_parent_is_named(shop):
    """An annotated demo that claims to be another operator's recording, with seals that agree."""
    with h5py.File(shop.path("annotated"), "r+") as file:
        rows = list(seals_of(file))
        rows[2] = Seal(rows[2].demo, rows[2].content, rows[9].parent, rows[2].attributes)
        replace_seals(file, rows)
    assert ("annotated.hdf5", "demo_2", "does not move as demo_9 of dataset.hdf5, which it says it was made from: a forged parent") in errors(shop.folder)


def test_a_changed_lineage_of_the_file_is_named(shop):
    forge(shop.path("merged"), lambda file: file["data"].attrs.__setitem__(LINEAGE_ATTR, "{}"))
    assert ("merged.hdf5", "", "the lineage of the file was changed") in errors(shop.folder)


def test_seals_survive_merging_and_tell_what_was_edited_before(shop):
    forge(shop.path("augmented"), nudge("demo_0"))
    merge([shop.path("generated"), shop.path("augmented")], shop.folder / "again.hdf5")
    assert ("again.hdf5", "demo_8", "was edited: its arrays are not those that were written") in errors(shop.folder)


def test_a_recording_that_goes_on_is_no_error(shop):
    with Dataset(shop.path("dataset")) as dataset:
        lineage = dataset.lineage
    with DatasetWriter(shop.path("dataset"), task_id="t", lineage=lineage) as writer:
        writer.write(make_episode(77))
    found = list(verify(scan(shop.folder)))
    assert [finding.severity for finding in found] == ["note"] and "gone on since" in found[0].what


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path):
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        with DatasetWriter(tmp_path / str(i) / "a.hdf5", task_id="t", lineage={"made_by": "mimicctl record"}) as writer:
            writer.write(make_episode(i))
    merge([tmp_path / "0" / "a.hdf5", tmp_path / "1" / "a.hdf5"], tmp_path / "1" / "m.hdf5")
    assert list(verify(scan(tmp_path))) == []


def test_files_of_others_are_a_note(tmp_path, source_file):
    shutil.copy(source_file, tmp_path / "old.hdf5")
    found = list(verify(scan(tmp_path)))
    assert {finding.severity for finding in found} == {"note"} and any("none of its 10 demos has a seal" in finding.what for finding in found)


def test_the_command_exits_with_1(mimicctl, shop):
    done = mimicctl("provenance", "verify", cwd=shop.folder)
    assert done.returncode == 0 and "All is as it was written." in done.stdout, done.stderr
    forge(shop.path("dataset"), nudge("demo_7"))
    done = mimicctl("provenance", "verify", "dataset.hdf5", "--json", cwd=shop.folder)
    assert done.returncode == 1 and [f["demo"] for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"] == ["demo_7"]
    done = mimicctl("provenance", "verify", "nowhere", cwd=shop.folder)
    assert done.returncode == 2 and "There is no such folder." in done.stderr
