"""The real huggingface_hub against a hub on this machine. Large files go another way on the real one, which is not tested here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
from tests.conversion.hub_server import TOKEN, Hub

pytestmark = pytest.mark.lerobot


@pytest.fixture
def hub():
    with Hub() as running:
        yield running


@pytest.fixture
def cli(mimicctl, hub, tmp_path):
    """The command line, with a token or without, that knows no other hub than this."""

    def run(*arguments: str, token: str | None = TOKEN):
        environ = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token or ""}
        return mimicctl("dataset", *arguments, environ=environ)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dataset_goes_there_private_and_comes_back_the_same(cli, hub, tmp_path, source_file):
    to_lerobot(source_file, tmp_path / "there")
    sent = cli("push", "there", "--repo-id", "someone/stack")
    assert sent.returncode == 0, sent.stderr
    repo = hub.repos["someone/stack"]
    assert repo["private"] is True and repo["tags"] == ["v3.0"]
    card = repo["files"].pop("README.md")
    assert b"tags: [LeRobot]" in card
    assert repo["files"] == contents(tmp_path / "there")
    assert "scripted" in sent.stderr, "who the lineage names"
    repo["files"]["README.md"] = card
    fetched = cli("pull", "--repo-id", "someone/stack", "--output-dir", "fetched")
    assert fetched.returncode == 0, fetched.stderr
    assert contents(tmp_path / "fetched") == contents(tmp_path / "there") | {"README.md": card}
    again = cli("pull", "--repo-id", "someone/stack", "--output-dir", "fetched")
    assert again.returncode == 2 and "--overwrite" in again.stderr


def test_the_tag_follows_and_the_sidecar_can_stay(cli, hub, tmp_path, source_file):
    to_lerobot(source_file, tmp_path / "there")
    for _ in range(2):
        sent = cli("push", "there", "--repo-id", "someone/stack", "--no-sidecar", "--json")
        assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["sent"] is True
    assert not [path for path in hub.repos["someone/stack"]["files"] if path.startswith("mimicctl")]
    assert hub.repos["someone/stack"]["tags"] == ["v3.0"]


def test_what_is_no_longer_in_the_dataset_goes_from_the_hub_too(cli, hub, tmp_path, source_file):
    to_lerobot(source_file, tmp_path / "there")
    assert cli("push", "there", "--repo-id", "someone/stack").returncode == 0
    there = hub.repos["someone/stack"]["files"]
    there |= {"data/chunk-000/file-001.parquet": b"of a withdrawn demo", "notes.txt": b"somebody's own"}
    assert cli("push", "there", "--repo-id", "someone/stack").returncode == 0
    assert there.keys() == contents(tmp_path / "there").keys() | {"README.md", "notes.txt"}
    assert cli("push", "there", "--repo-id", "someone/stack", "--no-sidecar").returncode == 0
    assert not [path for path in there if path.startswith("mimicctl")], "nor what lay beside it, if it is to stay behind"


def test_nothing_is_sent_unasked(cli, hub, tmp_path, source_file):
    to_lerobot(source_file, tmp_path / "there")
    dry = cli("push", "there", "--repo-id", "someone/stack", "--dry-run")
    assert dry.returncode == 0 and "Nothing was sent" in dry.stdout
    assert hub.log == []
    hub.repos["someone/open"] = {"private": False, "files": {}, "tags": []}
    refused = cli("push", "there", "--repo-id", "someone/open")
    assert refused.returncode == 2 and "is public" in refused.stderr
    assert hub.repos["someone/open"]["files"] == {}
    assert cli("push", "there", "--repo-id", "someone/open", "--public").returncode == 0


def test_what_the_hub_refuses_is_said(cli, hub, tmp_path, source_file):
    to_lerobot(source_file, tmp_path / "there")
    stranger = cli("push", "there", "--repo-id", "someone/stack", token=None)
    assert stranger.returncode == 2 and "hf auth login" in stranger.stderr
    missing = cli("pull", "--repo-id", "someone/nothing", "--output-dir", "fetched")
    assert missing.returncode == 2 and "no such dataset" in missing.stderr
    nonsense = cli("push", "there", "--repo-id", "no name at all")
    assert nonsense.returncode == 2 and "<user>/<name>" in nonsense.stderr
    (tmp_path / "there/data/chunk-000/file-000.parquet").write_bytes(b"PAR1")
    damaged = cli("push", "there", "--repo-id", "someone/stack")
    assert damaged.returncode == 2 and "nothing was sent" in damaged.stderr
