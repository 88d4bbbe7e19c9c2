"""The stack of other cubes each time: which instance of each is in focus is drawn at reset, read off the state, and kept from recording to picture."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.rendering import TableView
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.rendering.replay import positions_of, with_cameras
from mimicctl.tasks import DEFAULT_TASK, find_task, twin_of

TASK = "MuJoCo-Stack-Cube-Instance-Randomize-Franka-IK-Rel-v0"
SEEN = "MuJoCo-Stack-Cube-Instance-Randomize-Franka-IK-Rel-Visuomotor-v0"
COLOURS = {"cube_1": ("blue", "red"), "cube_2": ("red", "yellow"), "cube_3": ("yellow", "green")}
OPEN = np.array([[0, 0, 0, 0, 0, 0, 1.0]], np.float32)


@pytest.fixture(scope="module")
def env():
    made = make_env(TASK)
    yield made
    made.close()


def places_in(state: dict[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """Cube and colour to where that instance is (3,), of a recorded state (1, D)."""
    return {(name, colour): state[f"rigid_object/{name}/{colour}/root_pose"][0, :3] for name, colours in COLOURS.items() for colour in colours}


def colours_in(state: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Of the cubes on the table, the bottom one first."""
    return tuple(colour for (_, colour), place in places_in(state).items() if np.abs(place).max() < 1)


def start(env, seed: int) -> dict[str, np.ndarray]:
    env.reset([0], [np.random.SeedSequence(seed)])
    return env.scene_state(env.snapshot([0]))


def test_each_cube_is_one_of_its_instances_by_chance(env):
    drawn = Counter(colours_in(start(env, seed)) for seed in range(200))
    assert set(drawn) == {(first, second, third) for first in COLOURS["cube_1"] for second in COLOURS["cube_2"] for third in COLOURS["cube_3"]}
    assert min(drawn.values()) > 10  # of 200, among eight
    assert colours_in(start(env, 7)) == colours_in(start(env, 7))


def test_the_others_stand_out_of_sight_and_stay_there(env):
    before = places_in(start(env, 5))
    for _ in range(100):
        env.step(OPEN)
    after = places_in(env.scene_state(env.snapshot([0])))
    parked = [which for which, place in before.items() if np.linalg.norm(place) > 10]
    assert len(parked) == 3 and all(np.abs(after[which] - before[which]).max() < 1e-4 for which in parked)
    assert len({tuple(before[which]) for which in parked}) == 3


def test_all_else_starts_as_the_stack_does(env):
    with closing(make_env(DEFAULT_TASK)) as plain:
        for seed in range(5):
            start(env, seed), start(plain, seed)
            mine, theirs = (each.observations(each.snapshot([0])[0]) for each in (env, plain))
            assert mine.keys() == theirs.keys()
            for key, value in theirs.items():
                np.testing.assert_array_equal(mine[key], value, err_msg=key)


def test_poses_are_those_of_the_instance_in_focus_in_batches_of_several(env):
    rows, places = [], []
    for seed in range(6):
        state = start(env, seed)
        rows.append(env.snapshot([0])[0])
        places.append([places_in(state)[which] for which in zip(COLOURS, colours_in(state), strict=True)])
    assert len({colours_in(start(env, seed)) for seed in range(6)}) > 1
    seen = env.object_poses(np.stack(rows).reshape(2, 3, -1))
    for number, name in enumerate(COLOURS):
        np.testing.assert_allclose(poses.position(seen[name]), np.array(places)[:, number].reshape(2, 3, 3), atol=1e-6)


def test_a_cube_that_falls_off_the_table_is_still_the_one_in_focus(env):
    state = {path: value[0].copy() for path, value in start(env, 4).items()}
    colour = colours_in(start(env, 4))[0]
    state[f"rigid_object/cube_1/{colour}/root_pose"][:2] = (0.95, 0.0)
    env.reset_to([0], [state])
    for _ in range(env.task.horizon):
        env.step(OPEN)
    row = env.snapshot([0])[0]
    assert poses.position(env.object_poses(row)["cube_1"])[2] < -100
    assert env.reader.instance_in_focus(row, "cube_1") == COLOURS["cube_1"].index(colour)


