"""A task's scene for a browser: shapes once, and then where each body is."""

from __future__ import annotations

import json
import struct

import numpy as np

from mimicctl import poses
from mimicctl.tasks.spec import CameraSpec, TaskSpec

_KINDS = {0: "plane", 2: "sphere", 3: "capsule", 4: "ellipsoid", 5: "cylinder", 6: "box", 7: "mesh"}
"""Of MuJoCo's geom types, those that are drawn."""

_NO_CAMERA = CameraSpec("browser", "", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), 16, 16)


class SceneModel:
    """What is drawn of a task, from its own visual meshes. Draws nothing itself: no OpenGL is needed here."""

    def __init__(self, task: TaskSpec) -> None:
        import mujoco

        from mimicctl.envs.mujoco.looks import build_looks

        self._mujoco, self._on_floor = mujoco, task.on_floor
        self._model = build_looks(task, "balanced", [_NO_CAMERA])
        self._data = mujoco.MjData(self._model)
        self.nq = self._model.nq
        self.num_bodies = self._model.nbody

    def description(self) -> bytes:
        """Length of a JSON text (uint32), the text, spaces up to a multiple of four bytes, vertices (float32), faces (uint32): little-endian.

        The text says whether it is a floor or a table, and lists bodies, geoms (body, kind, half-sizes as in MuJoCo, pose in the body's frame with an xyzw quaternion, RGBA), cables (radius, RGBA,
        and of both ends the body and the place in its frame) and, of each mesh, its first vertex and face and their numbers.
        """
        model = self._model
        kept = [i for i in range(model.ngeom) if int(model.geom_type[i]) in _KINDS and model.geom_rgba[i, 3] > 0]
        text = json.dumps(
            {
                "floor": self._on_floor,
                "bodies": [model.body(i).name for i in range(model.nbody)],
                "geoms": [self._geom(i) for i in kept],
                "cables": [self._cable(i) for i in range(model.ntendon)],
                "meshes": [
                    {
                        "vertex": int(model.mesh_vertadr[i]),
                        "vertices": int(model.mesh_vertnum[i]),
                        "face": int(model.mesh_faceadr[i]),
                        "faces": int(model.mesh_facenum[i]),
                    }
                    for i in range(model.nmesh)
                ],
                "vertices": int(model.nmeshvert),
            }
        ).encode()
        text += b" " * (-len(text) % 4)
        return struct.pack("<I", len(text)) + text + model.mesh_vert.astype("<f4").tobytes() + model.mesh_face.astype("<u4").tobytes()

    def frames(self, qpos: np.ndarray) -> np.ndarray:
        """(T, B, 7) float32: position and xyzw quaternion of every body, for joint positions `qpos` (T, nq)."""
        frames = np.zeros((len(qpos), self.num_bodies, 7), np.float32)
        for frame, row in zip(frames, qpos, strict=True):
            self._data.qpos[:] = row
            self._mujoco.mj_kinematics(self._model, self._data)
            frame[:, :3], frame[:, 3:] = self._data.xpos, poses.xyzw_from_wxyz(self._data.xquat)
        return frames

    def _geom(self, index: int) -> dict:
        model = self._model
        material = int(model.geom_matid[index])
        colour = model.geom_rgba[index] if material < 0 else model.mat_rgba[material]
        return {
            "name": model.geom(index).name,
            "body": int(model.geom_bodyid[index]),
            "kind": _KINDS[int(model.geom_type[index])],
            "size": [round(float(v), 5) for v in model.geom_size[index]],
            "pos": [round(float(v), 6) for v in model.geom_pos[index]],
            "quat": [round(float(v), 6) for v in poses.xyzw_from_wxyz(model.geom_quat[index])],
            "rgba": [round(float(v), 3) for v in colour * (self._mean_texel(material) if material >= 0 else np.ones(4))],
            "mesh": int(model.geom_dataid[index]),
        }

    def _cable(self, index: int) -> dict:
        """A tendon from one site to another."""
        model, first = self._model, int(self._model.tendon_adr[index])
        sites = model.wrap_objid[first : first + 2]
        return {
            "radius": round(float(model.tendon_width[index]), 5),
            "rgba": [round(float(v), 3) for v in model.tendon_rgba[index]],
            "ends": [{"body": int(model.site_bodyid[site]), "pos": [round(float(v), 6) for v in model.site_pos[site]]} for site in sites],
        }

    def _mean_texel(self, material: int) -> np.ndarray:
        """(4,) mean colour of a material's texture; ones if it has none."""
        model = self._model
        texture = int(model.mat_texid[material, self._mujoco.mjtTextureRole.mjTEXROLE_RGB])
        if texture < 0:
            return np.ones(4)
        first, size = model.tex_adr[texture], model.tex_width[texture] * model.tex_height[texture]
        return np.append(model.tex_data[first : first + 3 * size].reshape(-1, 3).mean(axis=0) / 255, 1.0)
