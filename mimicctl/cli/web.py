"""`mimicctl web`, and what other commands that show pages share with it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mimicctl.cli.common import ConfigFile, Lan, Override, Port, note, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

DATASET_PAGES = {"datasets.html": "Demonstrations", "annotate.html": "Annotate"}


def command(
    paths: Annotated[Optional[list[Path]], typer.Argument(help="Datasets, or folders of them (datasets).", show_default=False)] = None,
    port: Port = 8765,
    lan: Lan = False,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Look at demonstrations and annotate them, in a browser."""
    settings = resolve_settings({}, config, override).config
    from mimicctl.web import require_packages

    require_packages()
    from mimicctl.web import annotating, datasets
    from mimicctl.web.annotating import Annotations
    from mimicctl.web.stage import Stages
    from mimicctl.web.workspace import Workspace

    workspace = Workspace(paths) if paths else Workspace.of_folder(Path("datasets"))
    recording = Path(settings.annotate.input_file or settings.record.output_file).absolute()

    def output_of(path: Path) -> Path:
        return Path(settings.annotate.output_file).absolute() if path == recording else path.with_name(f"{path.stem}_annotated{path.suffix}")

    stages = Stages()
    with Annotations(workspace, output_of, starts=settings.annotate.start_signals) as annotations:
        serve([*datasets.routes(workspace, stages), *annotating.routes(annotations, stages)], DATASET_PAGES, port, lan)


def serve(routes: Sequence[web.RouteDef], pages: Mapping[str, str], port: int, lan: bool) -> None:
    """Until Ctrl-C."""
    from mimicctl.web.serving import serving

    with serving(routes, pages, port=port, lan=lan, say=note):
        note("Ctrl-C stops.")
        threading.Event().wait()
