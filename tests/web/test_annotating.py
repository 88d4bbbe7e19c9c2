"""The annotator's server, over real sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pytest

from mimicctl.annotation.auto import annotate_auto
from mimicctl.dataset.masks import DISCARDED, change_masks
from mimicctl.dataset.reader import Dataset
from mimicctl.web import annotating, datasets
from mimicctl.web.annotating import Annotations
from mimicctl.web.stage import Stages
from mimicctl.web.workspace import Workspace
from tests.web.client import Client, free_port, served


@pytest.fixture
def output(tmp_path):
    return tmp_path / "marked.hdf5"


@pytest.fixture
def client(recording, output):
    workspace, stages = Workspace([recording]), Stages()
    with ExitStack() as stack:
        annotations = stack.enter_context(Annotations(workspace, lambda path: output))
        routes = [*datasets.routes(workspace, stages), *annotating.routes(annotations, stages)]
        client = Client(stack.enter_context(served(routes, {"annotate.html": "Annotate"})))
        client.get("/api/datasets")
        yield client


DEMO = "/api/annotations/0/demos"


def mark_as_suggested(client: Client, name: str) -> dict:
    seen = client.get(f"{DEMO}/{name}")
    for suggestion in seen["suggestions"]:
        if suggestion["signal"]:
            seen = client.post(f"{DEMO}/{name}/mark", {**seen["next"], "step": suggestion["step"]})
            assert not seen["refusal"]
    return seen


def test_a_recording_is_marked_and_written(client, recording, output, tmp_path):
    assert client.get("/api/annotations/0") == {"open": False, "input": str(recording), "output": str(output), "marked": False, "written": False}
    state = client.post("/api/annotations/0", {"begin": "new"})
    assert state["open"] and [demo["verdict"] for demo in state["demos"]] == ["", "", ""]
    assert [b["signal"] for b in state["tracks"]["franka"]] == ["grasp_1", "stack_1", "grasp_2"] and state["last"]["franka"] == "stack green on red"
    frames = np.frombuffer(client.bytes(f"{DEMO}/demo_0/frames"), "<f4")
    assert frames.size % (204 * 7) == 0
    early = client.post(f"{DEMO}/demo_0/accept")
    assert "not marked yet" in early["refusal"] and early["verdict"] == ""
    seen = mark_as_suggested(client, "demo_0")
    assert seen["next"] is None and seen["can_undo"]
    assert client.post(f"{DEMO}/demo_0/accept")["verdict"] == "accepted"
    client.post(f"{DEMO}/demo_1/skip")
    made = client.post("/api/annotations/0/finish")
    assert made["written"] == 1 and made["left_out"] == [["demo_1", "skipped by the annotator"], ["demo_2", "not reached before the end"]]
    auto, _ = annotate_auto(recording, str(tmp_path / "auto.hdf5"))
    with Dataset(output) as by_hand, Dataset(auto) as by_replay:
        assert by_hand.lineage["method"] == "manual" and by_hand.demos == ("demo_0",)
        a, b = by_hand.episode("demo_0").datagen_info, by_replay.episode("demo_0").datagen_info
        rise = {key: int(np.argmax(value)) for key, value in a.items() if "signals" in key}
        assert rise == {key: int(np.argmax(value)) for key, value in b.items() if "signals" in key}


def test_marks_out_of_place_are_refused_and_marks_are_undone(client):
    client.post("/api/annotations/0", {"begin": "new"})
    first = {"eef": "franka", "number": 0}
    assert "step 1 to" in client.post(f"{DEMO}/demo_0/mark", {**first, "step": 0})["refusal"]
    seen = client.post(f"{DEMO}/demo_0/mark", {**first, "step": 30})
    assert seen["ranges"]["franka"][1][0] == 41 and seen["next"] == {"eef": "franka", "number": 1}
    assert "step 41 to" in client.post(f"{DEMO}/demo_0/mark", {"eef": "franka", "number": 1, "step": 35})["refusal"]
    undone = client.post(f"{DEMO}/demo_0/undo")
    assert undone["step"] == 30 and undone["steps"] == {"franka": [None, None, None]}
    client.post(f"{DEMO}/demo_0/mark", {**first, "step": 25})
    assert client.post(f"{DEMO}/demo_0/clear", first)["steps"]["franka"][0] is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/demo_0/mark", {"eef": "left", "number": 0, "step": 3}),
        ("/demo_0/mark", {"eef": "franka", "number": 3, "step": 3}),
        ("/demo_0/mark", {"eef": "franka", "number": -1, "step": 3}),
        ("/demo_0/mark", {"eef": "franka", "number": 0, "step": True}),
        ("/demo_0/mark", {"eef": "franka", "number": 0}),
        ("/demo_0/mark", "s"),
        ("/demo_7/mark", {"eef": "franka", "number": 0, "step": 3}),
        ("/demo_7", None),
    ],
)
def test_requests_that_mean_nothing_change_nothing(client, output, path, body):
    client.post("/api/annotations/0", {"begin": "new"})
    assert client.refused(DEMO + path, body)["status"] == 400
    assert not output.with_name("marked.marks.json").exists()


def test_nothing_is_annotated_before_it_was_begun(client):
    assert "not being annotated" in client.refused(f"{DEMO}/demo_0")["error"]
    assert client.refused("/api/annotations/0", {"begin": "somehow"})["status"] == 400
    assert client.refused("/api/annotations/5")["status"] == 400


def test_discarded_demos_need_no_annotation(client, recording):
    change_masks(recording, lambda dataset: {DISCARDED: ["demo_1"]})
    state = client.post("/api/annotations/0", {"begin": "new"})
    assert [demo["name"] for demo in state["demos"]] == ["demo_0", "demo_2"]
    assert client.refused(f"{DEMO}/demo_1")["status"] == 400


def test_what_was_written_before_is_replaced_on_request_only(client, output):
    output.write_text("somebody's work")
    assert "exists already" in client.refused("/api/annotations/0", {"begin": "new"})["error"]
    assert client.get("/api/annotations/0")["written"]
    client.post("/api/annotations/0", {"begin": "overwrite"})
    assert client.refused("/api/annotations/0/finish", {})["status"] == 500  # nothing was accepted
    assert output.read_text() == "somebody's work"
    mark_as_suggested(client, "demo_2")
    client.post(f"{DEMO}/demo_2/accept")
    client.post("/api/annotations/0/finish")
    with Dataset(output) as dataset:
        assert len(dataset) == 1


class Server:
    """`mimicctl annotate --web` in a process of its own."""

    def __init__(self, folder, recording, *flags: str) -> None:
        command = [sys.executable, "-m", "mimicctl", "annotate", "--web", "--port", str(free_port()), "--input-file", str(recording)]
        self.process = subprocess.Popen(
            [*command, "--output-file", "marked.hdf5", *flags], cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        for line in self.process.stderr:
            if found := re.search(r"Open (http\S+)", line):
                self.link_text = found[1]
                break
        else:
            raise AssertionError("it gave no link")
        self.client = Client(self)
        self.client.get("/api/datasets")

    def link(self) -> str:
        return self.link_text

    def stop(self, how: int) -> tuple[int, str]:
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out + err


def test_a_killed_server_loses_no_mark_and_ctrl_c_writes_what_was_accepted(tmp_path, recording):
    server = Server(tmp_path, recording)
    mark_as_suggested(server.client, "demo_0")
    server.client.post(f"{DEMO}/demo_0/accept")
    server.client.post(f"{DEMO}/demo_1/mark", {"eef": "franka", "number": 0, "step": 33})
    assert server.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (tmp_path / "marked.hdf5").exists()
    server = Server(tmp_path, recording, "--resume")
    state = server.client.get("/api/annotations/0")
    assert [demo["verdict"] for demo in state["demos"]] == ["accepted", "", ""]
    assert server.client.get(f"{DEMO}/demo_1")["steps"] == {"franka": [33, None, None]}
    code, text = server.stop(signal.SIGINT)
    assert code == 0 and "not reached before the end" in text, text
    with Dataset(tmp_path / "marked.hdf5") as dataset:
        assert dataset.demo_lineage("demo_0")["parent"]["demo"] == "demo_0" and len(dataset) == 1
    assert set(json.loads((tmp_path / "marked.marks.json").read_text())["demos"]) == {"demo_0", "demo_1"}


def test_ctrl_c_before_anything_was_accepted_leaves_no_output(tmp_path, recording):
    server = Server(tmp_path, recording)
    time.sleep(0.1)
    assert server.stop(signal.SIGINT)[0] == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recording.hdf5", "state"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--web", "--auto"), "needs no browser"),
        (("--resume",), "anew each time"),
        (("--manual",), "needs a terminal"),
        (("--manual", "--strict"), "only what is accepted"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(mimicctl, recording, flags, text):
    done = mimicctl("annotate", "--input-file", str(recording), *flags)
    assert done.returncode == 2 and text in done.stderr, done.stderr
