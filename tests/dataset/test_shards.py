"""Shards of a run, put together: exactly the run, or a refusal that says what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest

from mimicctl.config import GenerateSettings
from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation.engine import generate
from mimicctl.schema import LINEAGE_ATTR
from mimicctl.shard import Shard, shards_of
from mimicctl.tasks import DEFAULT_TASK

# Noise that lets some trials fail, so that successes and trials are numbered differently.
NOISE = {"franka": [{"action_noise": 0.09}]}


def run(path: Path, trials: int = 5, *, seed: int = 3, resume: bool = False, **settings) -> Path:
    options = GenerateSettings(**{"output_file": str(path), "trials": trials, "workers": 1, "num_envs": 3, "subtasks": NOISE, **settings})
    return generate(DEFAULT_TASK, seed, options, None, resume=resume).path


def content(path: Path) -> tuple:
    """All that two equal runs have in common, with the lineage of every demo."""
    with Dataset(path) as dataset:
        lineage = {key: value for key, value in dataset.lineage.items() if key != "shards"}
        demos = [(dataset.demo_lineage(name), json.dumps({k: str(v) for k, v in dataset.attributes(name).items()})) for name in dataset.demos]
        return dataset.content_hash(), dataset.attempts(), lineage, demos, dataset.env_args, dataset.group("demo_0").parent.attrs["total"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("whole") / "a.hdf5")


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    return [run(folder / "a.hdf5", shard=f"{i}/3", attempts=10) for i in range(3)]


def test_merged_shards_are_the_run_in_one_piece(tmp_path, whole, parts):
    assert [path.name for path in parts] == [f"a.shard-{i}-of-3.hdf5" for i in range(3)]
    assert shards_of(parts[0].with_name("a.hdf5")) == parts
    merged = merge([parts[2], parts[0], parts[1]], tmp_path / "m.hdf5", verify=True)
    assert content(merged.path) == content(whole)
    with Dataset(whole) as dataset:
        assert not all(attempt["success"] for attempt in dataset.attempts()), "the test wants failures between the successes"
    assert merged.plan.run.to_spare == sum(len(s.lengths) for s in merged.plan.sources) - 5


def test_a_merged_run_can_be_continued_as_one(tmp_path, parts):
    merged = merge(parts, tmp_path / "m.hdf5", verify=True).path
    assert content(run(merged, trials=7, resume=True)) == content(run(tmp_path / "b.hdf5", trials=7))


def test_without_guarantee_all_attempts_count(tmp_path):
    parts = [run(tmp_path / "a.hdf5", 7, shard=f"{i}/2", guarantee=False) for i in range(2)]
    assert content(merge(parts, tmp_path / "m.hdf5", verify=True).path) == content(run(tmp_path / "b.hdf5", 7, guarantee=False))


def test_an_interrupted_shard_is_found_and_completed(tmp_path, whole, parts):
    begun = run(tmp_path / "a.hdf5", shard="1/3", attempts=5)
    with h5py.File(begun, "r+") as file:
        lineage = json.loads(file["data"].attrs[LINEAGE_ATTR])
        file["data"].attrs[LINEAGE_ATTR] = json.dumps(lineage | {"wanted": {"trials": 5, "attempts": 10}})
    with pytest.raises(UserError, match="not the whole") as caught:
        merge([parts[0], begun, parts[2]], tmp_path / "m.hdf5", verify=True)
    assert "1 of its 3 trials are missing" in caught.value.where and not (tmp_path / "m.hdf5").exists()
    run(tmp_path / "a.hdf5", shard="1/3", attempts=10, resume=True)
    assert content(merge([parts[0], begun, parts[2]], tmp_path / "m.hdf5", verify=True).path) == content(whole)


def test_too_few_successes_name_the_attempts_that_should_do(tmp_path):
    parts = [run(tmp_path / "a.hdf5", 5, shard=f"{i}/2", attempts=5) for i in range(2)]
    with pytest.raises(RunFailed, match="of 5 successes") as caught:
        merge(parts, tmp_path / "m.hdf5", verify=True)
    assert "--resume --attempts" in caught.value.do and caught.value.exit_code == 1
    parts = [run(tmp_path / "a.hdf5", 5, shard=f"{i}/2", attempts=10, resume=True) for i in range(2)]
    assert content(merge(parts, tmp_path / "m.hdf5", verify=True).path)[0] == content(run(tmp_path / "b.hdf5"))[0]


def test_missing_doubled_and_foreign_files_are_refused(tmp_path, whole, parts):
    def refusal(*paths: Path) -> str:
        with pytest.raises(UserError, match="nothing was written") as caught:
            merge(paths, tmp_path / "m.hdf5", verify=True)
        assert caught.value.exit_code == 2 and not (tmp_path / "m.hdf5").exists()
        return caught.value.where

    assert "shard 1/3 is missing" in refusal(parts[0], parts[2])
    copy = tmp_path / "copy.hdf5"
    shutil.copy(parts[0], copy)
    assert f"{copy}: shard 0/3 again" in refusal(*parts, copy)
    assert "not made by generate --shard" in refusal(*parts, whole)
    assert "seed differ" in refusal(*parts[:2], run(tmp_path / "s.hdf5", shard="2/3", attempts=10, seed=4))
    assert "settings differ" in refusal(*parts[:2], run(tmp_path / "b.hdf5", shard="2/3", attempts=10, bridge_step=0.02))
    assert "--attempts differ" in refusal(*parts[:2], run(tmp_path / "n.hdf5", shard="2/3", attempts=8))
    assert "number of shards differ" in refusal(*parts[:2], run(tmp_path / "o.hdf5", shard="2/4", attempts=10))


def test_a_demo_that_was_taken_out_of_a_shard_is_missed(tmp_path, parts):
    copy = tmp_path / "copy.hdf5"
    shutil.copy(parts[0], copy)
    with h5py.File(copy, "r+") as file:
        del file["data/demo_0"]
    with pytest.raises(UserError) as caught:
        merge([copy, *parts[1:]], tmp_path / "m.hdf5", verify=True)
    assert "its demos are not those" in caught.value.where


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shard": "0/2"}, "cannot know when"),
        ({"attempts": 9}, "--attempts says"),
        ({"shard": "0/2", "attempts": 4}, "cannot make 5"),
        ({"shard": "0/2", "guarantee": False, "attempts": 9}, "--attempts says"),
        ({"address": "auto"}, "--address"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "a.hdf5", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "message"), [("1", "no shard"), ("2/2", "0/2 to 1/2"), ("0/0", "at least one"), ("-1/2", "no shard"), ("a/b", "no shard")])
def test_what_is_no_shard(text, message):
    with pytest.raises(ValueError, match=message):
        Shard.parse(text)


def test_every_trial_is_in_one_shard_and_files_sort_by_number():
    shards = [Shard(i, 12) for i in range(12)]
    assert sorted(n for shard in shards for n in shard.numbers(40)) == list(range(40))
    names = [shard.path(Path("a.hdf5")).name for shard in shards]
    assert names == sorted(names) and names[3] == "a.shard-03-of-12.hdf5"


def test_shards_from_the_command_line(mimicctl, tmp_path):
    refused = mimicctl("generate", "--shard", "2/2", "--attempts", "4", "--trials", "3")
    assert refused.returncode == 2 and "0/2 to 1/2" in refused.stderr
    refused = mimicctl("merge", "--verify")
    assert refused.returncode == 2 and "no shards" in refused.stderr
    for i in range(2):
        made = mimicctl("generate", "--shard", f"{i}/2", "--attempts", "4", "--trials", "3", "--workers", "1", "--status-file", f"{i}.json")
        assert made.returncode == 0, made.stderr
        status = json.loads((tmp_path / f"{i}.json").read_text())
        assert (status["state"], status["trials_done"], status["goal"]) == ("finished", 2, {"attempts": 2})
    merged = mimicctl("merge", "--verify", "--json")
    assert merged.returncode == 0, merged.stderr
    assert json.loads(merged.stdout)["demos"] == 3
