"""Changing how a compiled model looks: light, painted textures, and which of them is on what. Nothing is compiled again."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco.appearance import DEFAULT_DIRECTION, PLAIN, Appearance
from mimicctl.surfaces import Surface, paint

if TYPE_CHECKING:
    import mujoco

_CANVASES = {"table": 512, "robot": 128, "background": 160}
"""What can be painted, and the edge of its texture or, for the last two, of each of the six faces of a cube [texels]."""
_TABLE_HALF, _LINK_HALF = (0.60, 0.70), 0.10
"""Half-sizes that a texture spans: of the table's top, and about those of a link [m]."""
_SKY_GREY = 0.72
"""Of the plain sky: surroundings as bright as it light the scene as brightly."""
_TINT = (0.6, 1.4)
"""By how much surroundings may change the light from all around."""


def add_canvases(spec: mujoco.MjSpec) -> None:
    """Textures and materials to paint on later. Nothing wears them yet."""
    import mujoco

    kinds = mujoco.mjtTexture
    for name, edge in _CANVASES.items():
        # The background's is shown through the sky's texture, of which a model can have one only.
        faces, kind = (1, kinds.mjTEXTURE_2D) if name == "table" else (6, kinds.mjTEXTURE_CUBE)
        texture = spec.add_texture(name=f"painted_{name}", type=kind, width=edge, height=edge * faces, nchannel=3)
        texture.data = bytes(edge * edge * faces * 3)
        if name != "background":
            material = spec.add_material(name=f"painted_{name}", rgba=[1.0, 1.0, 1.0, 1.0])
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"painted_{name}"
    wood = spec.material("wood")
    spec.material("painted_table").specular, spec.material("painted_table").shininess = wood.specular, wood.shininess


class Dresser:
    """Puts appearances on a model, one after the other; each replaces the last wholly.

    OpenGL cuts light off at 1 before it multiplies it with a texture. Where there is more, textures are brightened and what
    wears them darkened by as much.

    Args:
        model: of a spec that `add_canvases` was called on, looking as compiled.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model, self.worn = model, PLAIN
        self._sky, self._wood, self._lamp, head = model.texture("sky").id, model.texture("wood").id, model.light("lamp").id, model.vis.headlight
        self._robot = [i for i in range(model.ngeom) if model.geom(i).name.startswith("robot/")]
        self._top = model.geom("table/top").id
        self._plain_materials, self._plain_colours = model.geom_matid.copy(), model.geom_rgba.copy()
        self._plain_sky = model.tex_adr[self._sky], model.tex_width[self._sky], model.tex_height[self._sky]
        self._plain_texels = {texture: self._texels(texture).copy() for texture in (self._sky, self._wood)}
        self._plain_light = [np.array(part) for part in (head.ambient, head.diffuse, model.light_diffuse[self._lamp], model.light_specular[self._lamp])]
        self._plain_lamp = model.light_pos[self._lamp].copy(), model.light_dir[self._lamp].copy()
        self._painted: dict[str, tuple[Surface, np.ndarray]] = {}

    def put_on(self, appearance: Appearance) -> list[int]:
        """Make the model look so. Returns the textures (ids) that a drawing context has to be given anew."""
        model, excess = self._model, self._light(appearance)
        model.geom_matid[:], model.geom_rgba[:] = self._plain_materials, self._plain_colours
        table = model.material("wood" if appearance.table is None else "painted_table").id
        model.geom_matid[self._top], model.mat_rgba[table, :3] = table, 1 / excess
        changed = [self._hang_sky(appearance), self._cover_table(appearance, excess)]
        if appearance.robot is not None:
            model.geom_matid[self._robot] = model.material("painted_robot").id
            model.geom_rgba[self._robot, :3] /= excess
            changed.append(self._fill(model.texture("painted_robot").id, excess * self._paint("robot", appearance.robot)))
        self.worn = appearance
        return changed

    def _cover_table(self, appearance: Appearance, excess: float) -> int:
        if appearance.table is None:
            return self._fill(self._wood, excess * self._plain_texels[self._wood] / 255)
        return self._fill(self._model.texture("painted_table").id, excess * self._paint("table", appearance.table))

    def _hang_sky(self, appearance: Appearance) -> int:
        """The sky is where the light comes from, so it is as bright and has its colour."""
        model, sky = self._model, self._sky
        model.tex_adr[sky], model.tex_width[sky], model.tex_height[sky] = self._plain_sky
        if appearance.background is None:
            return self._fill(sky, appearance.gain * self._plain_texels[sky].reshape(-1, 3) / 255)
        painted = model.texture("painted_background").id
        model.tex_adr[sky], model.tex_width[sky], model.tex_height[sky] = model.tex_adr[painted], model.tex_width[painted], model.tex_height[painted]
        return self._fill(sky, appearance.gain * self._paint("background", appearance.background))

    def _paint(self, name: str, surface: Surface) -> np.ndarray:
        """(P, 3) of a canvas's texels; painted once as long as the surface stays."""
        if self._painted.get(name, (None,))[0] != surface:
            points = {"table": _table_points, "robot": _link_points, "background": _sky_directions}[name](_CANVASES[name])
            self._painted[name] = surface, paint(surface, points)
        return self._painted[name][1]

    def _texels(self, texture: int) -> np.ndarray:
        """(N,) uint8, a view."""
        model = self._model
        first = model.tex_adr[texture]
        return model.tex_data[first : first + model.tex_width[texture] * model.tex_height[texture] * 3]

    def _fill(self, texture: int, colours: np.ndarray) -> int:
        self._texels(texture)[:] = np.round(255 * colours.clip(0, 1)).astype(np.uint8).ravel()
        return texture

    def _light(self, appearance: Appearance) -> float:
        """Returns how many times the plain light falls on a surface that faces it, at least 1."""
        model, head, lamp = self._model, self._model.vis.headlight, self._lamp
        ambient, diffuse, lamp_diffuse, lamp_specular = self._plain_light
        gain = appearance.gain
        head.ambient[:], head.diffuse[:] = ambient * gain * tint_of(appearance.background), diffuse * gain
        model.light_diffuse[lamp], model.light_specular[lamp] = lamp_diffuse * gain, lamp_specular * gain
        model.light_pos[lamp], model.light_dir[lamp] = self._plain_lamp
        if appearance.light_direction != DEFAULT_DIRECTION:
            # Moved to where it still shines on the same spot of the table, since shadows reach no farther than the lamp's surroundings.
            x, y, z = appearance.light_direction
            model.light_dir[lamp] = np.array([x, y, z]) / np.linalg.norm([x, y, z])
            model.light_pos[lamp][:2] += (np.array(DEFAULT_DIRECTION[:2]) - np.array([x, y]) / -z) * model.light_pos[lamp][2]
        now = ambient * gain * tint_of(appearance.background) + (diffuse + lamp_diffuse) * gain
        return float(max(1.0, (now / (ambient + (diffuse + lamp_diffuse))).max()))


