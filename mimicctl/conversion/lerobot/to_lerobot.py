"""HDF5 to a LeRobot dataset: a new one, or more episodes of one that is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from mimicctl.conversion.lerobot.features import Layout, instruction_for, plan_layout
from mimicctl.conversion.lerobot.folder import DATA, INFO, VIDEOS, LeRobotFolder
from mimicctl.conversion.lerobot.parquet import import_pyarrow
from mimicctl.conversion.lerobot.replacing import put_in_place, refuse_stranger
from mimicctl.conversion.lerobot.sidecar import FOLDER, Sidecar, identity_of, source_path, sources_of, write_source
from mimicctl.conversion.lerobot.writer import LeRobotWriter
from mimicctl.dataset.committed_file import write_lock
from mimicctl.dataset.masks import without_discarded
from mimicctl.dataset.reader import Dataset, json_object
from mimicctl.dataset.writer import is_no_space
from mimicctl.envs.conditions import OF_THE_ENV
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.video import import_av


@dataclass(frozen=True)
class Exported:
    """What a conversion made.

    Attributes:
        layout: of the dataset.
        demos: that became episodes.
        there: demos that were episodes already.
        episodes, frames: of the whole dataset.
    """

    folder: Path
    layout: Layout
    instruction: str
    demos: int
    there: int
    episodes: int
    frames: int


def to_lerobot(
    input_file: str | Path,
    output_dir: str | Path,
    *,
    fps: int | None = None,
    state_keys: Sequence[str] = (),
    environment_keys: Sequence[str] = (),
    cameras: Sequence[str] = (),
    instruction: str = "",
    filter_key: str = "",
    discarded: bool = True,
    append: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write each demo as an episode. Memory does not grow with the number of demos.

    A new dataset is collected in `<output_dir>.partial` and gets its name when it is complete. One that is there is continued in place, a batch of episodes
    at a time; it is whole after each of them. Demos that are in it already are left out, so that an interrupted conversion is repeated to go on.

    Args:
        fps, state_keys, environment_keys, cameras: see `plan_layout`.
        instruction: the task in words; "": its description.
        filter_key: only demos of that mask.
        discarded: those that are marked as such too.
        append: add to a dataset that is there.
        resume: go on with a conversion of the same file.

    Raises:
        UserError: demos and dataset do not fit together, all of it listed, or the folder exists. Nothing was written.
        RunFailed: a demo could not be read or written. The episodes before it stay.
    """
    import_pyarrow()
    folder = Path(output_dir).expanduser().absolute()
    with ExitStack() as stack:
        dataset = stack.enter_context(Dataset(input_file))
        demos = _chosen(dataset, filter_key, discarded=discarded)
        layout = plan_layout(dataset, demos, fps=fps, state_keys=state_keys, environment_keys=environment_keys, cameras=cameras)
        if layout.cameras:
            import_av()
        in_place = folder.exists() and (append or resume) and not overwrite
        if folder.exists() and not (in_place or overwrite):
            do = "--append adds episodes, --resume continues a conversion of the same file, --overwrite replaces it"
            raise UserError("The folder exists already.", where=str(folder), do=do)
        if overwrite:
            refuse_stranger(folder)
        if append and not folder.exists():
            raise UserError("There is no dataset to append to.", where=str(folder), do="leave out --append to make it")
        work = folder if in_place else folder.with_name(f"{folder.name}.partial")
        _make_parent(folder)
        stack.enter_context(write_lock(folder))
        if not in_place and not resume and work.exists():
            if not overwrite:
                do = "--resume continues it, --overwrite starts again"
                raise UserError("An earlier conversion was interrupted, and its episodes are still there.", where=str(work), do=do)
            shutil.rmtree(work)
        identities = {name: identity_of(dataset, name) for name in demos}
        # A conversion that was killed before its first batch has left nothing that counts.
        begun = in_place or (work / INFO).is_file()
        known, there = _continued(work, layout, dataset, identities, only_these=resume) if begun else (None, set())
        todo = [name for name in demos if identities[name] not in there]
        said = instruction or instruction_for(dataset)
        if todo:
            _write(dataset, todo, identities, work, layout, known, said, len(demos), on_progress)
        on_progress(len(demos), len(demos))
        if not in_place:
            put_in_place(work, folder)
    whole = LeRobotFolder(folder)
    return Exported(folder, layout, said, len(todo), len(demos) - len(todo), whole.info["total_episodes"], whole.info["total_frames"])


def _chosen(dataset: Dataset, filter_key: str, *, discarded: bool) -> tuple[str, ...]:
    names = set(dataset.masks.get(filter_key, ())) if filter_key else dataset.demos
    demos = tuple(name for name in dataset.demos if name in names)
    if not demos:
        raise UserError(f'No demo is in the mask "{filter_key}".', where=str(dataset.path), do=f"it has {', '.join(dataset.masks) or 'no masks'}")
    kept = demos if discarded else without_discarded(dataset, demos)
    if not kept:
        raise UserError("All demonstrations are marked as discarded.", where=str(dataset.path), do="mimicctl web changes that")
    return kept


