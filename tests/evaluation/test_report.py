"""What is said about rollouts, and where it may be written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mimicctl.errors import UserError
from mimicctl.evaluation.checkpoints import find_checkpoints, labels_of, run_folder
from mimicctl.evaluation.report import Evaluation, as_dict, best_of, compare_to, in_words, writable_folder
from mimicctl.evaluation.rollouts import Rollout
from mimicctl.tasks import DEFAULT_TASK, find_task


def evaluation(name: str, pattern: str) -> Evaluation:
    """A rollout for each letter: + succeeded, - did not."""
    return Evaluation(Path(name), tuple(Rollout(i, mark == "+", {"franka": 4 if mark == "+" else 1}, 100) for i, mark in enumerate(pattern)))


def files(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


@pytest.mark.parametrize(
    ("best", "other", "words"),
    [
        ("+" * 20, "-" * 12 + "+" * 8, "60.0 points worse, hardly by chance (p = 0.00049): wins 0 of the 12 start states where they differ"),
        ("++++--", "+++-+-", "as good, may be chance (p = 1): wins 1 of the 2 start states where they differ"),
        ("++++-", "+++--", "20.0 points worse, may be chance (p = 1): wins 0 of the 1 start states where they differ"),
        ("++-", "++-", "the same rollouts succeed"),
    ],
)
def test_a_comparison_is_said_in_words(best, other, words):
    assert in_words(compare_to(evaluation("a.pth", best), evaluation("b.pth", other))) == words


def test_all_but_the_best_are_compared_with_it_in_json():
    task, several = find_task(DEFAULT_TASK), [evaluation("a.pth", "+--+"), evaluation("b.pth", "+++-"), evaluation("c.pth", "+++-")]
    assert best_of(several) is several[1]
    data = json.loads(json.dumps(as_dict(task, several, {"seed": 1})))
    assert (data["best"], data["seed"]) == ("b.pth", 1)
    first, best, third = data["checkpoints"]
    assert first["compared_to_best"] == {"both": 1, "only_best": 2, "only_this": 1, "neither": 0, "p_value": 1.0}
    assert "compared_to_best" not in best and third["compared_to_best"]["p_value"] == 1.0
    assert first["failures"]["stack red on blue"] == 2


def test_the_eef_that_got_stuck_is_named():
    task = find_task("MuJoCo-Lift-Tray-Dual-Franka-IK-Abs-v0")
    reached = [(1, 0), (1, 0), (0, 0), (1, 1), (0, 1), (1, 1)]
    rollouts = tuple(Rollout(i, i == 5, dict(zip(("left", "right"), counts, strict=True)), 100) for i, counts in enumerate(reached))
    stuck = Evaluation(Path("a.pth"), rollouts).failures_by_subtask(task)
    # In the third neither hand got hold of the tray; in the fourth both did, and could not lift it.
    assert stuck == {"left: grasp": 2, "right: grasp": 3, "lift": 1}
    assert json.loads(json.dumps(as_dict(task, [Evaluation(Path("a.pth"), rollouts)], {})))["checkpoints"][0]["failures"] == stuck


def test_no_failure_is_lost_where_subtasks_share_a_name():
    task = find_task(DEFAULT_TASK)
    twice = dataclasses.replace(task, subtasks={"franka": tuple(dataclasses.replace(s, name="move") for s in task.subtasks["franka"])})
    assert evaluation("a.pth", "--+").failures_by_subtask(twice) == {"move": 2}


def test_one_checkpoint_alone_is_compared_with_nothing():
    data = as_dict(find_task(DEFAULT_TASK), [evaluation("a.pth", "+-")], {})
    assert "best" not in data and "compared_to_best" not in data["checkpoints"][0]


def test_labels_tell_checkpoints_apart():
    assert labels_of([Path("runs/a/models/model_epoch_1.pth")]) == ["model_epoch_1"]
    assert labels_of([Path("r/a/models/m_best_-18.6.pth"), Path("r/a/models/m_2.pth")]) == ["m_best_-18.6", "m_2"]
    assert labels_of([Path("r/a/models/m_1.pth"), Path("r/b/models/m_1.pth")]) == ["a/m_1", "b/m_1"]
    assert labels_of([Path("r/models/m_1.pth"), Path("r/m_1.pth")]) == ["models/m_1", "m_1"]


def test_checkpoints_of_a_run_come_in_order_and_best_picks_two(tmp_path):
    files(tmp_path, *(f"models/model_epoch_{name}.pth" for name in ("10", "9", "9_best_validation_-1.5", "20")))
    names = [path.stem.removeprefix("model_epoch_") for path in find_checkpoints(tmp_path)]
    assert names == ["9", "9_best_validation_-1.5", "10", "20"]
    assert [path.stem.removeprefix("model_epoch_") for path in find_checkpoints(tmp_path, best=True)] == ["9_best_validation_-1.5", "20"]


@pytest.mark.parametrize(("name", "message"), [("nothing", "no such file or folder"), ("empty", "no checkpoints here")])
def test_places_without_checkpoints_are_refused(tmp_path, name, message):
    (tmp_path / "empty" / "models").mkdir(parents=True)
    with pytest.raises(UserError, match=message):
        find_checkpoints(tmp_path / name)


def test_the_report_goes_beside_the_checkpoints(tmp_path):
    inside, alone = files(tmp_path, "run/models/m.pth", "alone/m.pth")
    assert run_folder(tmp_path / "run") == run_folder(inside) == tmp_path / "run"
    assert run_folder(alone) == tmp_path / "alone"


def test_a_folder_that_cannot_be_written_to_is_refused_and_one_that_can_is_not_made_yet(tmp_path):
    assert writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not list(tmp_path.iterdir())
    (file,) = files(tmp_path, "file")
    # /proc takes no files from anyone, not even from root.
    for place in (file, file / "inside", Path("/proc/reports")):
        with pytest.raises(UserError, match="cannot be written here"):
            writable_folder(place)
