"""The viewer and the annotator in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import ExitStack

import numpy as np
import pytest

from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.web import annotating, datasets
from mimicctl.web.annotating import Annotations
from mimicctl.web.stage import Stages
from mimicctl.web.workspace import Workspace
from tests.web.client import served

pytestmark = pytest.mark.web
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect


@pytest.fixture
def folder(tmp_path, source_file):
    """Two datasets, the second with images in which the step can be read off, and a broken one."""
    folder = tmp_path / "datasets"
    folder.mkdir()
    shutil.copy(source_file, folder / "a.hdf5")
    with Dataset(source_file) as dataset, DatasetWriter(folder / "seen.hdf5", task_id=dataset.task_id, lineage={}, env_args=dataset.env_args) as writer:
        for name in dataset.demos[:2]:
            episode = dataset.episode(name)
            episode.datagen_info = {}
            episode.obs["table_cam"] = np.ones((len(episode), 24, 32, 3), np.uint8) * np.arange(len(episode), dtype=np.uint8)[:, None, None, None]
            writer.write(episode)
    (folder / "broken.hdf5").write_text("hello")
    return folder


@pytest.fixture
def site(folder):
    """The server, and how to stop it."""
    workspace, stages = Workspace([folder]), Stages()
    with ExitStack() as stack:
        annotations = stack.enter_context(Annotations(workspace, lambda path: path.with_name(f"{path.stem}_annotated.hdf5")))
        routes = [*datasets.routes(workspace, stages), *annotating.routes(annotations, stages)]
        pages = {"datasets.html": "Demonstrations", "annotate.html": "Annotate"}
        server = stack.enter_context(served(routes, pages))
        server.stop = stack.close
        yield server


def shade(page) -> float:
    """Mean of the film's picture."""
    return page.evaluate(
        """() => {
          const canvas = document.querySelector(".film canvas");
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return data.filter((_, i) => i % 4 < 3).reduce((a, b) => a + b) / (data.length * 0.75);
        }"""
    )


def scene_picture(page) -> bytes:
    return page.locator(".scene").first.screenshot()


def test_files_are_listed_with_what_is_wrong_with_them(page, site):
    page.goto(site.link())
    expect(page.locator(".file")).to_have_count(3)
    expect(page.locator(".broken")).to_contain_text("not a readable HDF5 file")
    expect(page.locator("header nav a[aria-current]")).to_have_text("Demonstrations")


def test_demos_are_filtered_and_marked_from_the_keyboard(page, site, folder):
    page.goto(site.link())
    page.get_by_text("a.hdf5").click()
    expect(page.locator(".demo")).to_have_count(10)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("k")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    expect(page.get_by_role("status")).to_have_text("marks saved in the file")
    with Dataset(folder / "a.hdf5") as dataset:
        assert dataset.masks == {"kept": ("demo_0",), "discarded": ("demo_1",)}
    page.get_by_title("Which demos").select_option("discarded")
    expect(page.locator(".demo b")).to_have_text(["demo_1"])
    page.get_by_title("Which demos").select_option("all")
    page.get_by_label("Name or source").fill("demo_7")
    expect(page.locator(".demo b")).to_have_text(["demo_7"])


def test_marks_that_the_file_refuses_are_taken_back(page, site, folder):
    page.goto(site.link())
    page.get_by_text("a.hdf5").click()
    page.locator(".demo").first.focus()
    with DatasetWriter(folder / "a.hdf5", task_id="", lineage={}):
        page.keyboard.press("x")
        expect(page.locator("#failure")).to_contain_text(re.compile("Another process|has changed"))
        expect(page.locator(".demo.discarded")).to_have_count(0)


def test_a_demo_is_played_and_stepped_and_its_pictures_follow(page, site):
    page.goto(site.link())
    page.get_by_text("seen.hdf5").click()
    page.get_by_text("demo_1", exact=True).click()
    expect(page.locator(".group")).to_have_count(3)
    where = page.locator(".where")
    expect(where).to_contain_text("step 0 of 188")
    for key in "]]..,":
        page.keyboard.press(key)
    expect(where).to_contain_text("step 21 of 188, 1.05 s")
    page.wait_for_function("document.querySelector('.film canvas').width === 32")
    page.wait_for_function("() => Math.abs(document.querySelector('.film canvas').getContext('2d').getImageData(5, 5, 1, 1).data[0] - 21) < 3")
    assert abs(shade(page) - 21) < 3
    before = scene_picture(page)
    page.keyboard.press("n")
    expect(page.locator(".play")).to_have_text("Pause")
    page.wait_for_function("() => Number(document.querySelector('.tracks').getAttribute('aria-valuenow')) > 40")
    page.keyboard.press("b")
    expect(page.locator(".play")).to_have_text("Play")
    assert scene_picture(page) != before
    page.keyboard.press("End")
    expect(where).to_contain_text("step 188 of 188")


def test_the_timeline_scrubs(page, site):
    page.goto(site.link())
    page.get_by_text("a.hdf5").click()
    page.get_by_text("demo_0", exact=True).click()
    expect(page.locator(".row .label")).to_have_text(
        ["closed", "grasp_1 starts", "grasp_1", "stack_1 starts", "stack_1", "grasp_2 starts", "grasp_2", "stack_2 starts"]
    )
    box = page.locator(".row .lane").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    expect(page.locator(".where")).to_contain_text("step 101 of 202")