def _make_parent(folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder: {error.strerror}.", where=str(folder.parent), do="choose another --output-dir") from None


def _continued(work: Path, layout: Layout, dataset: Dataset, identities: Mapping[str, str], *, only_these: bool) -> tuple[LeRobotFolder, set[str]]:
    """The dataset that is there, and the identities of its episodes.

    Raises:
        UserError: it is of another format, or (`only_these`) not of this conversion.
    """
    known = LeRobotFolder(work)
    with Sidecar(work) as sidecar:
        if problems := _differences(known, layout, sidecar, dataset):
            do = "choose another --output-dir, or give the --fps, --state-keys, --environment-keys and --cameras that it was made with"
            raise UserError(f"{work} is of another format; nothing was written.", where=listed(problems), do=do)
        there = {origin.identity for origin in sidecar.origins(len(known.episodes)) if origin}
    if only_these and (len(there) != len(known.episodes) or not there <= set(identities.values())):
        raise UserError("The dataset has episodes of other files.", where=str(work), do="--append adds to it, --overwrite makes it anew")
    return known, there


def _differences(known: LeRobotFolder, layout: Layout, sidecar: Sidecar, dataset: Dataset) -> list[str]:
    """What keeps episodes of `layout` from being added, each as `what it has, not what is wanted`."""
    found = [] if known.fps == layout.fps else [f"fps {known.fps:g}, not {layout.fps}"]
    paths = {"data_path": DATA} | ({"video_path": VIDEOS} if known.videos else {})
    found += [f"{key} {known.info[key]}, not {path}" for key, path in paths.items() if known.info[key] != path]
    if known.info.get("robot_type") not in (layout.robot, None):
        found.append(f"robot {known.info['robot_type']}, not {layout.robot}")
    ours = layout.features()
    for name in dict.fromkeys([*known.features, *ours]):
        theirs, wanted = known.features.get(name), ours.get(name)
        if theirs is None or wanted is None:
            found.append(f"{'no' if theirs is None else 'a'} feature {name}")
            continue
        # The encoder of videos may be another.
        for key in ("dtype", "shape", "names"):
            if (has := _plain(theirs.get(key))) != (should := _plain(wanted[key])):
                found.append(f"{name}: {key} {has}, not {should}")
    for source in sidecar.sources:
        # What a file says of quaternions, and of the env.
        of_file, of_data = dict(source.attrs), source["data"].attrs.get("env_args")
        if of_file.get("format_version", 0) != dataset.format_version:
            found.append(f"format_version {of_file.get('format_version', 0)} of {source.filename}, not {dataset.format_version}")
        if _lasting(json_object(of_data)) != _lasting(dataset.env_args):
            found.append(f"env_args {of_data} of {source.filename}, not {dataset.env_args}")
    return found


def _lasting(env_args: Mapping[str, Any]) -> dict[str, Any]:
    """Without the conditions of a session, which may change from one to the next."""
    sim_args = env_args.get("sim_args")
    if not isinstance(sim_args, Mapping):
        return dict(env_args)
    return {**env_args, "sim_args": {key: value for key, value in sim_args.items() if key not in OF_THE_ENV}}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _write(
    dataset: Dataset,
    todo: Sequence[str],
    identities: Mapping[str, str],
    work: Path,
    layout: Layout,
    known: LeRobotFolder | None,
    instruction: str,
    total: int,
    on_progress: Callable[[int, int], None],
) -> None:
    name = ""
    try:
        source = _source_number(work, dataset)
        with LeRobotWriter(work, layout, known) as writer:
            for i, name in enumerate(todo):
                on_progress(total - len(todo) + i, total)
                writer.append(dataset, name, instruction, source, identities[name])
    except ValueError as error:
        raise RunFailed(f"The demo cannot be converted: {error}.", where=f"{name} of {dataset.path}", do="mimicctl dataset check; --resume continues") from None
    except (OSError, RuntimeError) as error:  # h5py raises either
        full = isinstance(error, OSError) and is_no_space(error)
        do = "free some space; --resume continues" if full else "mimicctl dataset check tells whether the dataset is whole; --resume continues"
        raise RunFailed(f"The episode cannot be written: {getattr(error, 'strerror', None) or error}.", where=f"{name} of {dataset.path}", do=do) from None


def _source_number(work: Path, dataset: Dataset) -> int:
    """The file's copy without demos in the sidecar; one that says the same is used again."""
    (work / FOLDER).mkdir(parents=True, exist_ok=True)
    paths = sources_of(work)
    fresh = source_path(work, len(paths))
    hidden = fresh.with_name(f".{fresh.name}.partial")
    write_source(dataset, hidden)
    for number, path in enumerate(paths):
        if _same(path, hidden):
            hidden.unlink()
            return number
    hidden.replace(fresh)
    return len(paths)


def _same(path: Path, other: Path) -> bool:
    with h5py.File(path) as a, h5py.File(other) as b:
        return _content(a) == _content(b)


def _content(file: h5py.File) -> dict[str, Any]:
    found: dict[str, Any] = {"": {key: str(value) for key, value in file.attrs.items()}}

    def visit(path: str, item: h5py.Group | h5py.Dataset) -> None:
        found[path] = {key: str(value) for key, value in item.attrs.items()}, item[()].tolist() if isinstance(item, h5py.Dataset) else None

    file.visititems(visit)
    return found
