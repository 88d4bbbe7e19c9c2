"""Tracing: back to segments, source demos and operators, forward to files, checkpoints and videos."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.provenance.graph import Graph
from mimicctl.provenance.trace import as_svg, as_text, trace_of
from mimicctl.provenance.workspace import scan
from tests.provenance.workshop import OPERATORS, SUBTASKS, Workshop, fake_run, make_workshop


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Workshop:
    shop = make_workshop(tmp_path_factory.mktemp("trace") / "work", 8, copies=3)
    fake_run(shop.folder / "runs" / "mlp", shop.path("merged"), [f"demo_{i}" for i in range(11)])
    return shop


@pytest.fixture(scope="module")
def graph(shop) -> Graph:
    return Graph(scan(shop.folder))


def test_a_demo_goes_back_to_each_segment_and_its_operator(shop, graph):
    with Dataset(shop.path("generated")) as dataset:
        sources = dataset.demo_lineage("demo_1")["sources"]
    found = trace_of(graph, graph.find(shop.path("merged"), "demo_1"))
    supplied = {}
    for link in found.links:
        if link.to == found.start:
            supplied.update(dict.fromkeys(link.how.split(" and "), found.items[link.origin].name))
    assert supplied == {subtask: f"{name} of annotated.hdf5" for subtask, name in zip(SUBTASKS, sources, strict=True)}
    assert {item.name for item in found.items.values() if item.kind == "operator"} == {OPERATORS[int(name[5:])] for name in sources} == shop.used[1]


def test_a_recording_goes_forward_to_files_checkpoints_and_what_it_is_in(shop, graph):
    source = max(range(10), key=lambda i: sum(f"demo_{i}" in a["sources"] for a in attempts(shop)))
    expected = [f"demo_{i}" for i, attempt in enumerate(a for a in attempts(shop) if a["success"]) if f"demo_{source}" in attempt["sources"]]
    found = trace_of(graph, graph.find(shop.path("dataset"), f"demo_{source}"))
    by_name = {item.name: item for item in found.items.values()}
    assert sorted(by_name["generated.hdf5"].demos) == sorted(expected)
    assert set(by_name["merged.hdf5"].demos) == set(expected) | {f"demo_{8 + i}" for i in range(3) if f"demo_{i}" in expected}
    assert "runs/mlp/models/model_epoch_1.pth" in by_name
    text = as_text(found)
    assert (
        f"annotated: demo_{source} of annotated.hdf5" in text
        and f"recorded with spacemouse: operator {OPERATORS[source]}" in text
        and "checkpoint runs/mlp" in text
    )


def attempts(shop: Workshop) -> list[dict]:
    with Dataset(shop.path("generated")) as dataset:
        return dataset.attempts()


def test_a_file_by_itself_tells_of_its_sources_and_operators(shop, tmp_path):
    """Merged again with others, and nothing beside it."""
    alone = tmp_path / "alone"
    alone.mkdir()
    merge([shop.path("merged"), make_workshop(tmp_path / "more", 3, copies=1).path("merged")], alone / "twice.hdf5")
    graph = Graph(scan(alone))
    node = graph.find(alone / "twice.hdf5", "demo_9")
    assert {each.operator for each in graph.ancestors([node.sha256]).values()} - {""} == shop.used[1]


def test_the_picture_is_whole_and_shows_every_item(graph, shop):
    found = trace_of(graph, graph.find(shop.path("dataset"), "demo_0"))
    picture = ET.fromstring(as_svg(found))
    spaced = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f"{spaced}g")) == len(found.items)
    boxes = [(float(r.get("x")), float(r.get("y"))) for r in picture.findall(f"{spaced}g/{spaced}rect")]
    assert len(set(boxes)) == len(boxes), "no two boxes lie on one another"


def test_what_is_not_there_is_said(graph, shop, tmp_path):
    with pytest.raises(UserError, match="There is no demo_99"):
        graph.find(shop.path("merged"), "demo_99")
    with pytest.raises(UserError, match="no such dataset in the workspace"):
        graph.find(tmp_path / "x.hdf5", "demo_0")


def test_the_command(mimicctl, shop, tmp_path):
    done = mimicctl("provenance", "trace", "merged.hdf5", "demo_1", "--svg", str(tmp_path / "t.svg"), "--json", cwd=shop.folder)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["items"][data["start"]]["name"] == "demo_1 of generated.hdf5" and (tmp_path / "t.svg").read_text().startswith("<svg")
    done = mimicctl("provenance", "trace", "merged.hdf5", "demo_1", "--svg", "t.png", cwd=shop.folder)
    assert done.returncode == 2 and "no .svg file" in done.stderr
