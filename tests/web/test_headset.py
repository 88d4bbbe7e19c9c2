"""VR in a real browser with an emulated headset (npm's iwer): hands and controllers drive the robot."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mimicctl.dataset.reader import Dataset
from tests.web.driving import LIFT, SEE, Served, lift_the_cube, open_page, wait_for

pytestmark = pytest.mark.web

IWER = Path(__file__).parent / "vendor" / "iwer.min.js"
PUT_ON = """
  globalThis.headset = new IWER.XRDevice(IWER.metaQuest3);
  headset.installRuntime({ forceInstall: true });
  headset.position.set(0, 1.6, 0);
  globalThis.seen = (side, so) => { headset.controllers[side].inputSource.gripSpace[IWER.P_SPACE].emulated = !so; };
  for (const side of ["left", "right"]) seen(side, true);
"""
"""`seen` says whether a headset sees a controller, or only guesses where it is."""


@pytest.fixture
def headset(page):
    """The page of a browser in a headset that is put on."""
    page.add_init_script(IWER.read_text() + PUT_ON)
    return page


def enter(page, mode: str) -> None:
    page.evaluate(f"headset.primaryInputMode = '{mode}'")
    page.click("text=Enter VR")
    wait_for(lambda: page.evaluate("Object.keys(teleop.headset.hands || {}).length") == 2)


class Mover:
    """Moves the right hand, or the controller in it, so that the robot gets where it is to be."""

    def __init__(self, page, what: str, close: str, let_go: str) -> None:
        self._page, self._what, self._close, self._let_go = page, what, close, let_go

    def grip(self, *, closed: bool) -> None:
        self._page.evaluate(self._close if closed else self._let_go)

    def go(self, target, tolerance: float = 0.008, *, turn: bool = False) -> None:
        def there() -> bool:
            seen = self._page.evaluate(SEE)
            away = [goal - now for goal, now in zip(target(seen), seen["eef"], strict=True)]
            askew = (seen["yaw"] - seen["jaw"] + math.pi / 4) % (math.pi / 2) - math.pi / 4 if turn else 0.0
            x, y, z = (0.35 * value for value in away)
            # WebXR's x is to the right, its y up, and its z backwards.
            self._page.evaluate(
                f"""([x, y, z, turn]) => {{
                  const {{ position, quaternion: q }} = headset.{self._what}.right;
                  position.set(position.x - y, position.y + z, position.z - x);
                  const [s, c] = [Math.sin(turn / 2), Math.cos(turn / 2)];
                  q.set(c * q.x + s * q.z, c * q.y + s * q.w, c * q.z - s * q.x, c * q.w - s * q.y);
                }}""",
                [x, y, z, 0.3 * askew],
            )
            self._page.wait_for_timeout(100)
            return seen["saved"] or (max(map(abs, away)) < tolerance and abs(askew) < 0.08)

        wait_for(there, 120)


def test_a_lift_by_hand_tracking_is_recorded(headset, tmp_path):
    with Served(tmp_path, "record", "--web", "--task", LIFT, "--num-demos", "1") as served:
        open_page(headset, served.link())
        assert "a headset is there" in headset.inner_text("#checklist")
        enter(headset, "hand")
        # The robot stays where it is until the other hand pinches.
        headset.evaluate("headset.hands.right.position.set(0.1, 1.2, -0.4)")
        headset.wait_for_timeout(500)
        assert headset.evaluate(SEE)["phase"] == "ready"
        headset.evaluate("headset.hands.left.updatePinchValue(1)")
        pinch = "headset.hands.right.updatePinchValue({})"
        lift_the_cube(headset, Mover(headset, "hands", pinch.format(1), pinch.format(0)))
        assert served.end()[0] == 0
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        episode = dataset.episode("demo_0")
    assert episode.success
    line = episode.lineage["input"]
    assert line["hands"]["samples"] > 10 and line["loop_ms"]["median"] > 0 and line["skipped_messages"] >= 0
    annotate(headset, tmp_path)


def annotate(page, folder: Path) -> None:
    """The recording in the annotator's page: marked where the page suggests it, accepted, written; and generation takes it."""
    with Served(folder, "annotate", "--web") as served:
        page.goto(served.link())
        message = page.locator(".message")
        message.filter(has_text="Mark where grasp_1 becomes true").wait_for()
        while "grasp_1 at step" not in message.text_content():
            page.keyboard.press("ArrowDown")
            page.wait_for_timeout(100)
        page.keyboard.press("s")
        message.filter(has_text="Everything is marked").wait_for()
        page.keyboard.press("Enter")
        message.filter(has_text="Every demo is judged").wait_for()
        page.get_by_role("button", name="Write").click()
        message.filter(has_text="1 demos are in").wait_for()
    with Dataset(folder / "datasets" / "annotated.hdf5") as made:
        episode = made.episode("demo_0")
    signal = episode.datagen_info["subtask_term_signals/grasp_1"]
    assert episode.success and 0 < signal.argmax() < len(signal)


def test_a_lift_by_controller_is_recorded(headset, tmp_path):
    with Served(tmp_path, "record", "--web", "--task", LIFT, "--num-demos", "1") as served:
        open_page(headset, served.link())
        enter(headset, "controller")
        headset.evaluate("headset.controllers.right.position.set(0.1, 1.2, -0.4)")
        headset.evaluate("headset.controllers.right.updateButtonValue('squeeze', 1)")
        pull = "headset.controllers.right.updateButtonValue('trigger', {})"
        lift_the_cube(headset, Mover(headset, "controllers", pull.format(1), pull.format(0)))
        assert served.end()[0] == 0


def test_a_controller_that_is_out_of_sight_moves_nothing(headset, tmp_path):
    with Served(tmp_path, "teleop", "--web", "--task", LIFT) as served:
        open_page(headset, served.link())
        enter(headset, "controller")
        headset.evaluate("headset.controllers.right.updateButtonValue('squeeze', 1)")
        headset.wait_for_timeout(500)
        headset.evaluate("seen('right', false)")
        wait_for(lambda: headset.evaluate("Object.keys(teleop.headset.hands).join()") == "left")
        before = headset.evaluate(SEE)["eef"]
        headset.evaluate("headset.controllers.right.position.y += 0.3")
        headset.wait_for_timeout(800)
        assert abs(headset.evaluate(SEE)["eef"][2] - before[2]) < 0.01


def test_leaving_vr_gives_the_keyboard_back(headset, tmp_path):
    with Served(tmp_path, "teleop", "--web", "--task", LIFT) as served:
        open_page(headset, served.link())
        enter(headset, "controller")
        headset.evaluate("teleop.view.renderer.xr.getSession().end()")
        wait_for(lambda: headset.evaluate("teleop.headset.hands") is None)
        height = headset.evaluate(SEE)["eef"][2]
        headset.keyboard.down("q")
        wait_for(lambda: headset.evaluate(SEE)["eef"][2] > height + 0.03)


def test_a_page_that_is_not_secure_says_what_to_do(page, tmp_path):
    page.add_init_script(
        "Object.defineProperty(globalThis, 'isSecureContext', { value: false }); Object.defineProperty(navigator, 'userAgent', { value: 'OculusBrowser' });"
        "Object.defineProperty(navigator, 'xr', { value: undefined });"
    )
    with Served(tmp_path, "teleop", "--web", "--task", LIFT) as served:
        open_page(page, served.link())
        assert "--lan" in page.inner_text("#checklist")
