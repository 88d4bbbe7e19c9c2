"""Checkpoints of real training runs: they know their demos, are for their owner alone, and are refused when one of these is withdrawn."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import pytest

from mimicctl.cli import app as shell
from mimicctl.config import TrainSettings
from mimicctl.dataset.masks import change_masks
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.provenance.checkpoints import demos_in, facts_of, taint, taint_of
from mimicctl.provenance.graph import Graph
from mimicctl.provenance.withdraw import carry_out_all, of_operator, plan
from mimicctl.provenance.workspace import scan
from mimicctl.training.recipes import RECIPES
from tests.provenance.workshop import make_workshop

pytestmark = pytest.mark.train


def _entries(checkpoint: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(checkpoint) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_two_checkpoints_of_which_one_learnt_from_a_withdrawn_operator(tmp_path, monkeypatch, capsys):
    import torch

    from mimicctl.training.trainer import train

    shop = make_workshop(tmp_path / "work", 12, copies=4)
    merged = shop.path("merged")
    used = {**shop.used, **{12 + i: shop.used[i] for i in range(4)}}
    clean = [f"demo_{i}" for i in used if "bert" not in used[i]]
    everything = [f"demo_{i}" for i in used]
    monkeypatch.setitem(RECIPES, "mlp", dataclasses.replace(RECIPES["mlp"], steps_per_epoch=2, save_every=1, batch_size=8))
    folders: dict[str, Path] = {}
    for name, demos in (("tainted", everything), ("clean", clean)):
        change_masks(merged, lambda dataset, demos=demos: {"train": demos[:-2], "valid": demos[-2:]})
        settings = TrainSettings(recipe="mlp", log_dir=str(shop.folder / "runs"), name=name, epochs=1, normalize_actions=name == "tainted")
        folders[name] = train(merged, settings, seed=1).folder
    checkpoint = folders["tainted"] / "models" / "model_epoch_1.pth"
    loaded = torch.load(checkpoint, weights_only=False)
    assert facts_of(checkpoint) == loaded["mimicctl"]
    with Dataset(merged) as dataset:
        assert demos_in(facts_of(folders["clean"] / "models" / "model_epoch_1.pth")) == {dataset.demo_sha256(name) for name in clean}
    for path in [*folders["tainted"].rglob("*.pth"), folders["tainted"] / "logs" / "normalization_params.txt"]:
        assert path.stat().st_mode & 0o777 == 0o600

    before = _entries(checkpoint)
    graph = Graph(scan(shop.folder))
    planned = plan(graph, "bert", of_operator(graph, "bert"))
    assert set(planned.tainted) == set(folders["tainted"].rglob("*.pth"))
    assert planned.removed == (folders["tainted"] / "logs" / "normalization_params.txt",)
    _, left = carry_out_all(graph, planned)
    assert left == []

    assert torch.load(checkpoint, weights_only=False).keys() == loaded.keys()
    assert {name: content for name, content in _entries(checkpoint).items() if "tainted" not in name} == before
    with pytest.raises(UserError, match="have been withdrawn") as caught:
        train(merged, TrainSettings(recipe="mlp", log_dir=str(shop.folder / "runs"), name="tainted", epochs=2), seed=1, resume=True)
    assert "mimicctl train --dataset" in caught.value.do
    play = ("eval", "play", "--rollouts", "1", "--horizon", "3", "--workers", "1", "--output-dir", str(tmp_path / "report"), "--checkpoint")
    assert shell._run([*play, str(checkpoint)], debug=False) == 2
    assert "--allow-tainted" in capsys.readouterr().err
    assert shell._run([*play, str(checkpoint), "--allow-tainted"], debug=False) == 0
    assert shell._run([*play, str(folders["clean"])], debug=False) == 0
    # What is left can be trained on as the command says.
    assert shell._run(planned.retrain[0].split()[1:], debug=False) == 0
    assert demos_in(facts_of(checkpoint)) == {demo.sha256 for file in scan(shop.folder).datasets if file.path == merged for demo in file.demos}


def test_what_goes_on_from_withdrawn_data_is_marked_too(tmp_path, monkeypatch):
    from mimicctl.training.trainer import train

    data = make_workshop(tmp_path / "work", 6, copies=2).path("generated")
    monkeypatch.setitem(RECIPES, "mlp", dataclasses.replace(RECIPES["mlp"], steps_per_epoch=2, save_every=1, batch_size=8))
    settings = TrainSettings(recipe="mlp", log_dir=str(tmp_path / "runs"), name="a", epochs=1)
    folder = train(data, settings, seed=1).folder
    taint(folder / "training_state.pth", {"why": "a test"})
    train(data, settings.model_copy(update={"epochs": 2}), seed=1, resume=True, allow_tainted=True)
    assert taint_of(folder / "models" / "model_epoch_1.pth") is None
    assert taint_of(folder / "models" / "model_epoch_2.pth") == taint_of(folder / "training_state.pth") == {"why": "a test"}
