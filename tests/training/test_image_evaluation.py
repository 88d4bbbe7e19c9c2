"""Rolling image policies out: live images, the same results however they are spread out."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mimicctl.crew import Activity, results_of_jobs
from mimicctl.envs import make_env
from mimicctl.envs.mujoco import gl
from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of
from mimicctl.evaluation.play import one_thread
from mimicctl.evaluation.rollouts import roll_out
from mimicctl.evaluation.sight import Sight, rendering_mode_in, view_of
from mimicctl.tasks import DEFAULT_TASK, find_task
from tests.training.images import VISUOMOTOR, checkpoint_of

pytestmark = [pytest.mark.train, pytest.mark.render]


def changed(image_run: Path, path: Path, change) -> Path:
    """A copy of a checkpoint with other contents."""
    import torch

    contents = torch.load(checkpoint_of(image_run), weights_only=False)
    change(contents)
    torch.save(contents, path)
    return path


# Live images ---------------------------------------------------------------------------------------------------------


def test_a_policy_sees_what_its_dataset_would_show(image_run):
    from mimicctl.training.policy import Policy

    task, env = find_task(VISUOMOTOR), make_env(VISUOMOTOR, 2)
    view = view_of(Policy(checkpoint_of(image_run)), task)
    sight, drawing = Sight(view), SceneRenderer(task, "performance", cameras_of(task, 24))
    snapshots = env.snapshot()
    seen = sight.images(snapshots)
    assert set(seen) == {"table_cam", "wrist_cam"} and view.mode == "performance"
    for row, snapshot in enumerate(snapshots):
        for key, image in drawing.images(snapshot[: drawing.nq]).items():
            np.testing.assert_array_equal(seen[key][row], image)
    assert not np.array_equal(seen["table_cam"][0], seen["table_cam"][1])
    sight.close(), drawing.close(), env.close()


@pytest.mark.parametrize(
    ("lineage", "mode"),
    [
        ({}, None),
        ({"settings": {"trials": 3}, "render": {"rendering_mode": "quality"}}, "quality"),
        ({"settings": {"rendering_mode": "performance", "image_size": 84}}, "performance"),
        (
            {"inputs": [{"file": "a", "lineage": None}, {"file": "b", "lineage": {"inputs": [{"lineage": {"render": {"rendering_mode": "quality"}}}]}}]},
            "quality",
        ),
    ],
)
def test_how_images_were_drawn_is_found_in_the_lineage(lineage, mode):
    assert rendering_mode_in(lineage) == mode


def paths(checkpoint: Path, numbers, num_envs: int):
    """Number and snapshots of every rollout."""
    from mimicctl.training.policy import Policy

    gl.choose_gl()
    with one_thread(), closing(make_env(VISUOMOTOR, num_envs)) as env:
        policy = Policy(checkpoint, seed=3)
        with closing(Sight(view_of(policy, env.task))) as sight:
            for rollout, snapshots in roll_out(env, policy, numbers, horizon=8, seed=3, recorded=99, sight=sight):
                yield rollout.index, snapshots


def numbered_paths(checkpoint: Path, next_number):
    for index, snapshots in paths(checkpoint, iter(next_number, None), 2):
        yield index, (index, snapshots)


def test_envs_and_workers_change_nothing_bit_for_bit(image_run):
    checkpoint = checkpoint_of(image_run)
    alone, together = (dict(paths(checkpoint, iter(range(5)), num_envs)) for num_envs in (1, 4))
    spread = dict(results_of_jobs(partial, (numbered_paths, checkpoint), range(5), workers=2, at_once=2, activity=Activity(), do=""))
    assert sorted(together) == sorted(spread) == list(range(5)) and not np.array_equal(alone[0], alone[1])
    for index, path in alone.items():
        np.testing.assert_array_equal(path, together[index])
        np.testing.assert_array_equal(path, spread[index])


def test_what_is_seen_decides_what_is_done(image_run):
    class Blind(Sight):
        def images(self, snapshots):
            return {key: np.zeros_like(images) for key, images in super().images(snapshots).items()}

    from mimicctl.training.policy import Policy

    ends = []
    for kind in (Sight, Blind):
        env, policy = make_env(VISUOMOTOR, 1), Policy(checkpoint_of(image_run))
        ((_, snapshots),) = roll_out(env, policy, iter([0]), horizon=5, seed=1, recorded=1, sight=kind(view_of(policy, env.task)))
        ends.append(snapshots[-1])
    assert not np.array_equal(*ends)


# eval play -----------------------------------------------------------------------------------------------------------


def test_image_policies_are_rolled_out_and_reported(image_run, evaluate):
    code, out, err = evaluate("play", "--checkpoint", image_run, "--rollouts", 2, "--horizon", 3, "--workers", 1, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["task"] == VISUOMOTOR and {len(c["results"]) for c in report["checkpoints"]} == {2}


def test_a_plain_task_lends_its_cameras(image_run, tmp_path, evaluate):
    checkpoint = changed(image_run, tmp_path / "plain.pth", lambda contents: contents["env_metadata"].update(env_name=DEFAULT_TASK))
    code, out, err = evaluate("play", "--checkpoint", checkpoint, "--rollouts", 1, "--horizon", 2, "--workers", 1, "--json")
    assert code == 0, err
    assert json.loads(out)["task"] == VISUOMOTOR


def test_a_camera_that_the_task_has_not_is_refused(image_run, tmp_path, evaluate):
    def rename(contents: dict) -> None:
        for section in (contents["shape_metadata"]["all_obs_keys"], contents["shape_metadata"]["all_shapes"]):
            if isinstance(section, list):
                section[section.index("wrist_cam")] = "ceiling_cam"
            else:
                section["ceiling_cam"] = section.pop("wrist_cam")
        contents["config"] = contents["config"].replace("wrist_cam", "ceiling_cam")
        contents["model"] = {key.replace("wrist_cam", "ceiling_cam"): value for key, value in contents["model"].items()}

    code, _, err = evaluate("play", "--checkpoint", changed(image_run, tmp_path / "ceiling.pth", rename), "--rollouts", 1)
    assert code == 2 and "observes ceiling_cam, which" in err


def test_without_opengl_nothing_is_rolled_out(image_run, tmp_path, evaluate, monkeypatch):
    monkeypatch.setenv("PYOPENGL_PLATFORM", "none")
    monkeypatch.setattr(gl, "_failure", gl._failure.__wrapped__)
    for command in ("play", "robust"):
        code, out, err = evaluate(command, "--checkpoint", checkpoint_of(image_run), *(["--log-dir", "logs"] if command == "robust" else []))
        assert code == 2 and "none works here" in err and "apt-get install libegl1" in err and out == ""
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--norm-factor-min", "-1"], "which -1.0 to None is not"),
        (["--norm-factor-min", "1", "--norm-factor-max", "-1"], "which 1.0 to -1.0 is not"),
        (["--norm-factor-min", "-2", "--norm-factor-max", "2"], "trained with no range of actions, not -2 to 2"),
    ],
)
def test_action_ranges_that_cannot_be_are_refused(image_run, evaluate, given, message):
    code, _, err = evaluate("play", "--checkpoint", checkpoint_of(image_run), *given)
    assert code == 2 and message in err


def test_a_foreign_checkpoint_is_told_its_action_range(image_run, tmp_path):
    from mimicctl.training.policy import Policy

    foreign = changed(image_run, tmp_path / "foreign.pth", lambda contents: contents.pop("mimicctl"))
    seen = {"table_cam": np.zeros((1, 24, 24, 3), np.uint8), "wrist_cam": np.zeros((1, 24, 24, 3), np.uint8)}
    seen |= {key: np.zeros((1, width), np.float32) for key, width in (("eef_pos", 3), ("eef_quat", 4), ("gripper_pos", 2), ("joint_vel", 9))}

    def action(action_range):
        policy = Policy(foreign, action_range=action_range)
        policy.start(1)
        return policy.act(seen, [0])

    np.testing.assert_allclose(action((-3.0, 1.0)), 2 * action(None) - 1, rtol=1e-5)
