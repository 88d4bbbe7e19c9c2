"""Where a demo comes from and where it went: as data, as text, as a picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from mimicctl.provenance.checkpoints import taint_of
from mimicctl.provenance.graph import Graph, Node

Kind = Literal["operator", "demo", "dataset", "checkpoint", "video"]


@dataclass(frozen=True)
class Item:
    """A box of the graph.

    Attributes:
        name: in one line.
        details: more lines.
        demos: of a dataset, those of it that were made from the demo that is traced.
    """

    kind: Kind
    name: str
    details: tuple[str, ...] = ()
    demos: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """An arrow: `to` was made from `origin`. Both are keys of items."""

    origin: str
    to: str
    how: str


@dataclass(frozen=True)
class Trace:
    """All that a demo was made from, one by one, and all that was made from it, by file.

    Attributes:
        start: key of the demo that is traced.
    """

    start: str
    items: dict[str, Item]
    links: tuple[Link, ...]


def trace_of(graph: Graph, node: Node) -> Trace:
    items: dict[str, Item] = {}
    links: dict[tuple[str, str], Link] = {}

    def link(origin: str, to: str, how: str) -> None:
        links.setdefault((origin, to), Link(origin, to, how))

    for each in (node, *graph.ancestors([node.sha256]).values()):
        items[each.sha256] = _demo(graph, each)
        if each.operator and not each.parents:
            key = f"operator {each.operator}"
            items[key] = Item("operator", each.operator)
            link(key, each.sha256, _how_recorded(each))
        for parent, how in each.parents.items():
            link(parent, each.sha256, how)
    _forward(graph, node, items, link)
    return Trace(node.sha256, items, tuple(links.values()))


def _forward(graph: Graph, start: Node, items: dict[str, Item], link: Any) -> None:
    """Datasets, checkpoints and videos. What was made from what is shown between the files in which demos were written first; from there they are merged on."""
    made = graph.descendants([start.sha256])
    merges = {file.path for file in graph.workspace.datasets if file.lineage.get("made_by") == "mimicctl merge"}
    by_file: dict[Path, list[tuple[str, Node]]] = defaultdict(list)
    for each in (start, *made.values()):
        for place in each.places:
            by_file[place.file].append((place.demo, each))
    shown = {}
    for path, found in by_file.items():
        if any(each is not start for _, each in found):
            shown[path] = f"file {path}"
            items[shown[path]] = Item("dataset", graph.workspace.named(path), demos=tuple(name for name, each in found if each is not start))

    def key_of(each: Node) -> str:
        first = _first(each, merges)
        return each.sha256 if each is start or first is None else shown[first]

    for each in made.values():
        key = key_of(each)
        if not each.places:
            items[key] = _demo(graph, each)
        for place in each.places:
            if shown[place.file] != key:
                link(key, shown[place.file], "merged" if place.file.is_file() else "exported")
        for parent, how in each.parents.items():
            origin = key_of(start if parent == start.sha256 else made[parent]) if parent == start.sha256 or parent in made else key
            if origin != key:
                link(origin, key, how)
    everything = [start.sha256, *made]
    for checkpoint in graph.checkpoints_of(everything):
        key = f"checkpoint {checkpoint.path}"
        refused = ("refused: data was withdrawn",) if taint_of(checkpoint.path) is not None else ()
        items[key] = Item("checkpoint", graph.workspace.named(checkpoint.path), refused)
        said = [path for path in shown if str(path) == checkpoint.dataset]
        holding = [path for path, found in by_file.items() if path in shown and {each.sha256 for _, each in found} & checkpoint.demos]
        for path in said or holding:
            link(shown[path], key, "trained")
        if not (said or holding):
            link(start.sha256, key, "trained")
    for video in graph.videos_of(everything):
        key = f"video {video.path}"
        items[key] = Item("video", graph.workspace.named(video.path))
        link(start.sha256, key, "filmed")


def _first(node: Node, merges: Collection[Path]) -> Path | None:
    """The file in which a demo was written first, as far as that can be told; None if it lies in none."""
    files = [place.file for place in node.places]
    return next((file for file in files if file not in merges), files[0] if files else None)


def _demo(graph: Graph, node: Node) -> Item:
    places = [f"{place.demo} of {graph.workspace.named(place.file)}" for place in node.places]
    name = places[0] if places else f"a demo that is not here ({node.sha256[:12]})"
    said = node.recording if not node.parents else {}
    told = [f"{label} {said[key]}" for key, label in (("consent_id", "consent"), ("recorded_at", "at")) if said.get(key)]
    return Item("demo", name, (*(f"also {place}" for place in places[1:]), *told))


def _how_recorded(node: Node) -> str:
    device = node.recording.get("device")
    return f"recorded with {device}" if device else "recorded"


def as_dict(trace: Trace) -> dict[str, Any]:
    """JSON-able."""
    return {
        "start": trace.start,
        "items": {key: {**vars(item), "details": list(item.details), "demos": list(item.demos)} for key, item in trace.items.items()},
        "links": [{"from": link.origin, "to": link.to, "how": link.how} for link in trace.links],
    }


# Text ---------------------------------------------------------------------------------------------------------


def as_text(trace: Trace) -> str:
    start = trace.items[trace.start]
    lines = [f"{start.name}  ({trace.start[:12]})", *(f"  {detail}" for detail in start.details)]
    back = list(_tree(trace, trace.start, backward=True, depth=1))
    forward = list(_tree(trace, trace.start, backward=False, depth=1))
    lines += ["made from", *(back or ["  nothing that was noted"]), "went into", *(forward or ["  nothing that lies here"])]
    return "\n".join(lines)


def _tree(trace: Trace, key: str, *, backward: bool, depth: int, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    for link in trace.links:
        here, other = (link.to, link.origin) if backward else (link.origin, link.to)
        if here != key or other in seen:
            continue
        item = trace.items[other]
        count = f"{len(item.demos)} demos of " if len(item.demos) > 1 else f"{item.demos[0]} of " if item.demos else ""
        details = f"  ({', '.join(item.details)})" if item.details else ""
        yield f"{'  ' * depth}{link.how}: {item.kind + ' ' if item.kind != 'demo' and not count else ''}{count}{item.name}{details}"
        yield from _tree(trace, other, backward=backward, depth=depth + 1, seen=seen | {key})


# Picture ------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 250, 46, 380, 74, 24
_COLOURS = {"operator": "#fde9c8", "demo": "#dce9f7", "dataset": "#e3f1dc", "checkpoint": "#f2dcec", "video": "#e8e4f5"}


def as_svg(trace: Trace) -> str:
    """Boxes in columns, from operators on the left to checkpoints on the right."""
    columns: dict[int, list[str]] = defaultdict(list)
    for key, column in _columns(trace).items():
        columns[column].append(key)
    tallest = max(map(len, columns.values()))
    at = {}
    for x, column in enumerate(sorted(columns)):
        gap = (tallest - len(columns[column])) * _DOWN / 2
        for y, key in enumerate(columns[column]):
            at[key] = (_MARGIN + x * _ACROSS, _MARGIN + gap + y * _DOWN)
    width, height = 2 * _MARGIN + (len(columns) - 1) * _ACROSS + _WIDTH, 2 * _MARGIN + (tallest - 1) * _DOWN + _HEIGHT
    ends = Counter(link.to for link in trace.links)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:.0f}" viewBox="0 0 {width} {height:.0f}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height:.0f}" fill="white"/>',
        *(_arrow(at[link.origin], at[link.to], link.how, at_end=ends[link.to] == 1) for link in trace.links),
        *(_box(at[key], item, bold=key == trace.start) for key, item in trace.items.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _columns(trace: Trace) -> dict[str, int]:
    """Each as far to the right as the longest way to it is long."""
    column = dict.fromkeys(trace.items, 0)
    for _ in trace.items:
        moved = False
        for link in trace.links:
            if column[link.to] <= column[link.origin] < len(trace.items):
                column[link.to], moved = column[link.origin] + 1, True
        if not moved:
            break
    return column


def _box(at: tuple[float, float], item: Item, *, bold: bool) -> str:
    x, y = at
    count = f"{len(item.demos)} demos" if len(item.demos) > 1 else next(iter(item.demos), "")
    second = ", ".join([*([count] if count else []), *item.details])
    lines = [(item.name, "#111", "bold" if bold else "normal"), (second or item.kind, "#555", "normal")]
    texts = "".join(
        f'<text x="{x + 10}" y="{y + 19 + 17 * i:.0f}" fill="{colour}" font-weight="{weight}">{escape(_short(text))}</text>'
        for i, (text, colour, weight) in enumerate(lines)
    )
    border = "#333" if bold else "#aaa"
    title = f"<title>{escape(' | '.join([item.kind, item.name, *item.details, *item.demos[:50]]))}</title>"
    return f'<g>{title}<rect x="{x}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{_COLOURS[item.kind]}" stroke="{border}"/>{texts}</g>'


def _short(text: str, most: int = 38) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def _arrow(start: tuple[float, float], end: tuple[float, float], how: str, *, at_end: bool) -> str:
    """With `how` where it is by itself: at its end, or at its beginning if others end there too."""
    x0, y0, x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT / 2, end[0], end[1] + _HEIGHT / 2
    bend = (x1 - x0) / 2
    curve = f'<path d="M{x0} {y0:.0f} C{x0 + bend:.0f} {y0:.0f} {x1 - bend:.0f} {y1:.0f} {x1 - 7} {y1:.0f}" fill="none" stroke="#888"/>'
    head = f'<path d="M{x1 - 8} {y1 - 4:.0f} L{x1} {y1:.0f} L{x1 - 8} {y1 + 4:.0f} Z" fill="#888"/>'
    place = f'x="{x1 - 12}" y="{y1 - 6:.0f}" text-anchor="end"' if at_end else f'x="{x0 + 6}" y="{y0 - 6:.0f}"'
    label = f'<text {place} fill="#777" font-size="10">{escape(_short(how, 24))}</text>'
    return curve + head + label
