"""Files spliced into others: what comes out is what HDF5 would have copied, and what is not known is left to HDF5."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.dataset import carving, merge_plan, reader, splice
from mimicctl.dataset import merge as merging
from mimicctl.dataset.info import keys_of
from mimicctl.dataset.merge import merge
from mimicctl.dataset.outline import inventory_of, outlines
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.repair import repair
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed
from tests.episodes import make_episode


def write(path: Path, demos: int, *, pictures: bool = False, first: int = 0, steps: int = 100) -> Path:
    """Long demos: shorter ones have so much room that is reserved and not used that they are not spliced."""
    with DatasetWriter(path, task_id="t", lineage={"made_by": "a test"}) as writer:
        for i in range(first, first + demos):
            episode = make_episode(i, steps + i)
            if pictures:  # so many frames that the tree of their chunks has several levels
                episode.obs["camera"] = np.random.default_rng(i).integers(0, 255, (steps + i, 4, 6, 3), np.uint8)
            writer.write(episode, attempts=[f'{{"trial": {i}}}'])
    return path


def part_of(path: Path, demos: list[str]) -> splice.Part | None:
    return splice.part_of(path, inventory_of(path), demos)


def described(path: Path) -> dict[str, tuple]:
    """Every object of the demos: attributes, values, how they are stored, and links to it."""
    found = {}

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        attributes = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in item.attrs.items()}
        values = (
            (item[()].tobytes() if not item.dtype.hasobject else str(item[()]), item.dtype, item.shape, item.chunks) if isinstance(item, h5py.Dataset) else ()
        )
        found[name] = (attributes, *values, h5py.h5o.get_info(item.id).rc)

    with h5py.File(path, "r") as file:
        file["data"].visititems(add)
    return found


def merged_both_ways(inputs: list[Path], monkeypatch) -> tuple[Path, Path]:
    spliced = merge(inputs, inputs[0].with_name("spliced.hdf5")).path
    with monkeypatch.context() as patch:
        patch.setattr(merging, "part_of", lambda *_: None)
        return spliced, merge(inputs, inputs[0].with_name("copied.hdf5")).path


def decorate(file: h5py.File) -> None:
    """What a demo of someone else may hold."""
    demo = file["data/demo_0"]
    demo.attrs["texts"] = ["one", "two of variable length"]
    demo.attrs["fixed"] = np.array([b"ab", b"cde"])
    demo.attrs["matrix"] = np.arange(6.0).reshape(2, 3)
    demo.attrs["nothing"] = h5py.Empty("f4")
    demo.attrs["empty text"] = ""
    demo.attrs["größe"] = 1.5
    for i in range(60):  # more than fit the object's header
        demo.attrs[f"note {i}"] = f"{i}" * 100
    demo["actions"].attrs["unit"] = "m"
    demo["scalar"] = 3
    demo["names"] = np.array([b"left", b"right"])
    demo["flags"] = np.array([True, False])
    demo["half"] = np.zeros((0, 4), np.float16)
    demo.create_dataset("compact", data=np.arange(4), dtype=">i2")
    demo.create_dataset("chunked", data=np.arange(5000).reshape(-1, 2), chunks=(3, 1), compression="gzip", shuffle=True, fletcher32=True)
    demo.create_dataset("unwritten", shape=(10, 2), dtype="f4", chunks=(2, 2), fillvalue=7)
    demo.create_dataset("never allocated", shape=(10,), dtype="f8")
    for i in range(300):
        demo[f"many/deep/{i}"] = np.arange(i)


def require_outlines_of_hdf5(path: Path) -> None:
    """What the bytes say of the demos is what HDF5 says of them."""
    with Dataset(path) as dataset:
        for name, outline in outlines(dataset, inventory_of(dataset.path)).items():
            assert outline.keys == keys_of(dataset.group(name)) and outline.steps == dataset.length(name) and outline.lineage == dataset.demo_lineage(name)
            single = {k: v for k, v in dataset.attributes(name).items() if isinstance(v, str) or (np.ndim(v) == 0 and not isinstance(v, h5py.Empty))}
            assert outline.attributes == single


def random_build(rng: np.random.Generator) -> list[Callable[[h5py.Group, np.random.Generator, int], None]]:
    """How demos of a kind are made, step by step: arrays and attributes of all sorts, in an order of their own."""
    steps: list[Callable] = []
    dtypes = [np.dtype(kind) for kind in ("f4", "f8", ">i2", "u1", "i8", "?", "S7", "f2")]

    def array(path: str, dtype: np.dtype, tail: tuple[int, ...], stored: int) -> Callable:
        def make(demo: h5py.Group, own: np.random.Generator, length: int) -> None:
            shape = (length, *tail)
            values = own.integers(0, 100, shape).astype(dtype)
            if stored == 0:
                demo.create_dataset(path, data=values, chunks=(min(2, length), *tail), compression="gzip")
            elif stored == 1:
                demo.create_dataset(path, shape, dtype)  # never written
            elif stored == 2:
                demo.create_dataset(path, data=values, chunks=(1, *(1 for _ in tail)))
            else:
                demo.create_dataset(path, data=values)

        return make

    def attribute(path: str, name: str, kind: int) -> Callable:
        def make(demo: h5py.Group, own: np.random.Generator, length: int) -> None:
            texts = ["x" * int(own.integers(1, 700)) for _ in range(3)]
            value = [length, own.random(), bool(own.integers(2)), texts[0], texts, own.random((2, 2)), np.bytes_(b"fixed"), ""][kind]
            demo.require_group(path).attrs[name] = value

        return make

    for i in range(rng.integers(5, 20)):
        folder = "/".join(f"{'abc'[rng.integers(3)]}{depth}" for depth in range(rng.integers(0, 4)))
        tail = tuple(rng.integers(1, 5, rng.integers(0, 3)).tolist())
        steps.append(array(f"{folder}/array {i}".strip("/"), dtypes[rng.integers(len(dtypes))], tail, int(rng.integers(6))))
    steps += [attribute("/".join(["g"] * rng.integers(0, 3)) or "/", f"attribute {i}", int(rng.integers(8))) for i in range(rng.integers(0, 20))]
    return [steps[i] for i in rng.permutation(len(steps))]


@pytest.mark.parametrize("seed", range(4))
def test_demos_of_several_random_kinds(tmp_path, monkeypatch, seed):
    """Kinds take turns in a file, so that those that go along in step with the first one have to be told from the others at every turn."""
    rng = np.random.default_rng(seed)
    builds = [random_build(rng) for _ in range(3)]
    builds.append(builds[0][:-1])  # like another one but for the last step
    builds.append([*builds[1][1:], builds[1][0]])  # the same in another order
    paths = [write(tmp_path / name, 8, first=first) for name, first in (("a.hdf5", 0), ("b.hdf5", 8))]
    inputs = []
    for path in paths:
        inputs.append(path.with_stem(f"{path.stem}2"))
        with h5py.File(path) as source, h5py.File(inputs[-1], "w") as file:
            source.copy("mimicctl", file)
            data = file.create_group("data")
            data.attrs.update(source["data"].attrs)
            file.attrs.update(source.attrs)
            for name, demo in source["data"].items():
                source.copy(demo, data, name)
                for step in builds[rng.integers(len(builds))]:
                    # Below the demo, or a path that begins with a slash would lead to the root.
                    step(data[name].require_group("more"), rng, int(rng.integers(1, 9)))
        require_outlines_of_hdf5(inputs[-1])
        inventory = inventory_of(inputs[-1])
        assert inventory and 1 < len(inventory.kinds) < 8
    monkeypatch.setattr(merge_plan, "_compare_keys", lambda *_: merge_plan.Comparison({"actions": ((7,), "float32")}, (), [], []))
    monkeypatch.setattr(splice, "_LEAST_USED", 0.5)  # what HDF5 reserved and did not use counts as a hole
    spliced, copied = merged_both_ways(inputs, monkeypatch)
    assert described(spliced) == described(copied)
    with h5py.File(spliced) as file, h5py.File(tmp_path / "again.hdf5", "w") as again:
        assert file.id.get_filesize() == spliced.stat().st_size
        file.copy("data", again)
    assert described(tmp_path / "again.hdf5") == described(copied)


@pytest.mark.parametrize("pictures", [False, True])
def test_spliced_demos_are_those_that_hdf5_copies(tmp_path, monkeypatch, pictures):
    inputs = [write(tmp_path / "a.hdf5", 10, pictures=pictures, steps=70), write(tmp_path / "b.hdf5", 20, pictures=pictures, first=10)]
    assert part_of(inputs[0], [f"demo_{i}" for i in range(10)]) and part_of(inputs[1], [f"demo_{i}" for i in range(20)])
    spliced, copied = merged_both_ways(inputs, monkeypatch)
    assert described(spliced) == described(copied) and len(described(spliced)) > 400
    with Dataset(spliced) as a, Dataset(copied) as b:
        assert a.content_hash() == b.content_hash() and a.lineage == b.lineage and a.demos == b.demos


def test_all_kinds_of_arrays_and_attributes(tmp_path, monkeypatch):
    inputs = [write(tmp_path / "a.hdf5", 3), write(tmp_path / "b.hdf5", 3, first=3)]
    for path in inputs:
        with h5py.File(path, "r+") as file:
            decorate(file)
            for demo in ("demo_1", "demo_2"):
                for key in sorted(file["data/demo_0"].keys() - file[f"data/{demo}"].keys()):
                    file.copy(f"data/demo_0/{key}", file[f"data/{demo}"])
        assert part_of(path, ["demo_0", "demo_1", "demo_2"]) is not None
        require_outlines_of_hdf5(path)
    spliced, copied = merged_both_ways(inputs, monkeypatch)
    assert described(spliced) == described(copied)


def test_no_address_is_cut_by_the_end_of_a_block(tmp_path, monkeypatch):
    inputs = [write(tmp_path / "a.hdf5", 3), write(tmp_path / "b.hdf5", 3, first=3)]
    assert all(part_of(path, ["demo_0", "demo_1", "demo_2"]) for path in inputs)
    whole = merge(inputs, tmp_path / "whole.hdf5").path.read_bytes()
    for block in (611, 4096, 4099):
        monkeypatch.setattr(splice, "_BLOCK", block)
        assert _without_dates(merge(inputs, tmp_path / f"{block}.hdf5").path.read_bytes()) == _without_dates(whole)


def _without_dates(content: bytes) -> bytes:
    return content[: len(content) * 9 // 10]  # the end has the new lineages, which HDF5 dates


def test_nothing_is_found_of_the_tables_that_were_left_behind(tmp_path):
    inputs = [write(tmp_path / "a.hdf5", 8, steps=100), write(tmp_path / "b.hdf5", 40, first=7, steps=100)]
    assert part_of(inputs[1], [f"demo_{i}" for i in range(1, 40)]), "one demo is not worth it"
    merged = merge(inputs, tmp_path / "m.hdf5")
    assert [d.source for d in merged.plan.duplicates] == [1]
    with h5py.File(merged.path, "r") as file:
        groups: list[int] = []
        file.visititems(lambda name, item: groups.append(h5py.h5o.get_info(item.id).addr) if isinstance(item, h5py.Group) else None)
        groups.append(h5py.h5o.get_info(file["/"].id).addr)
    assert sorted(carving.group_addresses(merged.path)) == sorted(groups)


def test_a_damaged_merged_file_can_be_repaired(tmp_path):
    merged = merge([write(tmp_path / "a.hdf5", 8), write(tmp_path / "b.hdf5", 8, first=8)], tmp_path / "m.hdf5").path
    with Dataset(merged) as dataset:
        before = {name: dict(dataset.arrays(name)) for name in dataset.demos}
    content = bytearray(merged.read_bytes())
    node = content.index(b"SNOD", content.rindex(b"TREE\0\0"))  # a part of the table of contents
    content[node : node + 328] = bytes(328)
    merged.write_bytes(content)
    salvage = repair(merged, tmp_path / "r.hdf5")
    assert len(salvage.demos) == 16
    with Dataset(tmp_path / "r.hdf5") as dataset:
        for name in dataset.demos:
            arrays = dict(dataset.arrays(name))
            assert any(all(np.array_equal(arrays[path], other[path]) for path in arrays) for other in before.values())


def test_a_spliced_file_can_be_continued_and_changed(tmp_path):
    merged = merge([write(tmp_path / "a.hdf5", 3), write(tmp_path / "b.hdf5", 3, first=3)], tmp_path / "m.hdf5").path
    before = described(merged)
    with DatasetWriter(merged, task_id="t", lineage={}) as writer:
        assert writer.write(make_episode(50, 9)) == "demo_6"
    with h5py.File(merged, "r+") as file:
        del file["data/demo_2"]
        file["data"].move("demo_3", "demo_2")
        file["data/demo_4/actions"][...] = 0
        file["data/demo_5"].attrs["more"] = "x" * 1000
    after = described(merged)
    assert all(after[name] == value for name, value in before.items() if name.startswith(("demo_0", "demo_1")))
    assert after["demo_2/actions"] == before["demo_3/actions"] and after["demo_5/actions"] == before["demo_5/actions"]


def _hard_link(demo: h5py.Group) -> None:
    demo["again"] = demo["actions"]


def _soft_link(demo: h5py.Group) -> None:
    demo["again"] = h5py.SoftLink(f"{demo.name}/actions")


def _strings(demo: h5py.Group) -> None:
    demo["texts"] = ["a", "bc"]


def _reference(demo: h5py.Group) -> None:
    demo["where"] = np.array([demo["actions"].ref], h5py.ref_dtype)


def _reference_attribute(demo: h5py.Group) -> None:
    demo.attrs["where"] = demo["actions"].ref


def _compound(demo: h5py.Group) -> None:
    demo["rows"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def _named_type(demo: h5py.Group) -> None:
    demo["type"] = np.dtype("f4")
    demo.create_dataset("typed", (3,), dtype=demo["type"])


def _other_name(demo: h5py.Group) -> None:
    demo["größe"] = np.zeros(3)


def _order_kept(demo: h5py.Group) -> None:
    demo.create_group("ordered", track_order=True)["x"] = np.zeros(3)


UNFAMILIAR = [_hard_link, _soft_link, _strings, _reference, _reference_attribute, _compound, _named_type, _other_name, _order_kept]


@pytest.mark.parametrize("add", UNFAMILIAR, ids=lambda add: add.__name__)
def test_what_is_not_known_is_left_to_hdf5(tmp_path, add: Callable[[h5py.Group], None]):
    inputs = [write(tmp_path / "a.hdf5", 2), write(tmp_path / "b.hdf5", 2, first=2)]
    for path in inputs:
        assert inventory_of(path)
        with h5py.File(path, "r+") as file:
            for demo in file["data"].values():
                add(demo)
        assert inventory_of(path) is None and part_of(path, ["demo_0", "demo_1"]) is None
    if add in (_hard_link, _strings, _compound, _other_name, _order_kept):
        with Dataset(merge(inputs, tmp_path / "m.hdf5").path) as merged, Dataset(inputs[1]) as source:
            for path, array in source.arrays("demo_1"):
                assert np.array_equal(dict(merged.arrays("demo_3"))[path], array)


@pytest.mark.parametrize("link", ["latest", "data/latest"])
def test_a_link_beside_the_demos_is_left_to_hdf5(tmp_path, link):
    inputs = [write(tmp_path / "a.hdf5", 2), write(tmp_path / "b.hdf5", 2, first=2)]
    with h5py.File(inputs[0], "r+") as file:
        file[link] = h5py.SoftLink("/data/demo_0")
    assert inventory_of(inputs[0]) is None and inventory_of(inputs[1])
    with Dataset(merge(inputs, tmp_path / "m.hdf5").path) as merged, Dataset(inputs[0]) as source:
        assert len(merged) == 4
        for path, array in source.arrays("demo_1"):
            assert np.array_equal(dict(merged.arrays("demo_1"))[path], array)


def test_newer_files_and_those_with_a_block_before_them_are_left_to_hdf5(tmp_path):
    path = write(tmp_path / "a.hdf5", 2)
    for options in ({"libver": "latest"}, {"libver": "v110"}, {"userblock_size": 512}, {"fs_strategy": "page"}, {"track_order": True}):
        with h5py.File(path, "r") as source, h5py.File(tmp_path / "b.hdf5", "w", **options) as file:
            source.copy("data", file)
        assert inventory_of(tmp_path / "b.hdf5") is None
        with Dataset(tmp_path / "b.hdf5") as dataset:
            found = outlines(dataset, inventory_of(dataset.path))
            assert {name: outline.keys for name, outline in found.items()} == {name: keys_of(dataset.group(name)) for name in dataset.demos}


def test_a_file_full_of_holes_is_left_to_hdf5(tmp_path):
    path = write(tmp_path / "a.hdf5", 10, steps=500)
    assert part_of(path, [f"demo_{i}" for i in range(10)]) is not None
    assert part_of(path, ["demo_0", "demo_1"]) is not None, "what comes later is not copied"
    assert part_of(path, ["demo_0", "demo_9"]) is None


def test_damage_is_never_taken_for_something_else(tmp_path):
    """Whatever byte of the structure is wrong: outlines and a part, or that it is not known, and no other error."""
    path = write(tmp_path / "a.hdf5", 2)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    unknown = 0
    for signature in (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"\x01\0\x06\0"):  # the last one is the header of a dataset
        places = [match.start() for match in re.finditer(re.escape(signature), content)]
        for _ in range(40):
            damaged = bytearray(content)
            damaged[rng.choice(places) + rng.integers(0, 200)] = rng.integers(0, 256)
            path.write_bytes(damaged)
            inventory = inventory_of(path)
            unknown += inventory is None
            splice.part_of(path, inventory, ["demo_0", "demo_1"])
    assert 20 < unknown < 200


def test_a_tree_that_bites_its_tail_ends(tmp_path):
    path = write(tmp_path / "a.hdf5", 2)
    content = bytearray(path.read_bytes())
    tree = content.rindex(b"TREE\0\0")
    content[tree + 5], content[tree + 32 : tree + 40] = 3, tree.to_bytes(8, "little")
    path.write_bytes(content)
    assert inventory_of(path) is None


def test_a_file_that_is_changed_while_it_is_merged_is_refused(tmp_path, monkeypatch):
    inputs = [write(tmp_path / "a.hdf5", 3), write(tmp_path / "b.hdf5", 3, first=3)]
    assert all(part_of(path, ["demo_0", "demo_1", "demo_2"]) for path in inputs)

    def looked_into_and_changed(target: Path, needed: int) -> None:
        with DatasetWriter(inputs[1], task_id="t", lineage={}) as writer:
            writer.write(make_episode(50, 9))

    monkeypatch.setattr(merging, "refuse_full_disk", looked_into_and_changed)
    with pytest.raises(RunFailed, match="changed"):
        merge(inputs, tmp_path / "m.hdf5")
    assert not list(tmp_path.glob("m*"))


def test_a_sha256_that_nobody_wants_any_more_is_given_up(tmp_path, monkeypatch):
    path = tmp_path / "a.hdf5"
    path.write_bytes(bytes(1000))
    monkeypatch.setattr(reader, "_HASHED_AT_ONCE", 10)
    asked = []
    assert reader.file_sha256(path) == hashlib.sha256(bytes(1000)).hexdigest()
    assert reader.file_sha256(path, lambda: len(asked) == 5 or asked.append(0)) == hashlib.sha256(bytes(50)).hexdigest()
