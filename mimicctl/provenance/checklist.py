"""The questions that are to be answered before data made from people's demonstrations is scaled up or handed on, and which evidence answers them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mimicctl.errors import UserError, listed
from mimicctl.provenance.lineages import annotation_method, files_below, is_annotation
from mimicctl.provenance.manifest import UNKNOWN, Known, known_of, licenses, manifest, operators
from mimicctl.provenance.workspace import Run


@dataclass(frozen=True)
class Answer:
    """To a question.

    Attributes:
        evidence: what answers it, or (open) what is missing.
        do: how to close it.
    """

    area: str
    question: str
    state: Literal["answered", "open", "does not apply"]
    evidence: str
    do: str = ""


def checklist(known: Known) -> list[Answer]:
    """All questions, by what the files recorded and people added to them."""
    return [ask(known) for ask in (_consent, _assets, _annotation, _manifest, _cameras, _normalisation, _downstream, _deletion)]


def require_answers(path: Path) -> None:
    """UserError unless every question about a dataset is answered."""
    found = [answer for answer in checklist(known_of(path)) if answer.state == "open"]
    if found:
        what = f"{len(found)} questions about the provenance of the dataset are open."
        raise UserError(what, where=f"{path}: " + listed([f"{answer.area}: {answer.evidence}" for answer in found]), do=f"mimicctl provenance check {path}")


def _consent(known: Known) -> Answer:
    area, question = "operator consent", "Do the operators know that more demonstrations are made from theirs?"
    if known.untraceable:
        return Answer(
            area,
            question,
            "open",
            f"{len(known.untraceable)} demos do not say whom they go back to",
            "mimicctl provenance set FILE --operator NAME --consent-id ID",
        )
    people = [one for one in operators(known) if one["human"]]
    if not people:
        return Answer(area, question, "does not apply", f"no person drove: {', '.join(one['operator'] for one in operators(known))}")
    nameless = sum(one["seed_demos"] for one in people if one["operator"] == UNKNOWN)
    missing = [one["operator"] for one in people if UNKNOWN in one["consent_ids"]]
    said = [f"{nameless} seed demos name no operator"] if nameless else []
    said += [f"no consent is noted of {', '.join(missing)}"] if missing else []
    said += [] if known.terms.get("synthesis") is not None else ["whether they agreed to synthesis nobody noted"]
    said += ["they did not agree to synthesis"] if known.terms.get("synthesis") is False else []
    if said:
        return Answer(
            area,
            question,
            "open",
            "; ".join(said),
            "mimicctl provenance set RECORDING --operator NAME --consent-id ID --synthesis, or record --operator --consent-id",
        )
    told = ", ".join(f"{one['operator']} ({', '.join(one['consent_ids'])}; {one['seed_demos']} seed demos)" for one in people)
    return Answer(area, question, "answered", f"they agreed to synthesis: {told}")


def _assets(known: Known) -> Answer:
    area, question = "asset provenance", "Do the licences of robot, objects, textures and scene permit it?"
    found = licenses(known)
    missing = [part for part, license in found.items() if license == UNKNOWN]
    if missing:
        return Answer(area, question, "open", f"no licence is noted of {', '.join(missing)}", f"mimicctl provenance set FILE --license {missing[0]}=SPDX-ID")
    return Answer(area, question, "answered", "; ".join(f"{part}: {license}" for part, license in found.items()))


def _annotation(known: Known) -> Answer:
    area, question = "annotation ownership", "Who annotated the subtasks, and under which licence?"
    lineages = [known.file.lineage, *(entry.get("lineage") or {} for entry in files_below(known.file.lineage))]
    made = [annotation_method(of) for of in lineages if is_annotation(of)]
    if not made:
        return Answer(area, question, "does not apply", "nothing in it goes back to an annotation")
    by_env = all(method == "auto" for method in made)
    who, license = known.terms.get("annotator"), known.terms.get("annotation_license")
    if by_env and not who:
        return Answer(area, question, "answered", "nobody: by the env's own signals (mimicctl annotate --auto)")
    if not (who and license):
        missing = " and ".join(name for name, value in (("annotator", who), ("licence", license)) if not value)
        return Answer(area, question, "open", f"the {missing} is not noted", "mimicctl provenance set FILE --annotator NAME --annotation-license LICENCE")
    return Answer(area, question, "answered", f"{who}, {license}")


def _manifest(known: Known) -> Answer:
    area, question = "dataset manifest", "Does the file record source, task, version, command and flags?"
    made = manifest(known)
    missing = [key for key in ("source_seed", "task", "command") if made[key] == UNKNOWN]
    missing += [f"what made {stage['file']}" for stage in made["pipeline"] if stage["made_by"] == UNKNOWN]
    if missing:
        return Answer(area, question, "open", f"not recorded: {', '.join(missing)}", "make the file with mimicctl, which records them")
    return Answer(
        area, question, "answered", f"{' from '.join(stage['made_by'] for stage in made['pipeline'])}: with versions, settings, seeds and inputs by hash"
    )


def _cameras(known: Known) -> Answer:
    area, question = "camera policy", "Do cameras show what should not be shared?"
    if not any(len(shape) == 3 and key.startswith("obs/") for key, (shape, _) in known.info.keys.items()):
        return Answer(area, question, "does not apply", "there are no camera images")
    review = known.terms.get("camera_review")
    if not review:
        return Answer(
            area,
            question,
            "open",
            "nobody noted what came of looking at them",
            'look at them (mimicctl dataset contact-sheet FILE), then mimicctl provenance set FILE --camera-review "..."',
        )
    return Answer(area, question, "answered", str(review))


def _normalisation(known: Known) -> Answer:
    area, question = "normalisation artefact", "Are normalization_params.txt and checkpoints together, and only their owner's to read?"
    runs = list(known.graph.runs_of(demo.sha256 for demo in known.file.demos))
    if not runs:
        return Answer(area, question, "does not apply", "no training run on it was looked at")
    wrong = [problem for run in runs for problem in _open_to_others(run)]
    if wrong:
        return Answer(area, question, "open", "; ".join(wrong), "chmod -R go-rwx RUN, or train again")
    return Answer(area, question, "answered", f"in {', '.join(str(run.folder) for run in runs)}, for the owner alone")


def _open_to_others(run: Run) -> Iterator[str]:
    files = [*run.folder.glob("models/*.pth"), *run.folder.glob("*.pth")]
    parameters = run.folder / "logs" / "normalization_params.txt"
    if run.facts.get("action_range") and not parameters.is_file():
        yield f"{parameters} is missing"
    for path in [*files, *([parameters] if parameters.is_file() else [])]:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield f"others may read {path}"


def _downstream(known: Known) -> Answer:
    area, question = "downstream use", "What may the dataset be used for?"
    uses = known.terms.get("downstream")
    if not uses:
        return Answer(
            area,
            question,
            "open",
            "nobody noted what it may be used for" if uses is None else "the files it was made from allow nothing in common",
            "mimicctl provenance set FILE --downstream train-internal-policy",
        )
    return Answer(area, question, "answered", ", ".join(uses))


def _deletion(known: Known) -> Answer:
    area, question = "deletion path", "What happens to generated demonstrations and checkpoints when a seed demonstration is withdrawn?"
    if known.untraceable:
        some = ", ".join(known.untraceable[:3])
        return Answer(
            area,
            question,
            "open",
            f"{len(known.untraceable)} demos cannot be traced to seed demos ({some})",
            "make the file again with this version of mimicctl",
        )
    policy = known.terms.get("deletion_policy")
    return Answer(
        area,
        question,
        "answered",
        f"all demos are traced to {len(known.seeds)} seed demos; {policy or 'mimicctl provenance withdraw purges them, and checkpoints are refused'}",
    )
