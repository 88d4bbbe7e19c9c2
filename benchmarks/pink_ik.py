"""How near, and how fast, the inverse kinematics of a humanoid bring both wrists to absolute poses.

    python benchmarks/pink_ik.py [--poses 300]

Poses in reach: those of joints drawn about the posture (0.35 rad, within their range), started from the posture, as after a jump; and the same in a motion, where
each is started from the last one and is half a centimetre on in the median. Times are CPU time of one process.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco import g1
from mimicctl.envs.mujoco.pink_ik import STEPS

SEED = 7


def report(what: str, ik: object, solved: np.ndarray, targets: dict[str, np.ndarray], seconds: float, programs: int) -> None:
    reached = ik.eef_poses(solved)
    errors = np.stack([poses.delta_between(reached[eef], target) for eef, target in targets.items()])
    metres, radians = (np.linalg.norm(part, axis=-1).max(axis=0) for part in (errors[..., :3], errors[..., 3:]))
    there = int(np.sum((metres < 1e-3) & (np.degrees(radians) < 0.5)))
    line = f"{what} | {1e6 * seconds / programs:.0f} us a program | {there} of {len(solved)} within 1 mm and 0.5 degrees"
    print(f"{line} | worst {1e3 * metres.max():.2f} mm, {np.degrees(radians.max()):.2f} degrees", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=300)
    count = parser.parse_args().poses
    for sides in (g1.SIDES, ("right",)):
        ik = g1.load_ik({side: g1.WRISTS[side] for side in sides})
        rng = np.random.default_rng(SEED)
        targets = ik.eef_poses(np.clip(ik.posture + rng.normal(0.0, 0.35, (count, len(ik.posture))), *ik.joint_range.T))
        starts = np.tile(ik.posture, (count, 1))
        for steps in (STEPS, 10):
            started = time.process_time()
            solved, _ = ik.solve(starts, targets, steps)
            report(f"{' and '.join(sides)}, jump, {steps} programs", ik, solved, targets, time.process_time() - started, steps * count)
        phase = np.linspace(0.0, 4 * np.pi, count)[:, None]
        path = ik.eef_poses(np.clip(ik.posture + 0.4 * np.sin(phase + np.arange(len(ik.posture))), *ik.joint_range.T))
        joints = ik.posture[None]
        joints, _ = ik.solve(joints, {eef: pose[:1] for eef, pose in path.items()}, 20)
        solved, started = [], time.process_time()
        for row in range(count):
            joints, _ = ik.solve(joints, {eef: pose[row : row + 1] for eef, pose in path.items()})
            solved.append(joints[0])
        report(f"{' and '.join(sides)}, motion, {STEPS} programs", ik, np.array(solved), path, time.process_time() - started, STEPS * count)


if __name__ == "__main__":
    main()
