"""The exhaust pipe from one hand into the other and into the bin: what it is made of, what counts as done, and the loop from recording to generation."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.authoring.attempts import attempts_of_operator
from mimicctl.config import GenerateSettings, RecordSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import make_device
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.assets import gr1_files
from mimicctl.envs.replay import by_actions, divergence
from mimicctl.errors import UserError
from mimicctl.generation.diagnosis import LOST_GRASP, MISSED_GRASP, OFF_TARGET, diagnose
from mimicctl.generation.engine import generate
from mimicctl.tasks import find_task
from mimicctl.tasks.objects import ObjectSpec, rod
from tests.envs.test_nut_pour import things_alone

ID = "MuJoCo-ExhaustPipe-GR1T2-Pink-IK-Abs-v0"
TASK = find_task(ID)
PIPE = TASK.object("blue_exhaust_pipe")


@pytest.fixture(scope="module")
def env():
    try:
        gr1_files()
    except UserError as error:
        pytest.skip(f"{error.what} {error.do}")
    made = make_env(TASK)
    yield made
    made.close()


def test_subtasks_are_isaac_labs():
    left, (wait, take) = TASK.subtasks["left"], TASK.subtasks["right"]
    assert len(left) == 1 and (wait.term_signal, take.term_signal) == ("idle_right_1", None)
    for subtask in (*left, wait, take):
        assert (subtask.object_ref, subtask.action_noise, subtask.num_interpolation_steps) == ("blue_exhaust_pipe", 0.003, 5)
    assert TASK.action_dim == 36 and not TASK.constraints


@pytest.mark.parametrize(("start", "end"), [((0, 0, -0.05), (0, 0, 0.05)), ((0.01, -0.02, 0.0), (0.03, 0.02, 0.06))])
def test_a_rod_reaches_from_end_to_end(start, end):
    import mujoco

    part = rod(start, end, 0.01, (1, 0, 0, 1))
    item = ObjectSpec("bar", "bar", 0.1, 0.2, (1, 0, 0, 1), parts=(part,))
    model = things_alone(item)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    geom = model.geom("bar/0")
    assert geom.type == mujoco.mjtGeom.mjGEOM_CAPSULE and geom.size[0] == pytest.approx(0.01) and model.body("bar").mass[0] == pytest.approx(0.2)
    axis = geom.size[1] * data.geom("bar/0").xmat.reshape(3, 3)[:, 2]
    ends = data.geom("bar/0").xpos - data.body("bar").xpos + np.array([-axis, axis])
    np.testing.assert_allclose(sorted(ends.tolist()), sorted([list(map(float, start)), list(map(float, end))]), atol=1e-9)
    np.testing.assert_allclose(part.half_size, np.abs(np.subtract(end, start)) / 2 + 0.01)


def test_the_pipe_stands_by_itself_and_falls_over_when_it_leans():
    import mujoco

    model = things_alone(PIPE)
    for lean, stands in ((0.0, True), (0.1, True), (0.5, False)):
        data = mujoco.MjData(model)
        data.qpos[2] = PIPE.half_size[2] + 0.03 * (lean > 0)
        data.qpos[3:7] = poses.wxyz_from_xyzw(poses.quat_from_matrix(poses.matrix_from_rotvec(np.array([lean, 0.0, 0.0]))))
        for _ in range(600):
            mujoco.mj_step(model, data)
        assert (data.body(PIPE.name).xmat[8] > 0.99) == stands


def done(env, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """A snapshot with the pipe on the floor of the blue bin, or so far off [m]."""
    env.reset([0], [np.random.SeedSequence(1)])
    row = env.snapshot([0])[0]
    bin_ = env.object_poses(row)["blue_sorting_bin"]
    first = env.layout.objects[PIPE.name][0]
    row[first : first + 3] = poses.position(bin_) - (0.0, 0.0, TASK.object("blue_sorting_bin").rest_height) + (0.0, 0.0, 0.037) + shift
    return row


@pytest.mark.humanoid
@pytest.mark.parametrize(
    ("shift", "success"),
    [
        ((0.0, 0.0, 0.0), True),
        ((0.19, 0.0, 0.0), True),
        ((0.21, 0.0, 0.0), False),
        ((-0.08, 0.0, 0.0), True),
        ((-0.10, 0.0, 0.0), False),
        ((0.0, 0.08, 0.0), True),
        ((0.0, 0.09, 0.0), False),
        ((0.0, -0.09, 0.0), False),
        ((0.0, 0.0, 0.030), True),
        ((0.0, 0.0, 0.040), False),
    ],
)
def test_success_is_isaac_labs_thresholds(env, shift, success):
    assert bool(env.success(done(env, shift))) == success


@pytest.mark.humanoid
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_hand_that_has_not_let_go_is_no_success(env, side):
    row = done(env)
    row[env.layout.hands[side]] = env.body.closed[side]
    assert not env.success(row)


@pytest.mark.humanoid
@pytest.mark.parametrize(
    ("raised", "end", "verdict"),
    [
        (0.1, (-0.10, 0.0, 0.06), ("right", OFF_TARGET)),  # its foot lies on the wall of the bin
        (0.1, (-0.10, 0.4, 0.0), ("right", LOST_GRASP)),
        (0.0, (-0.10, 0.4, 0.0), ("left", MISSED_GRASP)),
    ],
)
def test_a_failure_is_put_down_to_the_hand_that_had_it(env, raised, end, verdict):
    env.reset([0], [np.random.SeedSequence(1)])
    start = env.snapshot([0])[0]
    offered, last = start.copy(), done(env, end)
    offered[env.layout.objects[PIPE.name][0] + 2] += raised
    for row in (offered, last):
        row[env.reader.wrist_columns("right")][:3] += 0.1
    found = diagnose(env, np.stack([start, offered, last]), TASK, success=False)
    assert (found.eef, found.reason) == verdict and found.reached == {"left": 0, "right": 1}


@pytest.mark.humanoid
def test_the_scripted_operator_hands_the_pipe_over_in_the_air(env):
    """Left alone, both and right alone have hold of it, one after the other, while it touches nothing else."""
    import mujoco

    (attempt,) = attempts_of_operator(env, 1, 4)
    assert attempt.saved, attempt.outcome
    model, data = env.model, mujoco.MjData(env.model)
    names = {i: model.body(i).name for i in range(model.nbody)}
    held = []
    for step in range(len(attempt.episode.actions)):
        data.qpos[:] = env.reader.qpos_of({path: values[step] for path, values in attempt.episode.states.items()})
        mujoco.mj_forward(model, data)
        pairs = [{names[int(model.geom_bodyid[geom])] for geom in contact.geom} for contact in data.contact]
        touching = {name for pair in pairs if PIPE.name in pair for name in pair - {PIPE.name}}
        sides = "".join(sorted({"L" if name.startswith(("L_", "left")) else "R" if name.startswith(("R_", "right")) else "-" for name in touching}))
        if sides in ("L", "R", "LR") and (not held or held[-1] != sides):
            held.append(sides)
    assert "".join(held).find("LLRR") >= 0, held
    assert not env.reader.held(env.snapshot([0])).any()


@pytest.mark.humanoid
def test_recording_annotating_and_generating_follow_one_another(mimicctl):
    recorded = mimicctl("record", "--device", "scripted", "--task", ID, "--num-demos", "2", "--json")
    assert recorded.returncode == 0, recorded.stderr
    assert "hands blue_exhaust_pipe from left to right" in recorded.stderr
    replayed = mimicctl("replay", "--verify")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(mimicctl("annotate", "--json").stdout)["demos"] == 2
    made = json.loads(mimicctl("generate", "--trials", "1", "--task", ID, "--workers", "1", "--json").stdout)
    assert made["demos"] == 1


@pytest.mark.humanoid
def test_demonstrations_that_come_with_it_replay_exactly_with_the_signal_in_between(env):
    with resources.as_file(resources.files("mimicctl") / "data" / TASK.source_demos) as path, Dataset(Path(path)) as dataset:
        assert dataset.task_id == ID and len(dataset.demos) == 5
        episode = dataset.episode("demo_0")
    snapshots = np.stack(list(by_actions(env, episode)))
    assert divergence(env, episode, snapshots, 1e-9).step is None
    signal = env.signals(snapshots)["idle_right_1"]
    rise = int(np.argmax(signal))
    assert 0 < rise < len(signal) - 1 and not env.signals(snapshots[0])["idle_right_1"]
    assert env.object_poses(snapshots[rise])[PIPE.name][2, 3] > PIPE.rest_height + 0.05  # it is held up before the other hand comes
    assert env.success(snapshots[-1]) and not env.reader.held(snapshots).any()


@pytest.mark.humanoid
def test_they_make_more(tmp_path):
    made = generate(ID, 5, GenerateSettings(trials=2, workers=1, num_envs=2, output_file=str(tmp_path / "g.hdf5")), None)
    assert made.demos == 2


def test_hands_that_it_does_not_know_are_refused():
    other = dataclasses.replace(TASK, robot="g1")
    with pytest.raises(UserError, match="how the hands of g1 take hold of a pipe"):
        make_device(other, RecordSettings(device="scripted"), 0)


@pytest.mark.render
@pytest.mark.humanoid
def test_pipe_and_both_bins_are_seen_in_their_colours(env):
    from mimicctl.envs.mujoco.rendering import TableView

    view = TableView(TASK, 320, 240)
    env.reset([0], [np.random.SeedSequence(2)])
    red, green, blue = np.moveaxis(view.picture(env.snapshot([0])[0]).astype(int), -1, 0)
    view.close()
    assert ((blue > 1.5 * red) & (blue > 1.3 * green)).sum() > 800
    assert ((red < 60) & (green < 60) & (blue < 60)).sum() > 400
