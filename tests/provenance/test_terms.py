"""Facts that people add, the manifest, the checklist and the card."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from mimicctl.provenance.card import write_card
from mimicctl.provenance.checklist import checklist, require_answers
from mimicctl.provenance.manifest import UNKNOWN, as_yaml, known_of, manifest
from mimicctl.provenance.terms import Terms, set_terms
from mimicctl.provenance.verify import verify
from mimicctl.provenance.workspace import scan
from tests.episodes import make_episode
from tests.provenance.test_verify import forge, nudge, tell
from tests.provenance.workshop import Workshop, fake_run, generate, make_workshop

TERMS = Terms(
    True, "dora", "CC-BY-4.0", dict.fromkeys(("robot", "objects", "textures", "scene"), "MIT"), ["train-internal-policy"], None, "delete within a week"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("whole") / "work", 6, copies=2)


@pytest.fixture
def shop(whole, tmp_path) -> Workshop:
    shutil.copytree(whole.folder, tmp_path / "work")
    return Workshop(tmp_path / "work", whole.used)


def open_areas(path: Path, workspace: Path | None = None) -> set[str]:
    return {answer.area for answer in checklist(known_of(path, workspace)) if answer.state == "open"}


def test_the_manifest_has_the_fields_and_says_what_is_unknown(shop):
    made = manifest(known_of(shop.path("generated")))
    with Dataset(shop.path("dataset")) as recording, Dataset(shop.path("annotated")) as annotated, Dataset(shop.path("generated")) as dataset:
        assert made["source_seed"] == [{"file": "dataset.hdf5", "sha256": recording.content_hash()}]
        assert made["source_annotation"] == [{"file": "annotated.hdf5", "sha256": annotated.content_hash(), "method": "auto"}]
        assert (made["sha256"], made["generation_num_trials"], made["generation_successes"]) == (dataset.content_hash(), len(dataset.attempts()), 6)
    assert (
        made["dataset"] == "generated.hdf5"
        and made["teleop_device"] == ["spacemouse"]
        and made["num_seed_demos"] == len(known_of(shop.path("generated")).seeds)
    )
    assert made["operator_consent_id"] == sorted({f"C-{one}" for used in shop.used.values() for one in used})
    assert made["cameras_enabled"] is False and made["rendering_mode"] == "none"
    assert made["downstream_allowed"] == UNKNOWN and made["asset_license_review"] == "required"
    assert {"downstream_allowed", "asset_licenses", "consent_covers_synthesis"} <= set(made["unknown"])
    assert [stage["made_by"] for stage in made["pipeline"]] == ["mimicctl generate", "mimicctl annotate", "mimicctl record"]


def test_yaml_reads_as_what_it_was():
    yaml = pytest.importorskip("yaml")
    value = {
        "a": "yes",
        "b: c": ["1", 1, 1.5, None, True, [], {}],
        "d": {"e": "x: y", "f": [{"g": "#1", "h": [1, 2]}, {"i": "- j"}], "k": ""},
        "l": "2026-11-22",
        "m": "~",
    }
    assert yaml.safe_load(as_yaml(value)) == value


def test_facts_of_a_recording_are_inherited_by_what_is_made_of_it(shop):
    set_terms(shop.path("dataset"), TERMS)
    assert open_areas(shop.path("dataset")) == set()
    # What was made before is told by the workspace as to operators; its terms it has from the file that it was made from.
    assert "downstream use" in open_areas(shop.path("generated"))
    set_terms(shop.path("annotated"), TERMS)
    shop.path("generated").unlink()
    generate(shop, 4, 1)
    assert open_areas(shop.path("generated")) == set()
    require_answers(shop.path("generated"))


def test_what_operators_agreed_to_later_is_found_in_their_recordings(shop):
    assert "operator consent" in open_areas(shop.path("generated"), shop.folder)
    set_terms(shop.path("dataset"), Terms(synthesis=True))
    assert "operator consent" in open_areas(shop.path("generated")), "the file by itself does not know"
    assert "operator consent" not in open_areas(shop.path("generated"), shop.folder)
    assert manifest(known_of(shop.path("generated"), shop.folder))["annotator"] == "none: by the env's own signals"
    set_terms(shop.path("dataset"), Terms(synthesis=False), overwrite=True)
    assert "operator consent" in open_areas(shop.path("generated"), shop.folder)


def test_merged_files_allow_what_all_inputs_allow(tmp_path):
    from mimicctl.dataset.merge import merge

    for i, uses in enumerate((["research", "train-internal-policy"], ["train-internal-policy", "benchmark"])):
        with DatasetWriter(
            tmp_path / f"{i}.hdf5", task_id="t", lineage={"made_by": "mimicctl record"}, env_args={"sim_args": {"dt": 0.01, "decimation": 5}}
        ) as writer:
            writer.write(make_episode(i))
        set_terms(tmp_path / f"{i}.hdf5", Terms(downstream=uses, synthesis=i == 0, licenses={"robot": ("MIT", "BSD-3-Clause")[i]}))
    made = manifest(known_of(merge([tmp_path / "0.hdf5", tmp_path / "1.hdf5"], tmp_path / "m.hdf5").path))
    assert made["downstream_allowed"] == ["train-internal-policy"] and made["asset_licenses"]["robot"] == "BSD-3-Clause and MIT"
    assert made["consent_covers_synthesis"] == UNKNOWN


def test_operators_of_foreign_demos_are_set_one_by_one(tmp_path, shop):
    path = tmp_path / "foreign.hdf5"
    with DatasetWriter(path, task_id="t", lineage={}) as writer:
        for i in range(3):
            writer.write(make_episode(i, lineage={}))
    assert "operator consent" in open_areas(path) and "deletion path" in open_areas(path)
    assert set_terms(path, Terms(), operator="ada", consent_id="7", demos=["demo_1"]) == ("demo_1",)
    assert set_terms(path, Terms(synthesis=True), operator="bert", consent_id="8", demos=["demo_0", "demo_2"]) == ("demo_0", "demo_2")
    made = manifest(known_of(path))
    assert [(one["operator"], one["seed_demos"]) for one in made["operators"]] == [("ada", 1), ("bert", 2)]
    assert "operator consent" not in open_areas(path) and "deletion path" not in open_areas(path)
    assert not [finding for finding in verify(scan(tmp_path)) if finding.severity == "error"]


def test_what_is_said_otherwise_is_not_replaced_unasked(shop):
    before = shop.path("dataset").read_bytes()
    with pytest.raises(UserError, match="operator is 'ada'"):
        set_terms(shop.path("dataset"), Terms(), operator="eve")
    set_terms(shop.path("dataset"), Terms(downstream=["research"]))
    with pytest.raises(UserError, match="downstream is"):
        set_terms(shop.path("dataset"), Terms(downstream=["all"]))
    set_terms(shop.path("dataset"), Terms(downstream=["all"]), overwrite=True)
    assert manifest(known_of(shop.path("dataset")))["downstream_allowed"] == ["all"] and before != shop.path("dataset").read_bytes()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda path: set_terms(path, Terms()), "nothing to set"),
        (lambda path: set_terms(path, Terms(synthesis=True), demos=["demo_0"]), "about the file"),
        (lambda path: set_terms(path, Terms(), operator="eve"), "was generated"),
        (lambda path: set_terms(path, Terms(), operator="eve", demos=["demo_99"]), "not a demonstration|There is no demo_99"),
    ],
)
def test_what_cannot_be_set_is_refused(shop, how, message):
    before = shop.path("generated").read_bytes()
    with pytest.raises(UserError, match=message):
        how(shop.path("generated"))
    assert shop.path("generated").read_bytes() == before


def test_setting_does_not_hide_that_a_file_was_changed(shop):
    forge(shop.path("dataset"), tell("demo_3", operator="eve"))
    with pytest.raises(UserError, match="not as it was written"):
        set_terms(shop.path("dataset"), TERMS)


def test_an_edited_demo_stays_found_after_setting(shop):
    forge(shop.path("dataset"), nudge("demo_3"))
    set_terms(shop.path("dataset"), TERMS)
    assert any(finding.demo == "demo_3" and "edited" in finding.what for finding in verify(scan(shop.folder)))


def test_checkpoints_that_others_may_read_are_an_open_question(shop):
    run = fake_run(shop.folder / "runs" / "a", shop.path("merged"), ["demo_0"])
    (run / "logs" / "normalization_params.txt").chmod(0o600)
    assert "normalisation artefact" not in open_areas(shop.path("merged"), shop.folder)
    (run / "models" / "model_epoch_1.pth").chmod(0o644)
    assert "normalisation artefact" in open_areas(shop.path("merged"), shop.folder)


def test_a_scripted_operator_needs_no_consent(recording):
    state = {answer.area: answer.state for answer in checklist(known_of(recording))}
    assert state["operator consent"] in ("does not apply", "open")


def test_the_card_has_front_matter_statistics_lineage_and_open_questions(shop, tmp_path):
    written = write_card(known_of(shop.path("generated")), tmp_path / "card", license="CC-BY-4.0")
    assert sorted(path.name for path in written) == ["README.md", "lengths.svg", "lineage.svg", "manifest.yaml"]
    text = written[0].read_text()
    assert text.startswith("---\npretty_name: generated\nlicense: cc-by-4.0\n") and "- synthetic" in text
    assert "6 demonstrations of the task" in text and "| operator 1 | C-ada | 4 |" in text and "- Open: What may the dataset be used for?" in text
    assert not any(re.search(rf"(?<!-)\b{name}\b", path.read_text()) for path in written for name in ("ada", "bert", "cleo")), "people are not named"
    for link in ("lengths.svg", "lineage.svg"):
        assert f"({link})" in text and (tmp_path / "card" / link).stat().st_size > 300
    with pytest.raises(UserError, match="exists already"):
        write_card(known_of(shop.path("generated")), tmp_path / "card")


def test_the_commands(mimicctl, shop):
    def run(*arguments: str, code: int = 0):
        done = mimicctl("provenance", *arguments, cwd=shop.folder)
        assert done.returncode == code, done.stderr
        return done

    assert json.loads(run("check", "generated.hdf5", "--json").stdout)["open"] > 0
    run("check", "generated.hdf5", "--strict", code=2)
    terms = ("--synthesis", "--downstream", "research", "--downstream", "train-internal-policy", "--deletion-policy", "delete")
    run("set", "generated.hdf5", *terms, *(word for part in ("robot", "objects", "textures", "scene") for word in ("--license", f"{part}=MIT")))
    assert json.loads(run("check", "generated.hdf5", "--strict", "--json").stdout)["open"] == 0
    run("manifest", "generated.hdf5", "--output-file", "m.json")
    assert json.loads((shop.folder / "m.json").read_text())["downstream_allowed"] == ["research", "train-internal-policy"]
    assert "license" in run("set", "generated.hdf5", "--license", "wheels=MIT", code=2).stderr
    run("card", "generated.hdf5")
    assert (shop.folder / "generated_card" / "README.md").exists()
    for algo in ("bc", "act"):
        gated = mimicctl("train", "--algo", algo, "--dataset", "merged.hdf5", "--require-provenance", cwd=shop.folder)
        assert gated.returncode == 2 and "questions about the provenance" in gated.stderr
