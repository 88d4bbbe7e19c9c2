"""Outputs made of files, in one go: they appear when they are complete, and not at all if something goes wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mimicctl.dataset.committed_file import write_lock
from mimicctl.dataset.writer import checked_output, is_no_space, partial_path, refuse_existing
from mimicctl.errors import RunFailed, UserError

META_BLOCK = 1 << 20  # metadata in few large blocks: three times as fast as HDF5's own 2 kB
_ROOM = 1.02  # the output may be a little larger than the inputs together


def checked_whole_output(inputs: Sequence[str | Path], output: str | Path, *, overwrite: bool) -> Path:
    """The output's absolute path.

    Raises:
        UserError: it cannot be written to, exists, or is one of the inputs.
    """
    target = checked_output(output)
    if any(Path(path).exists() and target.exists() and target.samefile(path) for path in inputs):
        raise UserError("The output is one of the inputs.", where=str(target), do="choose another --output-file")
    if not overwrite:
        refuse_existing(target, resumable=False)
    return target


def refuse_full_disk(target: Path, needed: int) -> None:
    """RunFailed unless there is room for an output of inputs of `needed` bytes."""
    free = shutil.disk_usage(target.parent).free
    if free < needed * _ROOM:
        raise RunFailed(f"The new file takes about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free.", where=str(target.parent), do="free some space")


@contextmanager
def whole_file(target: Path, doing: str) -> Iterator[Path]:
    """Where to write the output, under a lock; it is moved to `target` at the end.

    Args:
        doing: what is being done, as the first word of a sentence.

    Raises:
        RunFailed: the block could not read or write. The target is as it was.
    """
    with write_lock(target):
        partial = partial_path(target)
        try:
            yield partial
            os.replace(partial, target)
        except (OSError, RuntimeError) as error:  # h5py raises either
            reason = getattr(error, "strerror", None) or error
            do = "free some space" if isinstance(error, OSError) and is_no_space(error) else "mimicctl dataset check finds what is wrong with an input"
            raise RunFailed(f"{doing} failed: {reason}.", where=str(target), do=do) from None
        finally:
            partial.unlink(missing_ok=True)
