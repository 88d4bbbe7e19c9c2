"""What is committed survives anything: kills at every system call, Ctrl-C, full disks, other processes."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from mimicctl.dataset import committed_file
from mimicctl.dataset.committed_file import CommittedFile, lock_path, write_lock
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed, UserError
from tests.episodes import make_episode

STEPS_OF_A_COMMIT = ("pwrite", "ftruncate", "link", "replace", "unlink")
STRIDE = int(os.environ.get("TEST_KILL_STRIDE", "5"))


def writer_for(path: Path, **options) -> DatasetWriter:
    return DatasetWriter(path, task_id="t", lineage={}, **options)


def whole_demos(path: Path) -> int:
    """Demos of a file, every one of which is complete."""
    with h5py.File(path, "r") as file:
        assert all(len(demo["actions"]) == demo.attrs["num_samples"] == 20 for demo in file["data"].values())
        return len(file["data"])


def count_calls(action: Callable[[int], None]) -> None:
    """Call `action` with the running number of each system call that changes files, before it happens."""
    calls = 0

    def wrap(function):
        def counted(*args, **kwargs):
            nonlocal calls
            calls += 1
            action(calls)
            return function(*args, **kwargs)

        return counted

    for name in STEPS_OF_A_COMMIT:
        setattr(os, name, wrap(getattr(os, name)))


def in_child(work: Callable[[int], None]) -> tuple[int, int]:
    """Run `work(pipe)` in a forked process; its wait status and how many bytes it reported."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            work(write)
        finally:
            os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with open(read, "rb") as pipe:
        return status, len(pipe.read())


def test_kill_before_any_system_call_of_a_commit_keeps_every_committed_demo(tmp_path):
    killed_at = 1
    while True:
        path = tmp_path / f"{killed_at}.hdf5"

        def work(pipe: int, path: Path = path, at: int = killed_at) -> None:
            with writer_for(path) as writer:
                writer.write(make_episode(0))
                os.write(pipe, b".")
                count_calls(lambda n: os.kill(os.getpid(), signal.SIGKILL) if n == at else None)
                for i in (1, 2):
                    writer.write(make_episode(i))
                    os.write(pipe, b".")

        status, committed = in_child(work)
        assert committed <= whole_demos(path) <= committed + 1
        if not os.WIFSIGNALED(status):
            break
        with writer_for(path) as writer:
            writer.write(make_episode(9))
        assert whole_demos(path) >= committed + 1
        killed_at += STRIDE
    assert killed_at > 3 * STRIDE and committed == 3
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("call", ["link", "replace", "unlink"])
def test_ctrl_c_inside_a_commit_leaves_one_version_or_the_other(tmp_path, monkeypatch, call):
    path = tmp_path / "a.hdf5"
    writer = writer_for(path)
    writer.write(make_episode(0))
    real = getattr(os, call)

    def interrupted(*args, **kwargs):
        real(*args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.write(make_episode(1))
            writer.close()  # where the commit itself does not unlink
    before = path.read_bytes()
    writer.close()
    assert path.read_bytes() == before and whole_demos(path) in (1, 2)


def test_a_write_that_fails_is_never_published_in_part(tmp_path):
    path = tmp_path / "a.hdf5"
    with writer_for(path) as writer:
        writer.write(make_episode(0))
        with pytest.raises(TypeError):
            writer.write(make_episode(1, obs={"eef_pos": make_episode(1).obs["eef_pos"].astype(object)}))
        with pytest.raises(ValueError):
            writer.log_attempts(["{}"])
        assert len(writer) == 1
    assert whole_demos(path) == 1


def test_full_disk_is_said_and_keeps_what_was_committed(tmp_path):
    path = tmp_path / "a.hdf5"

    def work(pipe: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        with writer_for(path) as writer:
            try:
                for i in range(100):
                    writer.write(make_episode(i))
            except RunFailed as error:
                os.write(pipe, b"." * len(writer) if "No space" in str(error) else b"")

    status, committed = in_child(work)
    assert status == 0 and committed == whole_demos(path) > 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_open_reader_keeps_the_version_it_opened(tmp_path):
    with writer_for(tmp_path / "a.hdf5") as writer:
        writer.write(make_episode(0))
        with Dataset(writer.path) as dataset:
            digest = dataset.content_hash()
            for i in range(1, 4):
                writer.write(make_episode(i))
            assert dataset.demos == ("demo_0",) and dataset.content_hash() == digest
    assert whole_demos(tmp_path / "a.hdf5") == 4


def test_without_hard_links_commits_are_whole_copies(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with writer_for(tmp_path / "a.hdf5") as writer:
        for i in range(3):
            writer.write(make_episode(i))
            assert whole_demos(writer.path) == i + 1


def test_working_copy_follows_truncation_and_growth(tmp_path):
    path = tmp_path / "a.bin"
    file = CommittedFile(path)
    file.write(b"a" * 300)
    file.commit()
    file.truncate(100)
    file.seek(200)
    file.write(b"b" * 50)
    file.commit()
    file.seek(0)
    assert path.read_bytes() == file.read(1000) == b"a" * 100 + b"\0" * 100 + b"b" * 50
    file.close()


def test_lock_whose_file_was_removed_in_the_meantime_excludes_nobody_and_is_not_trusted(tmp_path, monkeypatch):
    path, claim = tmp_path / "a.hdf5", committed_file._claim
    opened = []

    def removed_before_locking(handle):
        if not opened:
            os.unlink(lock_path(path))
        opened.append(handle)
        return claim(handle)

    monkeypatch.setattr(committed_file, "_claim", removed_before_locking)
    with write_lock(path):
        monkeypatch.undo()
        assert len(opened) == 2
        with pytest.raises(UserError, match="Another process"), write_lock(path):
            pass


def test_split_waits_for_no_recording_but_refuses(tmp_path):
    with writer_for(tmp_path / "a.hdf5") as writer:
        writer.write(make_episode(0))
        writer.write(make_episode(1))
        with pytest.raises(UserError, match="Another process"):
            split_file(writer.path)
    assert split_file(tmp_path / "a.hdf5")["valid"]


def test_kill_during_split_leaves_the_file_whole(tmp_path):
    for at in range(1, 4):
        path = tmp_path / f"{at}.hdf5"
        with writer_for(path) as writer:
            for i in range(3):
                writer.write(make_episode(i))

        def work(pipe: int, path: Path = path, at: int = at) -> None:
            count_calls(lambda n: os.kill(os.getpid(), signal.SIGKILL) if n == at else None)
            split_file(path)

        in_child(work)
        assert whole_demos(path) == 3
        assert len(split_file(path)["valid"]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "older format"), (b"not a dataset" * 500, "not a readable HDF5"), ("no data", 'no group "data"')],
    ids=["legacy", "text", "no data group"],
)
def test_files_that_cannot_be_continued_are_refused_and_left_alone(tmp_path, content, message):
    path = tmp_path / "a.hdf5"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with h5py.File(path, "w") as file:
            file.create_group("data" if content is None else "other")
    before = path.read_bytes()
    with pytest.raises(UserError, match=message):
        writer_for(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_leftovers_of_a_killed_writer_do_not_matter(tmp_path):
    for hidden in (".a.hdf5.working", ".a.hdf5.old", ".a.hdf5.lock"):
        (tmp_path / hidden).write_bytes(b"left over")
    with writer_for(tmp_path / "a.hdf5", durable=True) as writer:
        writer.write(make_episode(0))
    assert whole_demos(tmp_path / "a.hdf5") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="fork and file size limits as on Linux")