@functools.lru_cache(maxsize=64)
def tint_of(background: Surface | None) -> np.ndarray:
    """(3,) by how much more or less of each colour the surroundings send than plain ones do."""
    if background is None:
        return np.ones(3)
    return np.clip(paint(background, _sky_directions(8)).mean(axis=0) / _SKY_GREY, *_TINT)


def _table_points(edge: int) -> np.ndarray:
    """(P, 3) in the env frame, as the texels of the table's top lie: [m]."""
    along = (2 * (np.arange(edge) + 0.5) / edge - 1).astype(np.float32)
    y, x = np.meshgrid(along, along, indexing="ij")
    return np.stack([0.45 + _TABLE_HALF[0] * x, -_TABLE_HALF[1] * y, np.zeros_like(x)], axis=-1).reshape(-1, 3)


def _cube_points(edge: int) -> np.ndarray:
    """(6 * edge * edge, 3) on the surface of a cube from -1 to 1, in OpenGL's order of faces (+x, -x, +y, -y, +z, -z) and texels."""
    along = (2 * (np.arange(edge) + 0.5) / edge - 1).astype(np.float32)
    t, s = np.meshgrid(along, along, indexing="ij")
    one = np.ones_like(s)
    faces = [(one, -t, -s), (-one, -t, s), (s, one, t), (s, -one, -t), (s, -t, one), (-s, -t, -one)]
    return np.concatenate([np.stack(face, axis=-1).reshape(-1, 3) for face in faces])


def _link_points(edge: int) -> np.ndarray:
    """As `_cube_points`, at the size of a link: [m]."""
    return _LINK_HALF * _cube_points(edge)


def _sky_directions(edge: int) -> np.ndarray:
    """As `_cube_points`, in the env frame: OpenGL's y is up."""
    return _cube_points(edge) @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
