"""Runs a command with the real Isaac Teleop, which replays a capture where it would open a session with a headset: python ... CAPTURE.mcap record ..."""

from __future__ import annotations

import sys
from typing import Any

from mimicctl.cli.app import main
from mimicctl.devices.isaac_teleop import IsaacTeleop


def _replaying(capture: str) -> None:
    start = IsaacTeleop.start

    def replay(self: IsaacTeleop) -> None:
        # Only now: Isaac Lab has been started, and its modules are to be imported after that.
        import isaaclab_teleop
        from isaacteleop.teleop_session_manager import RetargetingExecutionConfig

        create = isaaclab_teleop.create_isaac_teleop_device

        def replaying(config: Any, **settings: Any) -> Any:
            # Without it retargeting runs beside the loop, and how the frames fall in with the steps depends on the machine.
            config.retargeting_execution = RetargetingExecutionConfig(mode="sync")
            return create(config, mcap_replay_path=capture, **settings)

        isaaclab_teleop.create_isaac_teleop_device = replaying
        start(self)

    IsaacTeleop.start = replay


if __name__ == "__main__":
    _replaying(sys.argv.pop(1))
    main()
