"""The dataset viewer's part of the server: files, demos, their plots, pictures and motion, and marks."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from aiohttp import web

from mimicctl.dataset.contact_sheet import as_picture, image_keys
from mimicctl.dataset.masks import DISCARDED, KEPT
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.web.answers import answer, fields_of, number_in
from mimicctl.web.marks import mark_demos
from mimicctl.web.series import series_of, sketch_of
from mimicctl.web.stage import Stages
from mimicctl.web.workspace import Workspace

SKETCHES_AT_ONCE = 50
_IMAGES_AT_ONCE = 16
_JPEG = {"format": "JPEG", "quality": 88, "subsampling": 0}
"""Of images of a hundred pixels or two, which the eye looks at enlarged."""


def routes(workspace: Workspace, stages: Stages) -> list[web.RouteDef]:
    """See the functions of `_Viewer`; files are named by number, demos and cameras by names that must be in the file."""
    viewer = _Viewer(workspace, stages)
    demo = r"/api/datasets/{file:\d{1,6}}/demos/{demo}"
    return [
        web.get("/api/datasets", viewer.list_files),
        web.get(r"/api/datasets/{file:\d{1,6}}/demos", viewer.list_demos),
        web.get(r"/api/datasets/{file:\d{1,6}}/sketches/{first:\d{1,9}}", viewer.sketches),
        web.get(r"/api/datasets/{file:\d{1,6}}/scene", viewer.scene),
        web.post(r"/api/datasets/{file:\d{1,6}}/marks", viewer.mark),
        web.get(demo + "/series", viewer.series),
        web.get(demo + "/frames", viewer.frames),
        web.get(demo + "/images/{camera}", viewer.film),
        web.get(demo + r"/images/{camera}/{step:\d{1,9}}", viewer.image),
    ]


class _Viewer:
    def __init__(self, workspace: Workspace, stages: Stages) -> None:
        self._workspace, self._stages = workspace, stages

    async def list_files(self, request: web.Request) -> web.Response:
        return await answer(lambda: [dataclasses.asdict(file) for file in self._workspace.files()])

    async def list_demos(self, request: web.Request) -> web.Response:
        number = number_in(request, "file")

        def work() -> dict[str, Any]:
            file = self._workspace.file(number)
            if file.problem:
                raise UserError(file.problem, where=file.path, do=file.do)
            return {"file": dataclasses.asdict(file), "demos": [dataclasses.asdict(demo) for demo in self._workspace.demos(number)]}

        return await answer(work)

    async def sketches(self, request: web.Request) -> web.Response:
        """Float32 (50, 32, 3), fewer at the end: see `sketch_of`, from the demo on that is asked for."""
        first = number_in(request, "first")

        def work(dataset: Dataset) -> bytes:
            return b"".join(sketch_of(dataset, name).astype("<f4").tobytes() for name in dataset.demos[first : first + SKETCHES_AT_ONCE])

        return await self._read(request, work)

    async def scene(self, request: web.Request) -> web.Response:
        return await self._read(request, lambda dataset: self._stages.description(dataset.task_id))

    async def mark(self, request: web.Request) -> web.Response:
        changes, version = await fields_of(request, changes=dict, version=str)
        number = number_in(request, "file")

        def work() -> dict[str, Any]:
            masks = mark_demos(self._workspace.path(number), changes, version)
            return {KEPT: len(masks[KEPT]), DISCARDED: len(masks[DISCARDED]), "version": self._workspace.file(number).version}

        return await answer(work)

    async def series(self, request: web.Request) -> web.Response:
        return await self._read(request, lambda dataset: series_of(dataset, _demo(dataset, request)))

    async def frames(self, request: web.Request) -> web.Response:
        """Float32 (T + 1, B, 7), see `Stages.frames`."""

        def work(dataset: Dataset) -> bytes:
            episode = dataset.episode(_demo(dataset, request), only=("actions", "states/", "initial_state/"))
            return self._stages.frames(dataset.task_id, episode).astype("<f4").tobytes()

        return await self._read(request, work)

    async def image(self, request: web.Request) -> web.Response:
        step, camera = number_in(request, "step"), request.match_info["camera"]

        def work() -> bytes:
            with Dataset(self._workspace.path(number_in(request, "file"))) as dataset:
                pictures = _pictures(dataset, _demo(dataset, request), camera, range(step, step + 1))
            if not pictures:
                raise UserError(f"There is no step {step} in this demonstration.")
            return pictures[0]

        return web.Response(body=await asyncio.to_thread(work), content_type="image/jpeg")

    async def film(self, request: web.Request) -> web.StreamResponse:
        """Every image of a demo, as JPEG after its length in bytes (uint32, little-endian): any step can be shown at once, which a video cannot."""
        camera, path = request.match_info["camera"], self._workspace.path(number_in(request, "file"))

        def work(first: int) -> list[bytes]:
            with Dataset(path) as dataset:
                return _pictures(dataset, _demo(dataset, request), camera, range(first, first + _IMAGES_AT_ONCE))

        pictures = await asyncio.to_thread(work, 0)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await response.prepare(request)
        sent = 0
        while pictures:
            await response.write(b"".join(struct.pack("<I", len(picture)) + picture for picture in pictures))
            sent += len(pictures)
            pictures = await asyncio.to_thread(work, sent)
        await response.write_eof()
        return response

    async def _read(self, request: web.Request, work: Callable[[Dataset], Any]) -> web.Response:
        """`work` on the file that is asked for."""
        path = self._workspace.path(number_in(request, "file"))

        def opened() -> Any:
            with Dataset(path) as dataset:
                try:
                    return work(dataset)
                except (OSError, RuntimeError, KeyError) as error:
                    raise UserError(f"The demonstration cannot be read: {error}", where=str(path), do=f"mimicctl dataset check {path}") from None

        return await answer(opened)


def _demo(dataset: Dataset, request: web.Request) -> str:
    """The demo that is asked for, if it is one."""
    name = request.match_info["demo"]
    if name not in dataset.demos:
        raise UserError(f"There is no {name} in this file.", where=str(dataset.path), do="go back to the list of demos")
    return name


def _pictures(dataset: Dataset, name: str, camera: str, steps: Sequence[int]) -> list[bytes]:
    """JPEGs of a camera at those of `steps` that there are."""
    from PIL import Image

    group = dataset.group(name)
    if camera not in image_keys(group):
        raise UserError(f"{name} has no images called {camera}.", where=str(dataset.path), do="choose another camera")
    stored = group[f"obs/{camera}"]
    pictures = []
    for image in np.asarray(stored[steps[0] : steps[-1] + 1]):
        buffer = io.BytesIO()
        Image.fromarray(as_picture(camera, image)).save(buffer, **_JPEG)
        pictures.append(buffer.getvalue())
    return pictures
