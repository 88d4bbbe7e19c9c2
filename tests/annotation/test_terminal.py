"""Annotating by hand in a real pseudo-terminal."""

from __future__ import annotations

from mimicctl.dataset.reader import Dataset
from tests.recording.test_recording import Terminal

MARK_THREE = "]]]s]]]s]]]s"


def test_what_was_accepted_is_kept_when_it_is_stopped(tmp_path, source_file):
    terminal = Terminal(tmp_path, "annotate", "--manual", "--input-file", str(source_file), "--output-file", "marked.hdf5")
    terminal.wait_for("mark where grasp_1")
    terminal.type(MARK_THREE)
    terminal.wait_for("all marked")
    terminal.type("n")
    terminal.wait_for("demo_1")
    terminal.type("\x03")
    assert terminal.finish() == 0, terminal.output[-1500:]
    with Dataset(tmp_path / "marked.hdf5") as dataset:
        assert dataset.demos == ("demo_0",)
        signals = dataset.episode("demo_0").datagen_info
        assert [int(signals[f"subtask_term_signals/{name}"].argmax()) for name in ("grasp_1", "stack_1", "grasp_2")] == [30, 60, 90]


def test_nothing_is_written_when_it_is_stopped_at_once(tmp_path, source_file):
    terminal = Terminal(tmp_path, "annotate", "--manual", "--input-file", str(source_file), "--output-file", "marked.hdf5")
    terminal.wait_for("mark where grasp_1")
    terminal.type("\x03")
    assert terminal.finish() == 130
    assert not list(tmp_path.iterdir())


def test_a_second_sitting_goes_on_where_the_first_stopped(tmp_path, source_file):
    flags = ("annotate", "--manual", "--input-file", str(source_file), "--output-file", "marked.hdf5")
    terminal = Terminal(tmp_path, *flags)
    terminal.wait_for("mark where grasp_1")
    terminal.type("]]]s")
    terminal.wait_for("mark where stack_1")
    terminal.type("\x03")
    assert terminal.finish() == 130
    assert [path.name for path in tmp_path.iterdir()] == ["marked.marks.json"]
    terminal = Terminal(tmp_path, *flags, "--resume")
    terminal.wait_for("mark where stack_1")
    terminal.type("\t")
    terminal.wait_for("gripper closes")
    terminal.type("]]]]s]]]sn")
    terminal.wait_for("demo_1")
    terminal.type("\x03")
    assert terminal.finish() == 0, terminal.output[-1500:]
    with Dataset(tmp_path / "marked.hdf5") as dataset:
        assert dataset.demos == ("demo_0",)
