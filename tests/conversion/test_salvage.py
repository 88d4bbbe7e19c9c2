"""What a crashed LeRobot session leaves, made of a dataset of ours; what the real one leaves is tested in test_lerobot_real."""

from __future__ import annotations

import hashlib
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mimicctl.conversion.lerobot.folder import LeRobotFolder
from mimicctl.conversion.lerobot.footer import schema_of, without_footer
from mimicctl.conversion.lerobot.from_lerobot import from_lerobot
from mimicctl.conversion.lerobot.salvage import salvage
from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import RunFailed, UserError
from mimicctl.video import read_frames
from tests.cameras import camera_file
from tests.conversion.test_lerobot import differences, edit_info, states_file

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
TABLE_CAM = "observation.images.table_cam"
VIDEO = f"videos/{TABLE_CAM}/chunk-000/file-000.mp4"


@pytest.fixture
def there(tmp_path) -> Path:
    """A sound dataset of four episodes of 12, 14, 16 and 18 steps, two cameras."""
    return to_lerobot(camera_file(tmp_path / "a.hdf5", 4), tmp_path / "there").folder


def cut_footer(path: Path) -> None:
    """As a writer that was killed leaves it."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 8 - int.from_bytes(content[-8:-4], "little")])


def crash(root: Path) -> Path:
    cut_footer(root / DATA)
    shutil.rmtree(root / "meta/episodes")
    return root


def end_video_before(root: Path, episodes: int) -> None:
    """Pictures of the first few episodes alone."""
    from mimicctl.conversion.lerobot.folder import Clip
    from mimicctl.conversion.lerobot.splicing import Splice

    path = root / VIDEO
    with Splice(path.with_name("new.mp4"), 20) as video:
        video.append(Clip(path, 0), sum(12 + 2 * i for i in range(episodes)))
    path.with_name("new.mp4").replace(path)


def put_images(root: Path, number: int, count: int) -> None:
    from PIL import Image

    folder = root / "images" / TABLE_CAM / f"episode-{number:06d}"
    folder.mkdir(parents=True)
    for t in range(count):
        Image.fromarray(np.full((40, 48, 3), 10 * t, np.uint8)).save(folder / f"frame-{t:06d}.png")


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_what_was_never_closed_comes_back_bit_for_bit(tmp_path, there):
    from_lerobot(there, tmp_path / "before.hdf5")
    before = content(crash(there))
    made = salvage(there, tmp_path / "saved")
    assert (made.saved, made.frames, made.lost, made.encoded, made.notes) == ((0, 1, 2, 3), 60, (), (), ())
    assert content(there) == before, "the damaged one stays as it is"
    from_lerobot(tmp_path / "saved", tmp_path / "after.hdf5")
    assert not differences(tmp_path / "before.hdf5", tmp_path / "after.hdf5"), "pictures too, since nothing was encoded again"
    assert not LeRobotFolder(tmp_path / "saved").damage() and not list(tmp_path.glob(".*"))


def test_wherever_the_rows_are_cut_off_whole_episodes_are_saved_and_no_others(tmp_path):
    there = crash(to_lerobot(states_file(tmp_path / "a.hdf5"), tmp_path / "there").folder)
    whole = (there / DATA).read_bytes()
    features = json.loads((there / "meta/info.json").read_text())["features"]
    ends = [0]
    schema, widths = schema_of(features)
    file, _ = without_footer(there / DATA, schema, widths)
    for group in range(file.num_row_groups):
        columns = [file.metadata.row_group(group).column(i) for i in range(len(widths))]
        ends.append(max((c.dictionary_page_offset or c.data_page_offset) + c.total_compressed_size for c in columns))
    assert len(ends) == 6
    for end, after in pairwise(ends):
        for cut in {end, (end + after) // 2, after - 1} - {0, after}:
            (there / DATA).write_bytes(whole[:cut])
            whole_ones = sum(other <= cut for other in ends[1:])
            if not whole_ones:
                with pytest.raises(RunFailed, match="no episode is whole"):
                    salvage(there, tmp_path / "saved", overwrite=True)
                continue
            made = salvage(there, tmp_path / "saved", overwrite=True)
            assert made.saved == tuple(range(whole_ones)) and [lost.episode for lost in made.lost] == list(range(whole_ones, 5))
            assert ("was cut off" in "".join(made.notes)) == (cut not in ends)
    from_lerobot(tmp_path / "saved", tmp_path / "after.hdf5")
    with Dataset(tmp_path / "a.hdf5") as a, Dataset(tmp_path / "after.hdf5") as b:
        assert b.demos == a.demos[:4] and all(np.array_equal(a.group(name)["actions"][()], b.group(name)["actions"][()]) for name in b.demos)


def test_an_episode_whose_last_rows_were_in_a_group_that_is_gone_is_lost(tmp_path):
    """Other programs than LeRobot's recorder put rows into groups without regard to episodes."""
    there = to_lerobot(states_file(tmp_path / "a.hdf5"), tmp_path / "there").folder
    pq.write_table(pq.read_table(there / DATA), there / DATA, row_group_size=10, write_page_checksum=True)
    first = pq.ParquetFile(there / DATA).metadata.row_group(3).column(0)
    (there / DATA).write_bytes((there / DATA).read_bytes()[: (first.dictionary_page_offset or first.data_page_offset) + 5])
    made = salvage(there, tmp_path / "saved")
    assert (made.saved, made.frames) == ((0, 1), 12 + 13)
    assert (made.lost[0].episode, made.lost[0].because) == (2, "it has 5 rows, and the table of episodes says 14")


