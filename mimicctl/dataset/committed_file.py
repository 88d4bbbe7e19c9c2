"""A file for h5py whose visible state moves from one complete version to the next, and is never in between.

HDF5 has no journal: a process that dies between two of its writes leaves a file that may not open. So writes go to
a hidden working copy; the file that users see is only ever replaced, by renaming the finished working copy over it.
The version before it then becomes the next working copy, after what changed in this round is copied over. Each byte
is written twice, and the file is not copied whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mimicctl.errors import UserError

_COPY_AT_ONCE = 1 << 30


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
        self._keep = contextlib.ExitStack()
        self._keep.enter_context(write_lock(path))
        self._file: IO[bytes] | None = None  # None also while a version is being published
        self._position = 0
        self._touched: list[tuple[int, int]] = []  # ranges that differ from the visible version
        self._discarding = False
        try:
            self._remove_hidden()
            if path.exists():
                copy_file(path, self._working)
            self._file = open(self._working, "r+b" if path.exists() else "w+b", buffering=0)
            _claim(self._file)
        except OSError as error:
            self.close()
            raise UserError(f"Cannot write here: {error.strerror}.", where=str(path), do="choose another --output-file") from None
        except BaseException:
            self.close()
            raise

    # What h5py calls ----------------------------------------------------------------------------------

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self._size()
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        data = os.pread(self._file.fileno(), len(buffer), self._position) if self._file else bytes(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data) -> int:
        size, start = len(data), self._position
        try:
            if self._file:
                _write_all(self._file.fileno(), data, start)
        except OSError:
            if not self._discarding:
                raise
        self._touch(start, start + size)
        self._position = start + size
        return size

    def truncate(self, size: int | None = None) -> int:
        size, before = self._position if size is None else size, self._size()
        if self._file and size != before and not self._discarding:
            os.ftruncate(self._file.fileno(), size)
            self._touch(min(size, before), max(size, before))
        return size

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size if self._file else 0

    def _touch(self, start: int, end: int) -> None:
        if self._touched and self._touched[-1][1] == start:
            self._touched[-1] = (self._touched[-1][0], end)
        else:
            self._touched.append((start, end))

    # What the writer calls -------------------------------------------------------------------------------

    def commit(self) -> None:
        """Publish everything written so far. h5py must have been flushed.

        If it is interrupted, the visible file is this version or the one before, and nothing more can be written.
        """
        if not self._touched:
            return
        # From here on no write can reach the file that is about to become visible.
        published, self._file = self._file, None
        with published:
            if self._durable:
                os.fsync(published.fileno())
            fcntl.flock(published, fcntl.LOCK_UN)
            _keep_name(self._visible, self._old)
            os.replace(self._working, self._visible)
            if self._durable:
                _sync_folder(self._visible.parent)
            self._file = self._next_working_copy(published)
        self._touched.clear()

    def _next_working_copy(self, published: IO[bytes]) -> IO[bytes]:
        """The version before this one, brought up to date; a whole copy where there is none to be had."""
        if self._old.exists():
            os.replace(self._old, self._working)
            copy = open(self._working, "r+b", buffering=0)
            if _claim(copy):
                _bring_up_to_date(copy, published, self._touched)
                return copy
            copy.close()  # someone is still reading the old version: it stays as it is
            self._working.unlink()
        copy_file(self._visible, self._working)
        copy = open(self._working, "r+b", buffering=0)
        _claim(copy)
        return copy

    def discard(self) -> None:
        """Nothing more will be committed: from here on writes may fail without harm (a full disk, on closing)."""
        self._discarding = True

    def close(self) -> None:
        """Forget what was not committed and remove the working copy."""
        if not self.closed:
            if self._file:
                self._file.close()
            self._remove_hidden()
            self._keep.close()
        super().close()

    def _remove_hidden(self) -> None:
        for hidden in (self._working, self._old):
            hidden.unlink(missing_ok=True)


def _write_all(descriptor: int, data, offset: int) -> None:
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        data, offset = memoryview(data)[written:], offset + written
        written = os.pwrite(descriptor, data, offset)


def _bring_up_to_date(copy: IO[bytes], published: IO[bytes], touched: list[tuple[int, int]]) -> None:
    """Copy the ranges in which `copy` may differ from `published`."""
    size = os.fstat(published.fileno()).st_size
    os.ftruncate(copy.fileno(), size)
    for start, end in touched:
        if start < size:
            _write_all(copy.fileno(), os.pread(published.fileno(), min(end, size) - start, start), start)


def _claim(file: IO[bytes]) -> bool:
    """Whether nobody reads this inode: HDF5 locks what it reads, so a lock that excludes readers tells."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _keep_name(visible: Path, old: Path) -> None:
    """Give the visible version a second name, so that renaming over it does not delete it."""
    with contextlib.suppress(OSError):  # none yet, or a file system without hard links: the next working copy is a whole copy
        os.link(visible, old)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_file(source: Path, target: Path) -> None:
    """Copy content and permissions; where the file system can, the copy shares its blocks with the source and costs nothing."""
    with open(source, "rb", buffering=0) as read, open(target, "wb", buffering=0) as written:
        try:
            while os.copy_file_range(read.fileno(), written.fileno(), _COPY_AT_ONCE):
                pass
        except (OSError, AttributeError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            read.seek(0)
            written.seek(0)
            shutil.copyfileobj(read, written, 1 << 20)
    shutil.copymode(source, target)


def lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Be the one process that changes `path`. The lock goes with the process, however it ends.

    Raises:
        UserError: another process has it, or the folder is not writable.
    """
    name = lock_path(path)
    handle = _lock(name, path)
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        handle.close()


def _lock(name: Path, path: Path) -> IO[bytes]:
    while True:
        try:
            handle = open(name, "ab")
        except OSError as error:
            raise UserError(f"Cannot write here: {error.strerror}.", where=str(path.parent), do="choose another --output-file") from None
        if not _claim(handle):
            handle.close()
            raise UserError("Another process is writing this file.", where=str(path), do="wait for it or stop it, or choose another --output-file")
        # Its last owner may have removed the file between our opening and locking it: then the lock excludes nobody.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(name), os.fstat(handle.fileno())):
                return handle
        handle.close()


def is_being_written(path: Path) -> bool:
    """Whether another process, or another part of this one, has `write_lock` of `path`. A leftover of a killed one does not count."""
    try:
        with open(lock_path(path), "rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
