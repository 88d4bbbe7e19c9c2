"""Checkpoints as files: robomimic's .pth, and safetensors. Reading one never runs code that is in it."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mimicctl.dataset.writer import refuse_existing
from mimicctl.errors import UserError
from mimicctl.provenance.checkpoints import REST, SAFETENSORS, refuse_tainted

_PLACE = "$tensor"


def read_checkpoint(path: Path, device: str) -> dict[str, Any]:
    """What is stored in a checkpoint: tensors, numpy arrays, numbers, texts, lists and dicts of them.

    A .pth is a pickle, which may name any function to be called while it is read; here only those that make tensors and arrays are, torch's `weights_only`.

    Raises:
        UserError: it asks for code to be run, or is no checkpoint.
    """
    import torch

    try:
        if path.suffix == SAFETENSORS:
            return _read_safetensors(path, device)
        with torch.serialization.safe_globals(_numpy_makers()):
            return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        asked = _code_in(path) if isinstance(error, pickle.UnpicklingError) else []
        if asked:
            what = f"Loading it would run code that the file names: {', '.join(asked)}. Nothing of it was run."
            raise UserError(what, where=str(path), do="get one from its maker with tensors and numbers only, or as safetensors") from None
        raise UserError(f"This is not a checkpoint ({type(error).__name__}).", where=str(path), do="give a model_epoch_N.pth") from None


def _numpy_makers() -> list[Callable[..., Any]]:
    """What a pickle of numpy arrays and numbers calls: the statistics in robomimic's own checkpoints."""
    from numpy._core.multiarray import _reconstruct, scalar

    return [_reconstruct, scalar, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"))]


def _code_in(path: Path) -> list[str]:
    """Names of what the pickle wants to call beyond that; found by reading its instructions, not by following them."""
    import torch

    try:
        with torch.serialization.safe_globals(_numpy_makers()):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # not a zip, or not a pickle: then nothing can be said about it
        return []


def write_checkpoint(contents: Mapping[str, Any], path: Path) -> None:
    """Appears at `path` whole, or not at all. What a network has learnt tells about its data, so the file is for its owner alone."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        if path.suffix == SAFETENSORS:
            file.write(_as_safetensors(contents))
        else:
            import torch

            torch.save(dict(contents), file)
    os.replace(partial, path)


def to_safetensors(source: Path, target: Path | None, *, overwrite: bool = False) -> Path:
    """Write a checkpoint anew as safetensors, with all that is in it. Returns where it is: beside `source`, if not said.

    Raises:
        UserError: `source` is no checkpoint, or its data have been withdrawn; or the output exists, or cannot be written.
    """
    if not source.is_file():
        raise UserError("There is no such file.", where=str(source), do="give a model_epoch_N.pth")
    refuse_tainted([source])
    target = (target or source.with_suffix(SAFETENSORS)).expanduser().absolute()
    if target.suffix != SAFETENSORS:
        raise UserError(f'"{target.name}" should end in {SAFETENSORS}.', where=str(target), do="add the suffix")
    if not overwrite:
        refuse_existing(target, resumable=False)
    contents = read_checkpoint(source, "cpu")
    if not isinstance(contents, dict) or "model" not in contents:
        raise UserError("This holds no policy.", where=str(source), do="give a model_epoch_N.pth")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(contents, target)
    except OSError as error:
        raise UserError(f"The checkpoint cannot be written: {error.strerror}.", where=str(target), do="choose another --output-file") from None
    return target


def _as_safetensors(contents: Mapping[str, Any]) -> bytes:
    from safetensors.torch import save

    tensors: dict[str, Any] = {}
    rest = _without_tensors(contents, (), tensors)
    return save(tensors, metadata={"format": "pt", REST: json.dumps(rest)})


def _read_safetensors(path: Path, device: str) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt", device=device) as file:
        return _with_tensors(json.loads(file.metadata()[REST]), file.get_tensor)


def _without_tensors(value: Any, place: tuple[str, ...], tensors: dict[str, Any]) -> Any:
    """`value` with a place holder for each tensor and array, which go to `tensors`."""
    import torch

    if isinstance(value, Mapping):
        return {str(key): _without_tensors(part, (*place, str(key)), tensors) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_tensors(part, (*place, str(i)), tensors) for i, part in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, torch.Tensor):
        name = ".".join(place)
        tensors[name] = value.contiguous().clone()  # two names may not share memory
        return {_PLACE: name}
    return value


def _with_tensors(value: Any, tensor: Callable[[str], Any]) -> Any:
    if isinstance(value, list):
        return [_with_tensors(part, tensor) for part in value]
    if isinstance(value, dict):
        return tensor(value[_PLACE]) if value.keys() == {_PLACE} else {key: _with_tensors(part, tensor) for key, part in value.items()}
    return value