def test_pictures_that_were_not_encoded_yet_are(tmp_path, there):
    crash(there)
    end_video_before(there, 3)
    put_images(there, 3, 18)
    put_images(there, 4, 5)
    made = salvage(there, tmp_path / "saved")
    assert made.saved == (0, 1, 2, 3) and made.encoded == (3,)
    assert [(lost.episode, lost.because) for lost in made.lost] == [
        (4, "it was being recorded: a camera has 5 pictures of it, and its numbers were in memory only")
    ]
    last = LeRobotFolder(tmp_path / "saved").episodes[3]
    clip = last.clips[TABLE_CAM]
    seen = [frame.mean() for frame in read_frames(clip.video, (48, 40), clip.first / 20)]
    assert np.allclose(seen, 10 * np.arange(18), atol=2)


@pytest.mark.parametrize(
    ("images", "because"),
    [(0, "the videos of observation.images.table_cam end before it does"), (17, "observation.images.table_cam has 17 pictures of it, not 18")],
)
def test_an_episode_without_all_its_pictures_is_lost(tmp_path, there, images, because):
    crash(there)
    end_video_before(there, 3)
    put_images(there, 3, images)
    made = salvage(there, tmp_path / "saved")
    assert made.saved == (0, 1, 2) and [(lost.episode, lost.because) for lost in made.lost] == [(3, because)]
    assert LeRobotFolder(tmp_path / "saved").info["total_episodes"] == 3


def test_a_video_that_was_cut_off_costs_the_episodes_in_it(tmp_path, there):
    crash(there)
    (there / VIDEO).write_bytes((there / VIDEO).read_bytes()[:-100])  # its table of contents is at its end
    put_images(there, 1, 14)
    made = salvage(there, tmp_path / "saved")
    assert made.saved == (1,) and {lost.because for lost in made.lost} == {f"{VIDEO} was cut off, and no picture in it can be read"}
    (entry,) = LeRobotFolder(tmp_path / "saved").episodes
    assert (entry.number, entry.first, entry.length) == (0, 0, 14)


def test_rows_in_the_middle_that_are_gone_cost_their_episode_alone_where_the_table_of_episodes_is_there(tmp_path, there):
    from_lerobot(there, tmp_path / "before.hdf5")
    whole = pq.read_table(there / DATA)
    numbers = whole["episode_index"].to_numpy()
    pq.write_table(whole.filter(pa.array((numbers != 1) | (whole["frame_index"].to_numpy() != 3))), there / DATA)
    made = salvage(there, tmp_path / "saved")
    assert made.saved == (0, 2, 3) and [(lost.episode, lost.because) for lost in made.lost] == [(1, "some of its rows are missing")]
    from_lerobot(tmp_path / "saved", tmp_path / "after.hdf5")
    with Dataset(tmp_path / "before.hdf5") as a, Dataset(tmp_path / "after.hdf5") as b:
        assert b.demos == ("demo_0", "demo_2", "demo_3"), "what lies beside the dataset goes along"
        for name in b.demos:
            assert np.array_equal(a.group(name)["obs/table_cam"][()], b.group(name)["obs/table_cam"][()])


