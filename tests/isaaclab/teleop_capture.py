"""Writes what Isaac Teleop tracks of a right-hand controller and its client into an MCAP file, as its own recorder lays it out, for its replay.

Tables and structs are those of isaacteleop's schemas (`controller.fbs`, `message_channel.fbs`, `timestamp.fbs`); topics are `<source>/<channel>`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import flatbuffers
import numpy as np
from mcap.writer import CompressionType, Writer

from mimicctl import poses

_CONTROLLERS = ("controllers/right_controller", "_button_controllers/right_controller")
"""Of the task's pipeline, and of the one that Isaac Lab adds for buttons."""
_MESSAGES = "_teleop_control_source/message_channel"
_FRAME = 20_000_000
"""[ns] between frames."""


_QUARTER = poses.matrix_from_rotvec(np.array([np.pi / 2, 0, 0]))
"""About x: OpenXR's y up to z up, and the roll that the Franka's pipeline adds to a controller."""


def tracked_for(actions: np.ndarray, anchor_pos: Sequence[float], anchor_rot: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Where a controller is tracked, (T, 7) in OpenXR's frame, and its trigger (T,), for the Franka's pipeline to make actions (T, 8) of it.

    Args:
        anchor_pos, anchor_rot: of the task's `xr_cfg`, [m] and xyzw.
    """
    anchor = poses.compose(poses.matrix_from_quat(np.array(anchor_rot)) @ _QUARTER, np.array(anchor_pos))
    tracked = poses.inverse(anchor) @ poses.pose_from_quat(actions[:, :3], actions[:, 3:7]) @ poses.compose(_QUARTER.T, np.zeros(3))
    return np.concatenate([poses.position(tracked), poses.quat_from_matrix(poses.rotation(tracked))], axis=-1), (actions[:, 7] < 0).astype(float)


def write_capture(path: Path, tracked: np.ndarray, triggers: np.ndarray, said: Mapping[int, str]) -> None:
    """
    Args:
        tracked: (T, 7) position [m] and quaternion xyzw of grip and aim, in OpenXR's frame, one a frame.
        triggers: (T,) from 0 to 1.
        said: frame to what the client says in it: "start", "stop", "reset".
    """
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start()
        channels = {}
        for topic in (*_CONTROLLERS, _MESSAGES):
            record = "core.MessageChannelMessagesRecord" if topic == _MESSAGES else "core.ControllerSnapshotRecord"
            schema = writer.register_schema(record, "flatbuffer", b"")
            channels[topic] = writer.register_channel(topic, "flatbuffer", schema)
        for number, (pose, trigger) in enumerate(zip(tracked, triggers, strict=True)):
            at = 1_000_000_000 + number * _FRAME
            for topic, channel in channels.items():
                data = _message(said.get(number), at) if topic == _MESSAGES else _controller(pose, trigger, at)
                writer.add_message(channel, at, data, at)
        writer.finish()


def _controller(pose: np.ndarray, trigger: float, at: int) -> bytes:
    builder = flatbuffers.Builder(256)
    builder.StartObject(3)
    builder.PrependStructSlot(2, _inline(builder, struct.pack("<4?4f", False, False, False, False, 0.0, 0.0, 0.0, trigger)), 0)
    for slot in (1, 0):
        builder.PrependStructSlot(slot, _inline(builder, struct.pack("<7f?3x", *pose, True)), 0)
    return _record(builder, builder.EndObject(), at)


def _message(text: str | None, at: int) -> bytes:
    """Of a frame in which nothing is said too: replay counts frames by them."""
    builder = flatbuffers.Builder(64)
    if text is None:
        return _record(builder, None, at)
    payload = builder.CreateByteVector(text.encode())
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, payload, 0)
    return _record(builder, builder.EndObject(), at)


def _record(builder: flatbuffers.Builder, data: int | None, at: int) -> bytes:
    builder.StartObject(2)
    builder.PrependStructSlot(1, _inline(builder, struct.pack("<3q", at, at, at), align=8), 0)
    if data is not None:
        builder.PrependUOffsetTRelativeSlot(0, data, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def _inline(builder: flatbuffers.Builder, data: bytes, align: int = 4) -> int:
    """A struct in the table under way."""
    builder.Prep(align, len(data))
    for byte in reversed(data):
        builder.PrependByte(byte)
    return builder.Offset()
