"""Reading the visual meshes of the robot wheel, which are Collada files: a format MuJoCo does not know.

Only what those files use: triangles, one material a primitive, nodes placed by a matrix.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_WELD = 1e-5
"""Vertices closer than this are one [m]."""

_SCHEMA = "{http://www.collada.org/2005/11/COLLADASchema}"


@dataclass(frozen=True)
class Part:
    """The triangles of one colour.

    Attributes:
        vertices: (V, 3) float64 [m].
        faces: (F, 3) int, counter-clockwise seen from outside.
        rgba: colour.
    """

    vertices: np.ndarray
    faces: np.ndarray
    rgba: tuple[float, ...]


def read_parts(path: Path) -> list[Part]:
    """The mesh in `path`, one part a colour, in the order the colours first appear."""
    root = ElementTree.parse(path).getroot()
    colours = _colours(root)
    geometries = {f"#{geometry.get('id')}": geometry for geometry in root.iter(f"{_SCHEMA}geometry")}
    pieces: dict[tuple[float, ...], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for node in root.iter(f"{_SCHEMA}node"):
        matrix = np.array((node.findtext(f"{_SCHEMA}matrix") or "").split(), dtype=float)
        placed = matrix.reshape(4, 4) if matrix.size else np.eye(4)
        for instance in node.findall(f"{_SCHEMA}instance_geometry"):
            geometry = geometries[instance.get("url")]
            for triangles in geometry.iter(f"{_SCHEMA}triangles"):
                vertices, faces = _triangles(geometry, triangles)
                pieces[colours[f"#{triangles.get('material')}"]].append((vertices @ placed[:3, :3].T + placed[:3, 3], faces))
    return [_joined(parts, rgba) for rgba, parts in pieces.items()]


def _colours(root: ElementTree.Element) -> dict[str, tuple[float, ...]]:
    """Material to its diffuse colour."""
    effects = {}
    for effect in root.iter(f"{_SCHEMA}effect"):
        text = effect.findtext(f".//{_SCHEMA}diffuse/{_SCHEMA}color") or "0.8 0.8 0.8 1"
        effects[f"#{effect.get('id')}"] = tuple(round(float(value), 2) for value in text.split())
    return {f"#{material.get('id')}": effects[material.find(f"{_SCHEMA}instance_effect").get("url")] for material in root.iter(f"{_SCHEMA}material")}


def _triangles(geometry: ElementTree.Element, triangles: ElementTree.Element) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of a primitive."""
    inputs = {entry.get("semantic"): entry for entry in triangles.findall(f"{_SCHEMA}input")}
    stride = 1 + max(int(entry.get("offset")) for entry in inputs.values())
    corners = np.array(triangles.findtext(f"{_SCHEMA}p").split(), dtype=int).reshape(-1, 3, stride)
    positions = geometry.find(f".//{_SCHEMA}vertices/{_SCHEMA}input[@semantic='POSITION']").get("source")
    text = geometry.find(f".//{_SCHEMA}source[@id='{positions[1:]}']/{_SCHEMA}float_array").text
    return np.array(text.split(), dtype=float).reshape(-1, 3), corners[..., int(inputs["VERTEX"].get("offset"))]


def _joined(pieces: list[tuple[np.ndarray, np.ndarray]], rgba: tuple[float, ...]) -> Part:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in pieces)])
    faces = [faces + start for (_, faces), start in zip(pieces, starts, strict=False)]
    return Part(np.concatenate([vertices for vertices, _ in pieces]), np.concatenate(faces), rgba)


def simplified(part: Part, cell: float) -> Part:
    """Fewer triangles: all vertices within a cell of a grid become one, and triangles that shrink to a line go.

    Vertices on an open edge stay where they are: there another part goes on, and a gap would show what is behind.

    Args:
        cell: edge of a cell [m].
    """
    part = _clustered(part, _cells(part.vertices, _WELD))
    cells, rim = _cells(part.vertices, cell), _on_open_edges(part)
    cells[rim] = cells.max() + 1 + np.arange(len(rim))
    return _clustered(part, cells)


def _cells(vertices: np.ndarray, edge: float) -> np.ndarray:
    """Number (V,) of the grid cell that each vertex lies in."""
    x, y, z = np.round((vertices - vertices.min(axis=0)) / edge).astype(np.int64).T
    return (x * (y.max() + 1) + y) * (z.max() + 1) + z


def _clustered(part: Part, cells: np.ndarray) -> Part:
    """One vertex for all that share a cell (V,), in their middle."""
    _, cluster = np.unique(cells, return_inverse=True)
    count = np.bincount(cluster)
    vertices = np.stack([np.bincount(cluster, part.vertices[:, axis]) / count for axis in range(3)], axis=1)
    faces = cluster[part.faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return Part(vertices, faces[whole], part.rgba)


def _on_open_edges(part: Part) -> np.ndarray:
    """Numbers of the vertices on edges that only one triangle has."""
    edges = np.sort(np.concatenate([part.faces[:, [0, 1]], part.faces[:, [1, 2]], part.faces[:, [2, 0]]]), axis=1)
    unique, count = np.unique(edges[:, 0] * len(part.vertices) + edges[:, 1], return_counts=True)
    return np.unique(np.divmod(unique[count == 1], len(part.vertices)))
