"""Tracked hands as a device: clutch, gripper, buttons and gestures, lost tracking, and feeding from another thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import RecordSettings
from mimicctl.devices import Event, OperatorView
from mimicctl.devices.hand_tracking import HandTracking
from mimicctl.devices.hands import hands_from_webxr
from mimicctl.errors import UserError
from mimicctl.recording.session import Outcome, Progress, Rules, run_session
from mimicctl.recording.status import status_line
from mimicctl.tasks import DEFAULT_TASK, find_task
from tests.devices import webxr

TASK = find_task(DEFAULT_TASK)
VIEW = OperatorView(np.eye(4))


class Session:
    """A device with a clock that stands until it is moved on."""

    def __init__(self, **settings: object) -> None:
        self.now = 100.0
        self.device = HandTracking(RecordSettings(hand_smoothing=0.0, hand_dead_bands=[0.0, 0.0], **settings), TASK, clock=lambda: self.now)

    def see(self, *, seconds: float = 0.05, **hands: dict | None):
        """The next control step, after both hands were seen so."""
        self.now += seconds
        self.device.feed(hands_from_webxr(hands))
        return self.device.command(VIEW)


def moves(command) -> bool:
    return bool(command.delta.any())


def test_a_controller_moves_the_arm_while_it_is_squeezed():
    session = Session()
    assert not moves(session.see(right=webxr.controller())) and session.device.state == "clutch released"
    assert not moves(session.see(right=webxr.controller((0.3, 0, 0))))
    assert not moves(session.see(right=webxr.controller((0.3, 0, 0), squeeze=1)))
    command = session.see(right=webxr.controller((0.3, 0, -0.02), squeeze=0.5))
    np.testing.assert_allclose(command.delta, [0.02 / TASK.action_scale, 0, 0, 0, 0, 0], atol=1e-12)
    assert session.device.state == "following"
    assert not moves(session.see(right=webxr.controller((0.3, 0, -0.9), squeeze=0.3)))


def test_a_bare_hand_moves_the_arm_while_the_other_one_pinches():
    session = Session()
    session.see(right=webxr.hand())
    assert not moves(session.see(right=webxr.hand((0, 0.02, 0))))
    assert not moves(session.see(right=webxr.hand((0, 0.02, 0)), left=webxr.hand(touching="index", side="left")))
    command = session.see(right=webxr.hand((0, 0.05, 0), touching="index"), left=webxr.hand(touching="index", side="left"))
    np.testing.assert_allclose(command.delta, [0, 0, 0.03 / TASK.action_scale, 0, 0, 0], atol=1e-12)
    assert command.gripper == -1
    assert session.see(right=webxr.hand((0, 0.5, 0)), left=webxr.hand(side="left")).gripper == -1  # released: all stays as it is


def test_without_a_clutch_the_arm_follows_whenever_the_hand_is_seen_and_either_hand_may_drive():
    session = Session(hand_clutch="always", hand="left")
    session.see(left=webxr.hand(side="left"))
    assert moves(session.see(left=webxr.hand((0, 0.01, 0), side="left")))
    assert not moves(session.see(right=webxr.hand((0, 0.5, 0)))) and session.device.state == "the left hand is not seen"
    assert not moves(session.see(left=webxr.hand((0, 0.9, 0), side="left")))


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_lost_tracking_holds_still_and_its_return_is_no_jump(mode):
    session = Session(hand_clutch="always", hand_mode=mode, hand_yaw_only=False)
    session.see(right=webxr.controller(trigger=1))
    for _ in range(3):
        lost = session.see()
        assert not moves(lost) and lost.gripper == -1
    command = session.see(right=webxr.controller((1, 1, 1), (0, 1, 0, 0), trigger=0.5))
    assert np.linalg.norm(command.delta[:3]) <= 0.05 / TASK.action_scale + 1e-9 and np.linalg.norm(command.delta[3:]) <= 0.15 / TASK.action_scale + 1e-9
    assert moves(command) == (mode == "absolute") and command.gripper == -1


def test_silence_holds_still_and_keeps_the_gripper():
    session = Session(hand_clutch="always")
    session.see(right=webxr.controller(trigger=1))
    session.device.feed(hands_from_webxr({"right": webxr.controller((0, 1, 0), trigger=0)}))
    session.now += 0.6
    command = session.device.command(VIEW)
    assert not moves(command) and command.gripper == -1 and session.device.state == "no input for 1 s"


def test_buttons_ask_once_each_time_they_are_pressed():
    session = Session()
    assert session.see(right=webxr.controller(lower=1)).events == (Event.START, Event.SAVE)
    assert session.see(right=webxr.controller(lower=1)).events == ()
    assert session.see().events == ()
    assert session.see(right=webxr.controller(lower=1)).events == ()  # out of sight, and never let go of
    assert session.see(left=webxr.controller(upper=1), right=webxr.controller()).events == (Event.RESET,)
    assert session.see(left=webxr.controller(upper=1), right=webxr.controller(upper=1)).events == (Event.RESET,)


def test_a_press_between_two_control_steps_is_not_missed():
    session = Session()
    for lower in (0, 1, 0):
        session.device.feed(hands_from_webxr({"right": webxr.controller(lower=lower)}))
    assert session.device.command(VIEW).events == (Event.START, Event.SAVE)


@pytest.mark.parametrize(("finger", "events"), [("ring", (Event.START, Event.SAVE)), ("pinky", (Event.RESET,)), ("middle", ()), ("index", ())])
def test_gestures_of_the_other_hand_count_once_they_are_held(finger, events):
    session, said = Session(), []
    for touching in ("", *[finger] * 4, "", finger):
        said += session.see(seconds=0.25, right=webxr.hand(), left=webxr.hand(touching=touching, side="left")).events
        if touching:
            assert session.device.state == ("following" if finger == "index" else "clutch released")
    assert tuple(said) == events
    session.see(right=webxr.hand(touching=finger))
    assert session.see(seconds=1.0, right=webxr.hand(touching=finger)).events == ()  # not of the hand that drives


def test_late_samples_are_dropped_and_counted():
    session = Session(hand_clutch="always")
    session.see(right=webxr.controller())
    session.device.feed(hands_from_webxr({"right": webxr.controller((0, 0, -0.02))}), at=session.now - 0.01)
    session.device.feed(hands_from_webxr({"right": webxr.controller((0, 0, -0.04))}), at=session.now - 0.03)
    session.now += 0.02
    assert not moves(session.device.command(VIEW))
    facts = session.device.facts()
    assert (facts["samples"], facts["late_samples"], facts["steps"], facts["steps_unseen"]) == (1, 2, 2, 0)


def test_a_clock_that_is_ahead_does_not_make_what_follows_late():
    session = Session(hand_clutch="always")
    session.device.feed(hands_from_webxr({"right": webxr.controller()}), at=session.now + 1000)
    session.device.command(VIEW)
    assert moves(session.see(right=webxr.controller((0, 0.02, 0)))) and session.device.facts()["late_samples"] == 0


def test_ages_are_of_samples_when_they_were_taken():
    session = Session()
    for age in (0.01, 0.03):
        session.device.feed(hands_from_webxr({"right": webxr.controller()}), at=session.now)
        session.now += age
        session.device.command(VIEW)
        session.device.command(VIEW)
    assert session.device.facts()["age_ms"]["median"] == pytest.approx(20)
    session.device.reset()
    assert session.device.facts()["age_ms"] is None and session.device.facts()["samples"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"dead_zone": 0.1}, "record.dead_zone is of axes"), ({"position_sensitivity": 0.1}, "is of axes"), ({"invert": ["up"]}, 'no axis "up"')],
)
def test_settings_that_mean_nothing_for_a_hand_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Session(**settings)


def test_directions_scale_and_speed_are_those_of_the_settings():
    session = Session(hand_clutch="always", invert=["x"], axis_scale={"z": 0.5}, sensitivity=2.0, speed="slow")
    session.see(right=webxr.controller())
    np.testing.assert_allclose(session.see(right=webxr.controller((0, 0.004, 0.004))).delta[:3] * TASK.action_scale, [0.008, 0, 0.004], atol=1e-12)
    assert np.linalg.norm(session.see(right=webxr.controller((5, 0, 0))).delta) == pytest.approx(0.025 / TASK.action_scale)


def test_feeding_from_other_threads_never_hands_out_half_of_a_sample(monkeypatch):
    """Both hands of a sample say the same; whatever the threads do, a command sees one sample whole."""
    session = Session(hand_clutch="always")
    device, seen = session.device, set()
    monkeypatch.setattr(device, "_engaged", lambda arm, sample, helper: seen.add((sample.trigger, helper.trigger)) or True)
    stop = threading.Event()

    def feed(trigger: float) -> None:
        said = hands_from_webxr({side: webxr.controller((trigger, 0, 0), trigger=trigger) for side in ("left", "right")})
        while not stop.is_set():
            device.feed(said)

    threads = [threading.Thread(target=feed, args=(trigger,)) for trigger in (0.0, 0.5, 1.0)]
    for thread in threads:
        thread.start()
    try:
        while len(seen) < 3 and device.facts()["steps"] < 20_000:
            command = device.command(VIEW)
            assert np.linalg.norm(command.delta[:3]) <= 0.05 / TASK.action_scale + 1e-9
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert seen == {(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)}


class Guided:
    """A device whose hand is put where `hand` says, before each command."""

    name, human = "hands", True

    def __init__(self, session: Session, hand) -> None:
        self._session, self._hand = session, hand
        self.reset, self.facts, self._steps = session.device.reset, session.device.facts, 0

    @property
    def state(self) -> str:
        return self._session.device.state

    def command(self, view: OperatorView):
        self._session.now += 0.05
        self._session.device.feed(hands_from_webxr(self._hand(self._steps)))
        self._steps += 1
        return self._session.device.command(view)


@pytest.mark.parametrize("task_id", [DEFAULT_TASK, "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"])
def test_a_real_arm_goes_where_the_hand_goes_and_its_recording_says_how_the_hand_was_seen(task_id):
    from mimicctl.envs import make_env

    env = make_env(find_task(task_id), 1)
    # Right 5 cm, down 8, ahead 4, in WebXR's frame, and a quarter of a radian to the left; then it stays, and A is pressed.
    turn = (0, np.sin(0.125), 0, np.cos(0.125))

    def hand(step: int) -> dict:
        share = min(step / 30, 1)
        return {"right": webxr.controller(np.array([0.05, -0.08, -0.04]) * share, turn if step > 15 else (0, 0, 0, 1), squeeze=1, lower=step == 70)}

    written, views = [], []
    writer = type("Writer", (), {"write": staticmethod(written.append)})
    progress = Progress(Rules(wanted=1, hold_needed=10, start="motion"))
    run_session(env, Guided(Session(), hand), writer, progress, seed=4, on_step=lambda now: views.append(now.view.eef_pose))
    env.close()
    assert progress.outcomes == [Outcome.SAVED_BY_HAND]
    np.testing.assert_allclose(poses.delta_between(views[0], views[-1]), [0.04, -0.05, -0.08, 0, 0, 0.25], atol=0.004)
    told = written[0].lineage["input"]
    assert status_line(env.task, progress).endswith("[following]")
    assert told["hand"] == "right" and told["mode"] == "relative" and told["samples"] > 50 and told["steps_unseen"] == 0


def test_the_map_names_the_hands_as_they_are_set():
    assert "while the left hand pinches" in Session().device.help()
    assert "left hand whenever it is seen" in Session(hand="left", hand_clutch="always").device.help()
