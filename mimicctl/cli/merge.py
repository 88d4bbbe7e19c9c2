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
    input_files: Annotated[Optional[list[Path]], typer.Option(help="The same, as Isaac Lab's script has it: --input-files A B C.", show_default=False)] = None,
    output_file: Annotated[Optional[str], typer.Option(help="Where the merged dataset goes.", show_default=False)] = None,
    common_keys: Annotated[bool, typer.Option("--common-keys", help="Where demos differ in the arrays they have, keep those that all have.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="The files are the shards of one run (generate --shard): check that they are complete, make the run's file.")
    ] = False,
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
    from mimicctl.dataset.shards import plan_shards
    from mimicctl.dataset.whole_file import checked_whole_output
    from mimicctl.errors import UserError

    if verify and common_keys:
        raise UserError("The shards of a run have the same arrays: --common-keys does not go with --verify.", do="give one of them")
    inputs = run_config.merge.input_files or (_shards_made(run_config) if verify else _last_made(run_config))
    note(f"Merging {', '.join(inputs)}.")
    output = run_config.merge.output_file
    if dry_run:
        target = checked_whole_output(inputs, output, overwrite=overwrite)
        plan = plan_shards(inputs) if verify else plan_merge(inputs, common_keys=common_keys)
        show(_outcome("Would merge.", target, plan, []), as_json)
        return
    with reporting("merge", 0) as reporter:

        def progress(done: int, total: int) -> None:
            reporter.set_total(total)
            reporter.update(done, "demos")

        made = merge(inputs, output, common_keys=common_keys, verify=verify, overwrite=overwrite, on_progress=progress)
    show(_outcome("Merged.", made.path, made.plan, [("size", size_of(made.path))], f"mimicctl train --dataset {made.path}"), as_json)


def _last_made(run_config: RunConfig) -> list[str]:
    from mimicctl.errors import UserError

    found = [path for path in (run_config.generate.output_file, run_config.convert.output_file) if Path(path).is_file()]
    if len(found) < 2:
        raise UserError("There are no two datasets to merge.", do="name them: mimicctl merge A.hdf5 B.hdf5")
    return found


def _shards_made(run_config: RunConfig) -> list[str]:
    from mimicctl.errors import UserError
    from mimicctl.shard import shards_of

    output = Path(run_config.generate.output_file)
    found = shards_of(output)
    if not found:
        raise UserError(f"There are no shards of {output}.", do=f"name them, or make them first: mimicctl generate --shard 0/4 --output-file {output}")
    return [str(path) for path in found]


def _outcome(title: str, target: Path, plan: MergePlan, facts: list[tuple[str, object]], next_command: str = "") -> Outcome:
    sources = plan.sources
    names = {(move.source, move.demo): move.name for move in plan.moves}
    rows = []
    for i, source in enumerate(sources):
        taken = [names[i, demo] for demo in source.lengths if (i, demo) in names]
        span = f"{taken[0]} {'..' if plan.run else 'to'} {taken[-1]}" if taken else "-"
        rows.append((source.path, len(source.lengths), span, len(source.lengths) - len(taken)))
    why = "beyond the run" if plan.run else "being there already"
    facts = [
        ("file", target),
        ("demos", len(plan.moves)),
        ("steps", plan.steps),
        ("masks", ", ".join(f"{key} {len(demos)}" for key, demos in plan.masks.items()) or "none"),
        *facts,
    ]
    if plan.run:
        from mimicctl.statistics import rate_text

        facts.append(("success rate", rate_text(len(plan.moves), len(plan.run.attempts))))
        facts.append(("beyond the run", f"{plan.run.to_spare} successes of later trials, left out"))
    if plan.dropped_keys:
        facts.append(("arrays left out", ", ".join(plan.dropped_keys)))
    table = Table("From", ("file", "demos", "become", f"left out, {why}"), rows)
    data = {
        "file": str(target),
        "demos": len(plan.moves),
        "steps": plan.steps,
        "moves": [{"file": str(sources[m.source].path), "demo": m.demo, "name": m.name} for m in plan.moves],
        "left_out": [{"file": str(sources[d.source].path), "demo": d.demo, "same_as": d.same_as[1]} for d in plan.duplicates],
        **({"attempts": len(plan.run.attempts), "to_spare": plan.run.to_spare} if plan.run else {}),
        "masks": plan.masks,
        "dropped_keys": plan.dropped_keys,
    }
    return Outcome(title, facts, [table], next_command, data)
