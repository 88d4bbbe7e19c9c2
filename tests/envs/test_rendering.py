"""Pictures, with whatever OpenGL there is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mimicctl.envs.mujoco import rendering
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, find_task


@pytest.fixture
def gl(monkeypatch) -> None:
    # Set and taken back by the fixture, because choose_gl sets it for good.
    monkeypatch.setenv("MUJOCO_GL", "")
    try:
        rendering.choose_gl()
    except UserError as error:
        pytest.skip(error.what)


def test_no_opengl_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.setattr(rendering, "_works", lambda backend: False)
    with pytest.raises(UserError) as caught:
        rendering.choose_gl()
    assert "apt-get install libegl1" in caught.value.do and caught.value.where == "tried glfw, egl, osmesa"


def test_what_the_variable_names_comes_first_and_what_fails_is_passed_over(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "broken")
    monkeypatch.setattr(rendering, "_works", lambda backend: backend == "osmesa")
    monkeypatch.setattr(rendering.importlib, "reload", lambda module: None)
    assert rendering.choose_gl() == "osmesa"
    monkeypatch.setattr(rendering, "_works", lambda backend: True)
    assert rendering.choose_gl() == "osmesa"


def test_a_backend_that_takes_its_process_with_it_does_not_work(monkeypatch):
    monkeypatch.setattr(rendering, "_PROBE", "import os; os.abort()")
    assert not rendering._works("egl")
    monkeypatch.setattr(rendering, "_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(rendering, "_PATIENCE", 0.2)
    assert not rendering._works("egl")


@pytest.mark.render
def test_arm_table_and_cubes_are_in_the_picture_and_move(gl, env):
    view = rendering.TableView(find_task(DEFAULT_TASK), 320, 240)
    env.reset([0], [np.random.SeedSequence(3)])
    before = env.snapshot()[0]
    for _ in range(10):
        env.step(np.array([[0, 0, -1, 0, 0, 0, 1]], np.float32))
    first, again, later = view.picture(before), view.picture(before), view.picture(env.snapshot()[0])
    view.close()
    assert first.shape == (240, 320, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (np.abs(first.astype(int) - later).max(axis=-1) > 20).sum() > 500
    for channel in range(3):
        others = first[..., [c for c in range(3) if c != channel]].max(axis=-1).astype(int)
        assert (first[..., channel] - others > 50).sum() > 30, "a cube is missing"
    assert (first.min(axis=-1) > 190).sum() > 500, "the arm is missing"


@pytest.mark.render
def test_rendering_does_not_change_what_is_simulated(gl, env):
    def path(view) -> np.ndarray:
        env.reset([0], [np.random.SeedSequence(4)])
        rows = []
        for step in range(15):
            env.step(np.array([[0.2, 0.1, -0.8, 0, 0, 0.1, -1]], np.float32))
            rows.append(env.snapshot()[0])
            if view is not None and step % 5 == 0:
                view.picture(rows[-1])
        return np.stack(rows)

    view = rendering.TableView(find_task(DEFAULT_TASK), 64, 48)
    np.testing.assert_array_equal(path(None), path(view))
    view.close()


@pytest.mark.render
def test_opengl_is_found_in_a_process_that_has_mujoco_already(gl):
    code = (
        "import mujoco; from mimicctl.envs.mujoco.rendering import choose_gl; choose_gl();"
        "r = mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8); print(r.render().shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(8, 8, 3)", done.stderr