def test_two_demos_are_compared(page, site):
    page.goto(site.link())
    page.get_by_text("a.hdf5").click()
    page.get_by_text("demo_0", exact=True).click()
    page.get_by_title("Compare with").select_option("demo_7")
    expect(page.locator("h1")).to_have_text("demo_0 and demo_7")
    expect(page.locator(".scene")).to_have_count(2)
    expect(page.locator(".where")).to_contain_text("of 221")  # the longer one
    page.go_back()
    expect(page.locator("h1")).to_have_text("demo_0")
    expect(page.locator(".scene")).to_have_count(1)


def test_a_server_that_is_gone_is_missed(page, site):
    page.goto(site.link())
    expect(page.locator(".file")).to_have_count(3)
    site.stop()
    expect(page.locator("#failure")).to_contain_text("cannot be reached", timeout=15_000)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_of_the_window(page, site, width):
    page.set_viewport_size({"width": width, "height": 740})
    page.goto(site.link())
    for step in (lambda: page.get_by_text("seen.hdf5").click(), lambda: page.get_by_text("demo_1", exact=True).click()):
        step()
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


# The annotator -------------------------------------------------------------------------------------------------


@pytest.fixture
def annotator(page, site):
    page.goto(site.link())
    page.get_by_role("link", name="Annotate", exact=True).click()
    page.locator(".file", has_text="seen.hdf5").get_by_role("button", name="Annotate").click()
    expect(page.locator(".boundary")).to_have_count(3)
    return page


def test_a_recording_is_annotated_from_the_keyboard(annotator, folder):
    page = annotator
    message = page.locator(".message")
    expect(message).to_contain_text("Mark where grasp_1 becomes true: step 1 to")
    page.keyboard.press("s")
    expect(message).to_contain_text("not 0")
    for signal in ("grasp_1", "stack_1", "grasp_2"):
        page.keyboard.press("ArrowDown")
        for _ in range(2):
            if signal not in message.text_content():
                page.keyboard.press("ArrowDown")
        expect(message).to_contain_text(f"{signal} at step")
        page.keyboard.press("s")
        expect(page.locator(".boundary.set", has_text=signal)).to_have_count(1)
    page.keyboard.press("u")
    expect(page.locator(".boundary.set")).to_have_count(2)
    page.keyboard.press("s")
    expect(message).to_contain_text("Everything is marked")
    page.keyboard.press("Enter")
    expect(page.locator(".chips .accepted")).to_have_text("demo_0 ✓")
    expect(page.locator(".chips [aria-current]")).to_have_text("demo_1")
    expect(message).to_contain_text("Mark where grasp_1")
    page.keyboard.press("q")
    expect(message).to_contain_text("Every demo is judged")
    page.get_by_role("button", name="Write seen_annotated.hdf5").click()
    expect(message).to_contain_text("1 demos are in")
    with Dataset(folder / "seen_annotated.hdf5") as made, Dataset(folder / "a.hdf5") as known:
        for signal in ("grasp_1", "stack_1", "grasp_2"):
            path = f"subtask_term_signals/{signal}"
            assert made.episode("demo_0").datagen_info[path].argmax() == known.episode("demo_0").datagen_info[path].argmax()


def test_marks_are_moved_and_taken_away_with_the_mouse(annotator, folder):
    page = annotator
    page.locator(".boundary", has_text="stack_1").click()
    for _ in range(8):
        page.keyboard.press("]")
    page.get_by_role("button", name="Mark S").click()
    boundary = page.locator(".boundary", has_text="stack_1")
    expect(boundary).to_contain_text("step 80")
    boundary.click()
    page.keyboard.press("]")
    page.keyboard.press("s")
    expect(boundary).to_contain_text("step 90")
    boundary.get_by_title("Take this mark away").click()
    expect(boundary).to_contain_text("not marked")
    assert json.loads((folder / "seen_annotated.marks.json").read_text())["demos"]["demo_0"]["steps"] == {"franka": [None, None, None]}


def test_keys_that_come_faster_than_answers_are_all_obeyed(annotator):
    page = annotator
    # Only once the second undo is answered is nothing under way any more: one mark is also what the page shows after the first of the three.
    undone = []
    with page.expect_response(lambda response: response.url.endswith("/undo") and (undone.append(response) or len(undone) == 2)):
        page.keyboard.type("]]]s]]]s]]]suu", delay=1)
    expect(page.locator(".boundary.set")).to_have_count(1)
    expect(page.locator(".boundary.set")).to_contain_text("step 30")
    page.keyboard.type("]]]s]]]s", delay=1)
    expect(page.locator(".message")).to_contain_text("Everything is marked")


def test_marks_are_there_again_after_a_reload(annotator):
    page = annotator
    for _ in range(3):
        page.keyboard.press("]")
    page.keyboard.press("s")
    expect(page.locator(".boundary.set")).to_have_count(1)
    page.reload()
    expect(page.locator(".boundary.set")).to_contain_text("step 30")


def test_a_mark_that_cannot_be_saved_is_said_so(annotator, site):
    site.stop()
    annotator.keyboard.press("]")
    annotator.keyboard.press("s")
    expect(annotator.locator("#failure")).to_contain_text("cannot be reached")
    expect(annotator.locator(".boundary.set")).to_have_count(0)
