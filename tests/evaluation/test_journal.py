"""Rollouts on disk count together only if they are of one evaluation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mimicctl.errors import UserError
from mimicctl.evaluation.journal import Journal
from mimicctl.evaluation.robust import Cell
from mimicctl.evaluation.rollouts import Rollout
from mimicctl.tasks import DEFAULT_TASK, find_task
from mimicctl.tasks.fingerprint import KEY, fingerprint

TASK = find_task(DEFAULT_TASK)
IDENTITY = {"task": DEFAULT_TASK, KEY: fingerprint(TASK)}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "a.pth").write_bytes(b"weights")
    return tmp_path / "a.pth"


def begun(path: Path, checkpoint: Path, identity: dict) -> Cell:
    """A journal with one rollout."""
    cell = Cell(1, "vanilla", checkpoint)
    with Journal(path, identity, [checkpoint], resume=False, overwrite=False) as journal:
        journal.add(cell, Rollout(0, True, {"franka": 4}, 9))
    return cell


def test_an_evaluation_is_not_continued_on_an_edited_task(tmp_path, checkpoint):
    begun(tmp_path / "rollouts.jsonl", checkpoint, IDENTITY)
    edited = IDENTITY | {KEY: fingerprint(dataclasses.replace(TASK, success_hold_steps=3))}
    with pytest.raises(UserError, match="the task: its success_hold_steps has changed"):
        Journal(tmp_path / "rollouts.jsonl", edited, [checkpoint], resume=True, overwrite=False)


def test_one_from_before_there_were_fingerprints_goes_on(tmp_path, checkpoint):
    cell = begun(tmp_path / "rollouts.jsonl", checkpoint, {"task": DEFAULT_TASK})
    with Journal(tmp_path / "rollouts.jsonl", IDENTITY, [checkpoint], resume=True, overwrite=False) as journal:
        assert journal.done == {cell: {0: Rollout(0, True, {"franka": 4}, 9)}}