def test_without_the_table_of_episodes_nobody_knows_whose_pictures_come_after_rows_that_are_gone(tmp_path, there):
    whole = pq.read_table(there / DATA)
    pq.write_table(whole.filter(pa.array(whole["episode_index"].to_numpy() != 1)), there / DATA)
    shutil.rmtree(there / "meta/episodes")
    made = salvage(there, tmp_path / "saved")
    assert made.saved == (0,) and {lost.episode for lost in made.lost} == {1, 2, 3}


def test_an_instruction_that_is_lost_is_said(tmp_path, there):
    crash(there)
    (there / "meta/tasks.parquet").write_bytes(b"")
    made = salvage(there, tmp_path / "saved")
    assert len(made.saved) == 4 and "meta/tasks.parquet is damaged" in made.notes[0]
    assert LeRobotFolder(tmp_path / "saved").tasks == ["task 0"]


@pytest.mark.parametrize(
    ("change", "output", "said"),
    [
        (lambda root: (root / "meta/info.json").write_text('{"fps": 2'), "saved", "What the dataset says of itself is lost."),
        (lambda root: (root / "meta/info.json").unlink(), "saved", "no meta/info.json"),
        (lambda root: edit_info(root, codebase_version="v2.1"), "saved", "version 2.1"),
        (lambda root: None, "there/saved", "cannot go into the damaged dataset itself"),
        (lambda root: None, "there", "cannot go into the damaged dataset itself"),
        (lambda root: None, ".", "exists already"),
        (lambda root: edit_info(root, features={"action": {"dtype": "dream", "shape": [3]}}), "saved", "of a kind that is not known"),
    ],
)
def test_what_cannot_be_salvaged_is_refused_and_nothing_is_written(tmp_path, there, change, output, said):
    change(there)
    before = content(tmp_path)
    with pytest.raises(UserError, match=said):
        salvage(there, tmp_path / output)
    assert content(tmp_path) == before


def test_a_folder_that_is_something_else_is_not_replaced(tmp_path, there):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="something else"):
        salvage(there, tmp_path / "saved", overwrite=True)


def test_the_command(mimicctl, tmp_path, there):
    crash(there)
    end_video_before(there, 3)
    made = mimicctl("dataset", "salvage", "there")
    assert made.returncode == 0, made.stderr
    assert "3 episodes, 42 frames" in made.stdout and "end before it does" in made.stdout and "there_salvaged" in made.stdout
    again = mimicctl("dataset", "salvage", "there")
    assert again.returncode == 2 and "--overwrite" in again.stderr
    told = json.loads(mimicctl("dataset", "salvage", "there", "--overwrite", "--json").stdout)
    assert told["saved"] == [0, 1, 2] and told["lost"][0]["episode"] == 3
    repaired = mimicctl("dataset", "salvage", "a.hdf5")
    assert repaired.returncode == 2 and "dataset repair" in repaired.stderr


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"data_page_size": 200}, {"dictionary_pagesize_limit": 100}])
def test_a_footer_is_made_for_whatever_columns_there_are(tmp_path, options):
    features = {
        "action": {"dtype": "float32", "shape": [3]},
        "observation.tactile": {"dtype": "float32", "shape": [2, 4]},
        "observation.images.side": {"dtype": "image", "shape": [4, 4, 3]},
        "next.done": {"dtype": "bool", "shape": [1]},
        "language": {"dtype": "string", "shape": [1]},
        "index": {"dtype": "int64", "shape": [1]},
    }
    schema, widths = schema_of(features)
    rng = np.random.default_rng(0)
    tables = []
    for rows in (1, 17, 300):
        columns = {
            "action": rng.normal(size=(rows, 3)).round(1).tolist(),
            "observation.tactile": rng.normal(size=(rows, 2, 4)).tolist(),
            "observation.images.side": [{"bytes": rng.bytes(20 + i % 7), "path": None} for i in range(rows)],
            "next.done": (rng.random(rows) < 0.5).tolist(),
            "language": [f"word {i % 3}" for i in range(rows)],
            "index": list(range(rows)),
        }
        tables.append(pa.table(columns, schema=schema))
    path = tmp_path / "a.parquet"
    with pq.ParquetWriter(path, schema, compression="snappy", **options) as writer:
        for table in tables:
            writer.write_table(table)
    cut_footer(path)
    file, rest = without_footer(path, schema, widths)
    assert rest == 0 and file.num_row_groups == 3 and file.read().equals(pa.concat_tables(tables))
