"""A file for h5py whose visible state moves from one complete version to the next, and is never in between.

HDF5 has no journal: a process that dies between two of its writes leaves a file that may not open. So writes go to
a hidden working copy; the file that users see is only ever replaced, by renaming the finished working copy over it.
The old file then becomes the next working copy, after the writes of this round are repeated on it. Each byte is written
twice, and nothing is copied whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
from pathlib import Path
from typing import IO

from mimicctl.errors import UserError


class CommittedFile(io.RawIOBase):
    """Read and write through this; `commit` publishes.

    Args:
        path: the visible file. It exists after the first commit, or already does.
        durable: also survive a power cut, by syncing each version before it is published.

    Raises:
        UserError: another process is writing the file, or the folder is not writable.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self._visible, self._durable = path, durable
        self._working = path.with_name(f".{path.name}.working")
        self._old = path.with_name(f".{path.name}.old")
        self._lock = _lock(path)
        for leftover in (self._working, self._old):
            leftover.unlink(missing_ok=True)
        if path.exists():
            shutil.copyfile(path, self._working)
        self._file: IO[bytes] = open(self._working, "r+b" if path.exists() else "w+b", buffering=0)
        self._position = 0
        self._writes: list[tuple[int, bytes]] = []
        self._length: int | None = None

    # What h5py calls ----------------------------------------------------------------------------------

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size()}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        data = os.pread(self._file.fileno(), len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data) -> int:
        data = bytes(data)
        _write_all(self._file.fileno(), data, self._position)
        self._writes.append((self._position, data))
        self._position += len(data)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        os.ftruncate(self._file.fileno(), size)
        self._length = size
        return size

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    # What the writer calls -------------------------------------------------------------------------------

    def commit(self) -> None:
        """Publish everything written so far. h5py must have been flushed."""
        if not self._writes and self._length is None:
            return
        if self._durable:
            os.fsync(self._file.fileno())
        had_version = self._visible.exists()
        if had_version:
            _keep_name(self._visible, self._old)
        os.replace(self._working, self._visible)
        published, self._file = self._file, self._next_working_copy(had_version)
        published.close()
        self._writes.clear()
        self._length = None

    def _next_working_copy(self, had_version: bool) -> IO[bytes]:
        """The version before this one, brought up to date."""
        if not had_version or not self._old.exists():
            shutil.copyfile(self._visible, self._working)
            return open(self._working, "r+b", buffering=0)
        os.replace(self._old, self._working)
        copy = open(self._working, "r+b", buffering=0)
        for offset, data in self._writes:
            _write_all(copy.fileno(), data, offset)
        if self._length is not None:
            os.ftruncate(copy.fileno(), self._length)
        return copy

    def close(self) -> None:
        """Forget what was not committed and remove the working copy."""
        if not self.closed:
            self._file.close()
            for leftover in (self._working, self._old):
                leftover.unlink(missing_ok=True)
            _unlock(self._lock, self._visible)
        super().close()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _keep_name(visible: Path, old: Path) -> None:
    """Give the visible version a second name, so that renaming over it does not delete it."""
    with contextlib.suppress(OSError):  # a file system without hard links: the next working copy is a full copy
        os.link(visible, old)


def lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _lock(path: Path) -> IO[bytes]:
    try:
        handle = open(lock_path(path), "ab")
    except OSError as error:
        raise UserError(f"Cannot write here: {error.strerror}.", where=str(path.parent), do="choose another --output-file") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise UserError(
            "Another process is writing this file.", where=str(path), do="wait for it or stop it, or choose another --output-file"
        ) from None
    return handle


def _unlock(handle: IO[bytes], path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        lock_path(path).unlink()
    handle.close()
