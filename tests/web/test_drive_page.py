"""The page that drives, in a real browser: what an operator does there ends up in the file."""

from __future__ import annotations

import math

import pytest

from mimicctl.dataset.reader import Dataset
from tests.web.driving import LIFT, SEE, Served, lift_the_cube, open_page, wait_for

pytestmark = pytest.mark.web

GENTLE = ("--speed", "slow", "--sensitivity", "0.4")


class Typist:
    """Holds keys until the robot is where it is to be."""

    def __init__(self, page) -> None:
        self._page, self._held = page, set()

    def see(self) -> dict:
        return self._page.evaluate(SEE)

    def hold(self, keys: set[str]) -> None:
        for key in self._held - keys:
            self._page.keyboard.up(key)
        for key in keys - self._held:
            self._page.keyboard.down(key)
        self._held = keys

    def go(self, target, tolerance: float = 0.008, *, turn: bool = False) -> None:
        """Until the tool point is where `target` says it is, given what is seen."""

        def there() -> bool:
            seen = self.see()
            away = [goal - now for goal, now in zip(target(seen), seen["eef"], strict=True)]
            keys = {pair[apart < 0] for pair, apart in zip(("ws", "ad", "qe"), away, strict=True) if abs(apart) > tolerance}
            # The jaw closes along y of the hand; a cube looks the same after every quarter turn.
            askew = (seen["yaw"] - seen["jaw"] + math.pi / 4) % (math.pi / 2) - math.pi / 4
            if turn and abs(askew) > 0.06:
                keys.add("c" if askew > 0 else "v")
            self.hold(keys)
            return not keys or seen["saved"]

        wait_for(there, 120)

    def grip(self, *, closed: bool) -> None:
        self._page.keyboard.press("k")


def test_a_lift_by_keyboard_is_recorded(page, tmp_path):
    with Served(tmp_path, "record", "--web", "--task", LIFT, "--num-demos", "1", *GENTLE) as served:
        open_page(page, served.link())
        typist = Typist(page)
        assert typist.see()["phase"] == "ready"
        lift_the_cube(page, typist)
        assert page.inner_text("#cue") in ("saved 1", "finished")
        wait_for(lambda: page.inner_text("#phase") == "finished")
        code, stdout = served.end()
    assert code == 0 and "demos      1" in stdout
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        episode = dataset.episode("demo_0")
    assert episode.success and episode.lineage["device"] == "web" and episode.lineage["human"]
    line = episode.lineage["input"]
    assert line["messages"] > len(episode.actions) and line["loop_ms"]["median"] > 0


def test_keys_are_let_go_of_when_the_page_loses_the_keyboard(page, tmp_path):
    with Served(tmp_path, "teleop", "--web", "--task", LIFT) as served:
        open_page(page, served.link())
        page.keyboard.down("q")
        wait_for(lambda: page.locator("#controls .held").count() == 1)
        page.evaluate("dispatchEvent(new Event('blur'))")
        assert page.locator("#controls .held").count() == 0
        before = page.evaluate(SEE)["eef"][2]
        page.wait_for_timeout(700)
        settled = page.evaluate(SEE)["eef"][2]
        page.wait_for_timeout(700)
        assert abs(page.evaluate(SEE)["eef"][2] - settled) < 0.002
        assert settled >= before - 0.01


def test_buttons_work_by_touch_and_a_take_is_discarded(page, tmp_path):
    with Served(tmp_path, "record", "--web", "--task", LIFT, "--start", "command") as served:
        open_page(page, served.link())
        start = page.evaluate(SEE)
        page.click("[data-action=start]")
        wait_for(lambda: page.evaluate(SEE)["phase"] == "recording")
        key = page.locator("#controls [data-key=q]")
        box = key.bounding_box()
        page.mouse.move(box["x"] + 5, box["y"] + 5)
        page.mouse.down()
        wait_for(lambda: page.evaluate(SEE)["eef"][2] > start["eef"][2] + 0.03)
        page.mouse.up()
        page.click("[data-action=reset]")
        wait_for(lambda: page.inner_text("#discarded") == "1 discarded")
        assert page.inner_text("#cue") in ("discarded", "ready")
        page.click("[data-action=quit]")
        assert served.end()[0] == 0
    assert not (tmp_path / "datasets" / "dataset.hdf5").exists()


def test_a_reload_changes_nothing_about_the_session(page, tmp_path):
    with Served(tmp_path, "record", "--web", "--task", LIFT) as served:
        open_page(page, served.link())
        for saved in ("1", "2"):
            page.keyboard.press("k")
            wait_for(lambda: page.evaluate(SEE)["phase"] == "recording")
            page.wait_for_timeout(500)
            page.keyboard.press("Enter")
            wait_for(lambda saved=saved: page.inner_text("#saved") == saved)
        page.keyboard.down("w")
        wait_for(lambda: page.evaluate(SEE)["phase"] == "recording")
        page.keyboard.up("w")
        page.reload()
        wait_for(lambda: page.evaluate("globalThis.teleop?.link.pictures > 2"))
        assert page.inner_text("#saved") == "2" and page.evaluate(SEE)["phase"] == "recording"
        page.keyboard.press("Enter")
        wait_for(lambda: page.inner_text("#saved") == "3")


def test_a_killed_server_costs_the_take_under_way_and_the_page_comes_back(page, tmp_path):
    arguments = ("record", "--web", "--task", LIFT)
    with Served(tmp_path, *arguments) as served:
        open_page(page, served.link())
        page.keyboard.press("k")
        wait_for(lambda: page.evaluate(SEE)["phase"] == "recording")
        page.wait_for_timeout(500)
        page.keyboard.press("Enter")
        wait_for(lambda: page.inner_text("#saved") == "1")
        page.keyboard.press("k")
        wait_for(lambda: page.evaluate(SEE)["phase"] == "recording")
        served.kill()
        page.wait_for_selector("#failure")
        assert "is safe" in page.inner_text("#failure") and page.inner_text("#phase") == "not connected"
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert list(dataset.demos) == ["demo_0"]
    with Served(tmp_path, *arguments, "--resume", port=served.port):
        page.wait_for_selector("#failure", state="detached", timeout=60_000)
        wait_for(lambda: page.evaluate("document.getElementById('phase').dataset.phase") == "ready")
        assert page.inner_text("#saved") == "1"
        page.keyboard.press("k")
        wait_for(lambda: page.evaluate(SEE)["phase"] == "recording")


def test_a_second_page_watches_until_it_asks_to_drive(page, browser, tmp_path):
    with Served(tmp_path, "teleop", "--web", "--task", LIFT) as served:
        open_page(page, served.link())
        wait_for(lambda: "For another one" in "".join(served.log))
        other = browser.new_context().new_page()
        open_page(other, served.link())
        wait_for(lambda: other.is_visible("#other"))
        height = page.evaluate(SEE)["eef"][2]
        other.keyboard.down("q")
        other.wait_for_timeout(800)
        assert abs(page.evaluate(SEE)["eef"][2] - height) < 0.01
        other.click("#claim")
        wait_for(lambda: page.evaluate(SEE)["eef"][2] > height + 0.05)
        assert wait_for(lambda: page.is_visible("#other"))
        other.context.close()


def test_a_used_link_lets_nobody_else_in(page, browser, tmp_path):
    with Served(tmp_path, "teleop", "--web", "--task", LIFT) as served:
        link = served.link()
        open_page(page, link)
        other = browser.new_context().new_page()
        other.goto(link)
        other.wait_for_selector("#failure")
        assert "has been used" in other.inner_text("#failure") and other.is_hidden("#drive")
        other.context.close()
