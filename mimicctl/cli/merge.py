"""`mimicctl merge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mimicctl.cli.common import ConfigFile, Json, Outcome, Override, Overwrite, Table, note, reporting, resolve_settings, show, size_of

if TYPE_CHECKING:
    from mimicctl.config import RunConfig
    from mimicctl.dataset.merge_plan import MergePlan


def command(
    files: Annotated[Optional[list[Path]], typer.Argument(help="Datasets to merge, in this order.", show_default=False)] = None,
    input_files: Annotated[
        Optional[list[Path]], typer.Option(help="The same, as Isaac Lab's script has it: --input-files A B C.", show_default=False)
    ] = None,
    output_file: Annotated[Optional[str], typer.Option(help="Where the merged dataset goes.", show_default=False)] = None,
    common_keys: Annotated[bool, typer.Option("--common-keys", help="Where demos differ in the arrays they have, keep those that all have.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, show what would be written, and write nothing.")] = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Merge datasets into one file, after checking that they fit together."""
    given = [str(path) for path in [*(input_files or []), *(files or [])]]
    flags = {"merge.input_files": given or None, "merge.output_file": output_file}
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.dataset.merge import merge
    from mimicctl.dataset.merge_plan import plan_merge
    from mimicctl.dataset.whole_file import checked_whole_output

    inputs = run_config.merge.input_files or _last_made(run_config)
    note(f"Merging {', '.join(inputs)}.")
    output = run_config.merge.output_file
    if dry_run:
        target = checked_whole_output(inputs, output, overwrite=overwrite)
        show(_outcome("Would merge.", target, plan_merge(inputs, common_keys=common_keys), []), as_json)
        return
    with reporting("merge", 0) as reporter:

        def progress(done: int, total: int) -> None:
            reporter.set_total(total)
            reporter.update(done, "demos")

        made = merge(inputs, output, common_keys=common_keys, overwrite=overwrite, on_progress=progress)
    show(_outcome("Merged.", made.path, made.plan, [("size", size_of(made.path))], f"mimicctl train --dataset {made.path}"), as_json)


def _last_made(run_config: RunConfig) -> list[str]:
    from mimicctl.errors import UserError

    found = [path for path in (run_config.generate.output_file, run_config.convert.output_file) if Path(path).is_file()]
    if len(found) < 2:
        raise UserError("There are no two datasets to merge.", do="name them: mimicctl merge A.hdf5 B.hdf5")
    return found


def _outcome(title: str, target: Path, plan: MergePlan, facts: list[tuple[str, object]], next_command: str = "") -> Outcome:
    sources = plan.sources
    names = {(move.source, move.demo): move.name for move in plan.moves}
    rows = []
    for i, source in enumerate(sources):
        taken = [names[i, demo] for demo in source.lengths if (i, demo) in names]
        span = f"{taken[0]} to {taken[-1]}" if taken else "-"
        rows.append((source.path, len(source.lengths), span, len(source.lengths) - len(taken)))
    facts = [
        ("file", target),
        ("demos", len(plan.moves)),
        ("steps", plan.steps),
        ("masks", ", ".join(f"{key} {len(demos)}" for key, demos in plan.masks.items()) or "none"),
        *facts,
    ]
    if plan.dropped_keys:
        facts.append(("arrays left out", ", ".join(plan.dropped_keys)))
    table = Table("From", ("file", "demos", "become", "left out, being there already"), rows)
    data = {
        "file": str(target),
        "demos": len(plan.moves),
        "steps": plan.steps,
        "moves": [{"file": str(sources[m.source].path), "demo": m.demo, "name": m.name} for m in plan.moves],
        "left_out": [{"file": str(sources[d.source].path), "demo": d.demo, "same_as": d.same_as[1]} for d in plan.duplicates],
        "masks": plan.masks,
        "dropped_keys": plan.dropped_keys,
    }
    return Outcome(title, facts, [table], next_command, data)
