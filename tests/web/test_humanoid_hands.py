"""Both hands of an emulated headset drive wrists and fingers of a humanoid: what a headset would say, over the real socket of `mimicctl record --web`."""

from __future__ import annotations

import asyncio
import json
import struct

import aiohttp
import numpy as np
import pytest

from mimicctl import poses
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import OperatorView
from mimicctl.devices.hands import _FROM_WEBXR
from mimicctl.devices.scripted_place import ScriptedPlace
from mimicctl.tasks import find_task
from tests.conftest import run_cli
from tests.devices import webxr
from tests.web.driving import Served

pytestmark = pytest.mark.humanoid

TASK = find_task("MuJoCo-PickPlace-G1-Pink-IK-Abs-v0")
WRISTS = {"left": "left_wrist_yaw_link", "right": "right_wrist_yaw_link"}
STILL = 10
"""Pictures for which the hands are held still at first."""


class Wearer:
    """Sees where wrists and wheel are, knows what the scripted operator would do, and moves and curls hands so that the robot's do it. The left hand waves."""

    def __init__(self) -> None:
        self._operator = ScriptedPlace(TASK, speed="normal", seed=1)
        self._begun: dict[str, np.ndarray] | None = None
        self._pictures = 0

    def hands(self, wrists: dict[str, np.ndarray], wheel: np.ndarray) -> dict[str, dict]:
        """Of both, as WebXR has them."""
        self._pictures += 1
        if self._pictures <= STILL:
            # Robot and hands are engaged where they are.
            self._begun = wrists
            return {side: as_webxr(np.eye(4), side, 0.0) for side in wrists}
        view = OperatorView(wrists["left"], {"object": wheel}, others={"right": OperatorView(wrists["right"], {"object": wheel})})
        command = self._operator.command(view).others["right"]
        wave = min(1.0, (self._pictures - STILL) / 60)
        targets = {
            "left": poses.apply_delta(self._begun["left"], np.array([0, 0, 0.05 * wave, 0, 0, 0])),
            "right": poses.apply_delta(wrists["right"], TASK.command_scale * command.delta),
        }
        curls = {"left": wave, "right": (1 - command.gripper) / 2}
        moved = {side: poses.delta_between(self._begun[side], target) for side, target in targets.items()}
        return {side: as_webxr(poses.apply_delta(np.eye(4), moved[side]), side, curls[side]) for side in moved}


def as_webxr(wrist: np.ndarray, side: str, curl: float) -> dict:
    turn = _FROM_WEBXR.T @ poses.rotation(wrist) @ _FROM_WEBXR
    return webxr.hand((_FROM_WEBXR.T @ poses.position(wrist)).tolist(), poses.quat_from_matrix(turn).tolist(), side=side, curl=curl)


async def wear(link: str, wearer: Wearer) -> None:
    """Until the session is over."""
    base, token = link.split("/#")
    async with aiohttp.ClientSession(base, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.post("/api/join", json={"token": token}, headers={"Origin": base}) as answer:
            assert answer.status == 200
        async with session.get("/api/teleop/scene") as answer:
            data = await answer.read()
        names = json.loads(data[4 : 4 + struct.unpack_from("<I", data)[0]])["bodies"]
        async with session.ws_connect("/api/teleop/socket", headers={"Origin": base}, max_msg_size=0) as socket:
            number = 0
            async for received in socket:
                assert received.type is aiohttp.WSMsgType.BINARY, received.data
                seen, _, length = struct.unpack_from("<III", received.data)
                status = json.loads(received.data[12 : 12 + length]) if length else {}
                assert not status.get("discarded"), status
                if status.get("over"):
                    return
                bodies = dict(zip(names, np.frombuffer(received.data, "<f4", offset=12 + length).reshape(-1, 7).astype(np.float64), strict=True))
                there = {name: poses.pose_from_quat(bodies[name][:3], bodies[name][3:]) for name in (*WRISTS.values(), "object")}
                hands = wearer.hands({side: there[name] for side, name in WRISTS.items()}, there["object"])
                number += 1
                await socket.send_str(json.dumps({"page": "headset", "n": number, "seen": seen, "hands": hands}))


def test_a_pick_and_place_by_hand_tracking_is_recorded_and_annotated(tmp_path):
    with Served(tmp_path, "record", "--web", "--task", TASK.task_id, "--num-demos", "1", "--seed", "3") as served:
        asyncio.run(asyncio.wait_for(wear(served.link(), Wearer()), 600))
        assert served.end()[0] == 0
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert len(dataset.demos) == 1
        episode = dataset.episode("demo_0")
    assert episode.success and episode.lineage["human"] and episode.lineage["input"]["hands"]["hand"] == "both"
    fingers, left = episode.obs["hand_joint_state"], episode.obs["left_eef_pos"]
    # The left hand waved and closed; the right one closed round the wheel and opened again.
    assert left[-1, 2] > left[0, 2] + 0.03 and fingers[-1, 0] < -1.0
    assert fingers[:, 3].max() > 0.8 and fingers[-1, 3] < 0.4
    annotated = run_cli(("annotate",), tmp_path)
    assert annotated.returncode == 0, annotated.stderr
    with Dataset(tmp_path / "datasets" / "annotated.hdf5") as made:
        assert made.episode("demo_0").datagen_info["subtask_term_signals/grasp_right"].any()
