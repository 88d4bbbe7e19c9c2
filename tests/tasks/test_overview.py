"""The table at the top of docs/tasks.md."""

from __future__ import annotations

import runpy

import pytest

from tests.conftest import ROOT


def test_the_table_of_tasks_is_as_the_tasks_are():
    overview = runpy.run_path(str(ROOT / "docs" / "overview.py"))
    assert overview["PAGE"].read_text() == overview["page"](), "python docs/overview.py writes it anew"


def test_pictures_are_of_tasks_that_there_are_and_small():
    overview = runpy.run_path(str(ROOT / "docs" / "overview.py"))
    pictures = sorted(overview["PICTURES"].glob("*.png"))
    strangers = {picture.stem for picture in pictures} - {task.task_id for task in overview["own_tasks"]()}
    assert pictures and not strangers and max(picture.stat().st_size for picture in pictures) < 40_000


@pytest.mark.render
def test_a_picture_is_drawn_of_a_task(tmp_path):
    overview = runpy.run_path(str(ROOT / "docs" / "overview.py"))
    draw, task = overview["draw"], overview["own_tasks"]()[0]
    draw.__globals__["PICTURES"] = tmp_path
    draw(task)
    with overview["Image"].open(overview["picture_of"](task)) as picture:
        colours = picture.convert("RGB").getcolors(76_800)
        assert picture.size == overview["SIZE"] and len(colours) > 50
    assert any(red > 150 > 3 * green for _, (red, green, _) in colours), "the red cube"
