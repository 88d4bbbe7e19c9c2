"""`mimicctl eval robust`: image policies under another look of the scene."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mimicctl.config import EvalSettings, RobustSettings
from mimicctl.evaluation.robust import Cell, appearance_of, chosen_seeds, roll_out_cells
from mimicctl.tasks import find_task
from tests.conftest import ROOT
from tests.training.images import LOW_DIM_RECIPES, VISUOMOTOR, checkpoint_of

pytestmark = [pytest.mark.train, pytest.mark.render]

QUICK = ["--num-rollouts", "2", "--horizon", "2", "--workers", "1", "--json"]
TWO = ["-o", 'robust.settings=["vanilla", "table_texture"]']


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "here" / "log"


@pytest.fixture
def robust(image_run, evaluate):
    """The command on two checkpoints, writing to `log`."""

    def done(*arguments: str) -> tuple[int, str, str]:
        return evaluate("robust", "--checkpoint", image_run, "--log-dir", "log", *QUICK, *arguments)

    return done


def journal_of(log: Path) -> list[dict]:
    return [json.loads(line) for line in (log / "rollouts.jsonl").read_text().splitlines()[1:]]


# Rollouts ------------------------------------------------------------------------------------------------------------


def test_every_checkpoint_is_rolled_out_under_every_setting(robust, image_run, log):
    code, out, err = robust("--seeds", "0", "7")
    assert code == 0, err
    report = json.loads(out)
    settings = ["vanilla", "light_intensity", "light_color", "light_texture", "table_texture", "robot_texture", "all"]
    cells = [(c["seed"], c["setting"], Path(c["checkpoint"]).stem) for c in report["cells"]]
    assert cells == list(itertools.product([0, 7], settings, ["model_epoch_1", "model_epoch_2"]))
    assert all([r["index"] for r in c["results"]] == [0, 1] and c["rollouts"] == 2 for c in report["cells"])
    assert all(c["rollouts"] == 4 for c in report["over_all_seeds"]) and len(report["over_all_seeds"]) == 14
    assert sorted(p.name for p in log.iterdir()) == ["results_seed_0", "results_seed_7", "robust.json", "robust.png", "rollouts.jsonl"]
    assert json.loads((log / "robust.json").read_text()) == report


def test_results_do_not_depend_on_workers(image_run):
    cells = [Cell(5, setting, checkpoint_of(image_run)) for setting in ("vanilla", "robot_texture")]

    def results(workers: int) -> dict:
        settings = EvalSettings(horizon=6, workers=workers)
        return {(cell, r.index): r for cell, r in roll_out_cells(cells, {}, find_task(VISUOMOTOR), RobustSettings(rollouts=2), settings)}

    alone = results(1)
    assert len(alone) == 4 and results(2) == alone


def test_looks_are_paired_over_checkpoints_and_new_in_every_rollout():
    first, second = (Cell(3, "light_color", Path(name)) for name in ("a.pth", "b.pth"))
    assert appearance_of(first, 4) == appearance_of(second, 4)
    assert appearance_of(first, 4) != appearance_of(first, 5) != appearance_of(Cell(4, "light_color", Path("a.pth")), 5)
    assert appearance_of(Cell(3, "vanilla", Path("a.pth")), 1) == appearance_of(Cell(9, "vanilla", Path("a.pth")), 2)


def test_a_look_reaches_the_policy(image_run):
    from mimicctl.envs import make_env
    from mimicctl.evaluation.sight import Sight, view_of
    from mimicctl.training.policy import Policy

    env = make_env(VISUOMOTOR)
    sight = Sight(view_of(Policy(checkpoint_of(image_run)), env.task))
    plain = sight.images(env.snapshot())["table_cam"]
    sight.wear(appearance_of(Cell(1, "table_texture", Path("a.pth")), 0))
    assert not np.array_equal(sight.images(env.snapshot())["table_cam"], plain)
    sight.wear(appearance_of(Cell(1, "vanilla", Path("a.pth")), 0))
    np.testing.assert_array_equal(sight.images(env.snapshot())["table_cam"], plain)
    sight.close(), env.close()


def test_seeds_that_are_not_named_are_drawn_the_same_again():
    drawn = chosen_seeds(RobustSettings(), 1)
    assert drawn == chosen_seeds(RobustSettings(), 1) != chosen_seeds(RobustSettings(), 2)
    assert len(set(drawn)) == 3 and all(0 <= seed < 10_000 for seed in drawn)
    assert chosen_seeds(RobustSettings(seeds=[5, 0, 5]), 1) == [5, 0]


# Interruptions -------------------------------------------------------------------------------------------------------


def test_a_killed_evaluation_goes_on_and_does_nothing_twice(image_run, robust, tmp_path, log):
    asked = ["--seeds", "3", *TWO]
    command = [sys.executable, "-m", "mimicctl", "eval", "robust", "--checkpoint", str(image_run), "--log-dir", str(log), *QUICK, *asked]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (log / "rollouts.jsonl").exists() or not journal_of(log):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = (log / "rollouts.jsonl").read_text()
    (log / "rollouts.jsonl").write_text(before + '{"seed": 3, "set')  # as a kill in the middle of a write leaves it
    code, out, err = robust(*asked, "--resume")
    assert code == 0 and "done before" in err, err
    after = (log / "rollouts.jsonl").read_text()
    places = [(entry["seed"], entry["setting"], entry["checkpoint"], entry["index"]) for entry in journal_of(log)]
    assert after.startswith(before) and len(places) == len(set(places)) == 8
    resumed = json.loads(out)
    straight = json.loads(robust(*asked, "--overwrite")[1])
    assert resumed["cells"] == straight["cells"]


def test_a_finished_evaluation_grows(robust, log, monkeypatch):
    robust("--seeds", "3", *TWO)
    first = journal_of(log)
    assert robust("--seeds", "3", *TWO)[0] == 2
    code, out, _ = robust("--seeds", "3", "4", *TWO, "--resume")
    assert code == 0 and len(json.loads(out)["cells"]) == 8
    assert journal_of(log)[: len(first)] == first and len(journal_of(log)) == 2 * len(first)
    monkeypatch.setattr("mimicctl.evaluation.robust.roll_out_cells", None)  # nothing is left to do
    assert robust("--seeds", "3", "4", *TWO, "--resume")[1] == out


def test_ctrl_c_reports_whole_cells_and_keeps_the_rest(robust, log, monkeypatch):
    from mimicctl.evaluation.rollouts import Rollout

    def some(cells, *_, on_event):
        yield from ((cells[0], Rollout(i, True, {"franka": 4}, 5)) for i in range(2))
        yield cells[1], Rollout(0, True, {"franka": 4}, 5)
        raise KeyboardInterrupt

    monkeypatch.setattr("mimicctl.evaluation.robust.roll_out_cells", some)
    code, out, err = robust("--seeds", "3", *TWO)
    report = json.loads(out)
    assert code == 130 and report["stopped"] and len(report["cells"]) == 1 and "--resume goes on" in err
    assert len(journal_of(log)) == 3


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start-epoch", "3"], "No checkpoint is of epoch 3 or later; the last is of 2"),
        (["--num-rollouts", "0"], "robust.rollouts cannot be 0"),
        (["-o", 'robust.settings=["fog"]'], "robust.settings"),
        (["--resume", "--overwrite"], "continued or replaced"),
        (["12"], "12 belongs to no option"),
        (["--task", "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"], "no cameras"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_rolled_out(robust, tmp_path, arguments, message):
    code, out, err = robust(*arguments)
    assert code == 2 and message in err and out == "", err
    assert not list((tmp_path / "here").iterdir())


def test_a_policy_without_images_is_refused(runs, evaluate):
    code, _, err = evaluate("robust", "--checkpoint", runs[LOW_DIM_RECIPES[0]])
    assert code == 2 and "sees no camera images" in err and "eval play" in err


def test_an_evaluation_is_not_continued_with_another_horizon(robust, log):
    robust("--seeds", "3", *TWO)
    code, _, err = robust("--seeds", "3", *TWO, "--resume", "--horizon", "3")
    assert code == 2 and "horizon: 2 then, 3 now" in err
    (log / "rollouts.jsonl").write_text("no\nno\n")
    code, _, err = robust("--seeds", "3", *TWO, "--resume")
    assert code == 2 and "cannot be read" in err