def test_a_state_of_the_plain_stack_is_refused(env):
    with closing(make_env(DEFAULT_TASK)) as plain:
        state = {path: value[0] for path, value in plain.scene_state(plain.snapshot([0])).items()}
    with pytest.raises(UserError, match="does not fit MuJoCo-Stack-Cube-Instance-Randomize") as refusal:
        env.reset_to([0], [state])
    assert refusal.value.where == "rigid_object/cube_1/blue/root_pose"


def test_isaac_labs_ids_are_read_as_this_task():
    names = ("Isaac-Stack-Cube-Instance-Randomize-Franka-IK-Rel-v0", "IsaacContrib-Stack-Cube-Instance-Randomize-Franka-IK-Rel")
    assert {twin_of(name).task_id for name in names} == {TASK}
    assert with_cameras(TASK).task_id == SEEN


def test_recording_replaying_and_annotating_follow_one_another(mimicctl, tmp_path):
    recorded = mimicctl("record", "--device", "scripted", "--task", TASK, "--num-demos", "4", "--json")
    assert recorded.returncode == 0, recorded.stderr
    replayed = mimicctl("replay", "--verify")
    assert replayed.returncode == 0, replayed.stderr
    found = json.loads(mimicctl("annotate", "--json").stdout)["found"]
    assert [list(demo["rises"]) for demo in found] == [["grasp_1", "stack_1", "grasp_2"]] * 4
    with Dataset(tmp_path / "datasets" / "annotated.hdf5") as dataset:
        episodes = [dataset.episode(name) for name in dataset.demos]
    assert len({colours_in(episode.initial_state) for episode in episodes}) > 1
    for episode in episodes:
        last = {path: values[-1:] for path, values in episode.states.items()}
        assert colours_in(last) == colours_in(episode.initial_state)


def test_demonstrations_of_the_stack_make_more_with_other_cubes(tmp_path):
    made = generate(TASK, 5, GenerateSettings(trials=6, workers=1, num_envs=3, output_file=str(tmp_path / "g.hdf5")), None)
    with Dataset(made.path) as dataset:
        episodes = [dataset.episode(name) for name in dataset.demos]
    assert len(episodes) == 6 and len({colours_in(episode.initial_state) for episode in episodes}) > 1
    for episode in episodes:
        on_the_table = [places_in(episode.initial_state)[which] for which in zip(COLOURS, colours_in(episode.initial_state), strict=True)]
        np.testing.assert_allclose(episode.obs["cube_positions"][0].reshape(3, 3), on_the_table, atol=1e-5)


@pytest.mark.render
def test_pictures_drawn_from_recorded_states_show_the_colours(env):
    seen, positions = {}, positions_of(find_task(TASK))
    with closing(TableView(find_task(TASK), 320, 240)) as view:
        for seed in range(40):
            start(env, seed)
            rows = [env.snapshot([0])[0]]
            env.step(OPEN)
            episode = env.episode(np.stack([*rows, env.snapshot([0])[0]]), OPEN, with_datagen_info=False)
            seen[colours_in(episode.initial_state)] = view.picture(positions(episode)[0]).reshape(-1, 3).astype(int)
    red = {colours: np.sum((pixels[:, 0] > 120) & (pixels[:, 1] < 60)) for colours, pixels in seen.items()}
    green = {colours: np.sum((pixels[:, 1] > 90) & (pixels[:, 0] < 60)) for colours, pixels in seen.items()}
    assert len(seen) == 8
    for colours in seen:
        assert (red[colours] > 30) == ("red" in colours) and (green[colours] > 30) == ("green" in colours), colours
