"""Pictures, with whatever OpenGL there is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mimicctl.envs.mujoco import gl as opengl
from mimicctl.envs.mujoco import rendering
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, find_task


@pytest.fixture
def gl(monkeypatch) -> None:
    # Set and taken back by the fixture, because choose_gl sets it for good.
    monkeypatch.setenv("MUJOCO_GL", "")
    try:
        opengl.choose_gl()
    except UserError as error:
        pytest.skip(error.what)


def test_no_opengl_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.setattr(opengl, "_failure", lambda name: "ended with code 1")
    with pytest.raises(UserError) as caught:
        opengl.choose_gl()
    assert "apt-get install libegl1" in caught.value.do and caught.value.where.startswith("tried glfw: ended with code 1; egl: ")


def test_what_the_variable_names_comes_first_and_what_fails_is_passed_over(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "broken")
    monkeypatch.setattr(opengl, "_failure", lambda name: "" if name == "osmesa" else "none")
    assert opengl.choose_gl() == "osmesa"
    monkeypatch.setattr(opengl, "_failure", lambda name: "")
    assert opengl.choose_gl() == "osmesa"


def test_a_library_that_takes_its_process_with_it_does_not_work(monkeypatch):
    monkeypatch.setattr(opengl, "_TRY", "import os; os.abort()")
    assert "ended with code" in opengl._failure.__wrapped__("egl")
    monkeypatch.setattr(opengl, "_TRY", "import time; time.sleep(60)")
    monkeypatch.setattr(opengl, "_PATIENCE", 0.2)
    assert opengl._failure.__wrapped__("egl") == "no answer in 0.2 s"


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
        "import mujoco; from mimicctl.envs.mujoco.gl import choose_gl, new_context; choose_gl(); c = new_context(8, 8);"
        "r = mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), 100); print(r.offWidth > 0); r.free(); c.free()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.render
def test_pytorch_of_pypi_can_be_loaded_after_something_was_drawn(gl):
    """Mesa and triton have an LLVM each, and in the other order the process dies."""
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    draw = "c = new_context(8, 8); mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), 100)"
    code = f"from mimicctl.envs.mujoco.gl import new_context; import mujoco; {draw}; import torch._dynamo; import triton; print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "alive\n", f"ended with code {done.returncode}: {done.stderr[-500:]}"
