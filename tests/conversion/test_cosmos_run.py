"""Runs over all demos with a real program in Cosmos's place: failures, checks, several GPUs, kill, resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mimicctl.conversion.cosmos_command import Task, from_checkout, from_template, gpu_groups
from mimicctl.conversion.cosmos_run import LEDGER, run_cosmos
from mimicctl.conversion.specs import HyperParameters, write_specs
from mimicctl.dataset.reader import Dataset, file_sha256
from mimicctl.errors import RunFailed, UserError
from mimicctl.video import VideoWriter, probe, read_frames
from tests.cameras import camera_file
from tests.conftest import ROOT

AUGMENT = f"{sys.executable} {ROOT / 'tests' / 'conversion' / 'augment.py'} {{spec}} {{output}}"
DEMOS = [f"demo_{i}" for i in range(4)]


@pytest.fixture
def work(tmp_path) -> Path:
    """A folder with videos/ of four demos of 3 to 6 frames, and their specs/."""
    (tmp_path / "videos").mkdir()
    for i, demo in enumerate(DEMOS):
        with VideoWriter(tmp_path / "videos" / f"{demo}_table_cam.mp4", (64, 48), 30) as writer:
            for _ in range(3 + i):
                writer.write(np.full((12, 16, 3), (200, 30, 60), np.uint8))
    write_specs(tmp_path / "videos", tmp_path / "specs", ["a prompt"], HyperParameters("", (1, 1, 0, 0)))
    return tmp_path


def run(work: Path, extra: str = "", groups: list[tuple[str, ...]] | None = None, **options):
    return run_cosmos(work / "specs", work / "out", lambda model: from_template(f"{AUGMENT} {extra}"), groups or [()], **options)


def videos(work: Path) -> list[str]:
    return sorted(path.name for path in (work / "out").glob("*.mp4"))


def log_of(work: Path) -> list[dict]:
    return [json.loads(line) for line in (work / "log").read_text().splitlines()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


# Results ----------------------------------------------------------------------------------------------


def test_every_demo_gets_its_video_and_a_line_in_the_ledger(work):
    seen = []
    report = run(work, on_progress=lambda *counts: seen.append(counts))
    assert report.made == DEMOS and seen[0] == (0, 0, 4) and seen[-1] == (4, 0, 4)
    assert sorted(p.name for p in (work / "out").iterdir()) == sorted([LEDGER, "logs", *(f"{d}_table_cam.mp4" for d in DEMOS)])
    for i, demo in enumerate(DEMOS):
        path = work / "out" / f"{demo}_table_cam.mp4"
        frame = next(read_frames(path, (16, 12)))[6, 8]
        assert probe(path).frames == 3 + i and np.abs(frame.astype(int) - (60, 30, 200)).max() <= 4
    entry = [json.loads(line) for line in (work / "out" / LEDGER).read_text().splitlines()][2]
    assert (entry["demo"], entry["frames"], entry["video_sha256"]) == ("demo_2", 5, file_sha256(work / "out" / "demo_2_table_cam.mp4"))
    assert entry["command"][1].endswith("augment.py") and "working on demo_2" in (work / "out" / "logs" / "demo_2.log").read_text()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("fail", "ended with exit code 1: CUDA out of memory"),
        ("crash", "ended with signal SIGSEGV: working on demo_1"),
        ("nothing", "ended without writing output.mp4"),
        ("garbage", "output.mp4 is not a readable video"),
        ("short", "the result has 3 frames, and its input 4"),
    ],
)
def test_a_demo_that_fails_is_named_with_the_reason_and_the_others_are_made(work, fault, reason):
    with pytest.raises(RunFailed, match="1 of 4 demos") as caught:
        run(work, f"--{fault} demo_1")
    assert f"demo_1: {reason} (log: {work / 'out' / 'logs' / 'demo_1.log'})" in caught.value.where and "--resume" in caught.value.do
    assert videos(work) == [f"demo_{i}_table_cam.mp4" for i in (0, 2, 3)]
    before = {name: (work / "out" / name).stat().st_mtime_ns for name in videos(work)}
    report = run(work, resume=True)
    assert report.made == ["demo_1"] and len(report.kept) == 3
    assert all((work / "out" / name).stat().st_mtime_ns == t for name, t in before.items())


def test_where_all_fail_the_rest_is_not_tried(work):
    with pytest.raises(RunFailed, match="first 3 demos all failed, so the other 1 were not tried"):
        run(work, f"--log {work / 'log'} --fail {','.join(DEMOS)}")
    assert [line["demo"] for line in log_of(work)] == DEMOS[:3]


# GPUs -------------------------------------------------------------------------------------------------


def test_each_gpu_has_one_demo_at_a_time_and_all_are_used(work):
    run(work, f"--log {work / 'log'} --seconds 0.5", groups=[("3",), ("5",)])
    lines = log_of(work)
    assert {line["gpu"] for line in lines} == {"3", "5"}
    for gpu in ("3", "5"):
        assert [line["what"] for line in lines if line["gpu"] == gpu] == ["start", "end"] * (sum(line["gpu"] == gpu for line in lines) // 2)
    spans = {line["demo"]: [other["time"] for other in lines if other["demo"] == line["demo"]] for line in lines}
    first, second = spans["demo_0"], spans["demo_1"]
    assert max(first[0], second[0]) < min(first[1], second[1]), "the first two did not run at the same time"


def test_groups_see_their_gpus_and_the_placeholder_names_them(work):
    run(work, f"--log {work / 'log'} --fail no_demo_{{gpu}}", groups=[("0", "2")])
    assert {line["gpu"] for line in log_of(work)} == {"0,2"}
    assert "no_demo_0,2" in json.loads((work / "out" / LEDGER).read_text().splitlines()[0])["command"]


@pytest.mark.parametrize(
    ("wanted", "per_job", "environ", "groups"),
    [
        ("0,1, 2", 1, {}, [("0",), ("1",), ("2",)]),
        ("0,1,2,3", 2, {}, [("0", "1"), ("2", "3")]),
        ("", 1, {"CUDA_VISIBLE_DEVICES": "4,GPU-abc"}, [("4",), ("GPU-abc",)]),
        ("", 1, {"CUDA_VISIBLE_DEVICES": ""}, [()]),
    ],
)
def test_gpus_are_grouped(monkeypatch, wanted, per_job, environ, groups):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert gpu_groups(wanted, per_job, needed=False) == groups


@pytest.mark.parametrize(
    ("wanted", "per_job", "message"), [("0,1,2", 2, "cannot be shared out in groups of 2"), ("1,1", 1, "named twice"), ("", 1, "no GPU to run Cosmos on")]
)
def test_gpus_that_cannot_be_used_so_are_refused(monkeypatch, wanted, per_job, message):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=message):
        gpu_groups(wanted, per_job, needed=True)


def test_gpus_are_counted_by_nvidia_smi(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA (UUID: a)'\necho '  MIG 1g'\necho 'GPU 1: NVIDIA (UUID: b)'\n")
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpu_groups("", 2, needed=True) == [("0", "1")]


# Interruptions ----------------------------------------------------------------------------------------


def started(work: Path, *extra: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mimicctl", "cosmos", "run", "--specs-dir", "specs", "--output-dir", "out", "--gpus", "0,1", *extra]
    slow = f"{AUGMENT} --log {work / 'log'} --seconds 1"
    return subprocess.Popen([*command, "--command", slow], cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_an_interrupted_run_leaves_no_process_and_is_resumed(work, number):
    process = started(work)
    wait_for(lambda: len(videos(work)) >= 1 and len(log_of(work)) >= 5)
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL) and "Traceback" not in log
    wait_for(lambda: not any(alive(line["pid"]) for line in log_of(work)), 20)
    left = videos(work)
    assert 1 <= len(left) < 4
    report = run(work, resume=True)
    assert [f"{demo}_table_cam.mp4" for demo in report.kept] == left and len(videos(work)) == 4
    assert not (work / "out" / ".work").exists()


def test_a_second_run_on_the_same_folder_is_refused(work):
    process = started(work)
    wait_for((work / "log").exists)
    with pytest.raises(UserError, match="Another process"):
        run(work)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_a_ledger_that_was_cut_short_does_not_keep_the_run_from_going_on(work):
    run(work)
    ledger = work / "out" / LEDGER
    ledger.write_text(ledger.read_text()[:-30])
    with pytest.raises(UserError, match="made otherwise") as caught:
        run(work, resume=True)
    assert "demo_3_table_cam.mp4: not made by mimicctl cosmos run" in caught.value.where
    (work / "out" / "demo_3_table_cam.mp4").unlink()
    assert run(work, resume=True).made == ["demo_3"]


# What is there ----------------------------------------------------------------------------------------


def test_results_are_kept_resumed_or_replaced_but_never_unasked(work):
    run(work)
    with pytest.raises(UserError, match=r"4 of 4 augmented videos exist[\s\S]*--resume[\s\S]*--overwrite"):
        run(work)
    assert run(work, resume=True).made == []
    assert run(work, overwrite=True).made == DEMOS
    assert run(work, resume=True).kept == DEMOS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda work: (work / "specs" / "demo_2.json").write_text((work / "specs" / "demo_2.json").read_text().replace("a prompt", "new")),
            "another control spec",
        ),
        (lambda work: (work / "out" / "demo_2_table_cam.mp4").write_bytes((work / "out" / "demo_1_table_cam.mp4").read_bytes()), "or changed since"),
        (lambda work: os.replace(work / "out" / "demo_0_table_cam.mp4", work / "videos" / "demo_2_table_cam.mp4"), "from another video"),
    ],
    ids=["spec changed", "result changed", "input changed"],
)
def test_resuming_refuses_results_of_something_else(work, change, message):
    run(work)
    change(work)
    with pytest.raises(UserError, match="made otherwise") as caught:
        run(work, resume=True)
    assert "demo_2_table_cam.mp4" in caught.value.where and message in caught.value.where


def test_unusable_specs_are_all_listed_and_nothing_is_started(work):
    (work / "specs" / "demo_0.json").write_text("{")
    (work / "specs" / "demo_1.json").write_text('{"prompt": "x"}')
    (work / "videos" / "demo_2_table_cam.mp4").unlink()
    (work / "specs" / "demo_3.json").write_text('{"input_video_path": "videos/demo_3_table_cam.mp4"}')
    with pytest.raises(UserError) as caught:
        run(work)
    for problem in ("demo_0.json: not a control spec", "demo_1.json: not a", "demo_2.json: its video", "demo_3.json: its paths must be absolute"):
        assert problem in caught.value.where
    assert not (work / "out").exists()
    with pytest.raises(UserError, match="no control specs"):
        run_cosmos(work, work / "out", lambda model: from_template(AUGMENT), [()])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("augment {spec}", "must say where the result goes"),
        ("augment {output}", "must say where the result goes"),
        ("augment {spec} {outptu} {output}", 'unknown placeholder "{outptu}"'),
        ("augment '{spec} {output}", "cannot be understood"),
        ("augment {spec {output}", "cannot be understood|unknown placeholder"),
        ("no-such-program {spec} {output}", 'no program "no-such-program"'),
    ],
)
def test_commands_that_cannot_work_are_refused(template, message):
    with pytest.raises(UserError, match=message):
        from_template(template)


def test_braces_that_are_doubled_are_the_commands_own():
    made = from_template("sh -c 'echo ${{HOME}}' {spec} {output}")(Task("demo_0", Path("/s"), "transfer1", Path("/v"), Path("/w")), ())
    assert made.arguments == ["sh", "-c", "echo ${HOME}", "/s", "/w/output.mp4"]


# A checkout -------------------------------------------------------------------------------------------


TORCHRUN = """#!{python}
import json, os, pathlib, shutil, sys
arguments = sys.argv[1:]
def after(flag): return arguments[arguments.index(flag) + 1]
old = "--controlnet_specs" in arguments
spec = json.loads(pathlib.Path(after("--controlnet_specs" if old else "-i")).read_text())
folder = pathlib.Path(after("--video_save_folder" if old else "-o"))
name = after("--video_save_name") if old else spec["name"]
shutil.copy(spec["input_video_path" if old else "video_path"], folder / f"{{name}}.mp4")
if not old:
    shutil.copy(spec["video_path"], folder / f"{{name}}_control_edge.mp4")
seen = {{"arguments": arguments, "gpu": os.environ["CUDA_VISIBLE_DEVICES"], "path": os.environ["PYTHONPATH"], "folder": os.getcwd()}}
(pathlib.Path(__file__).parents[2] / f"seen_{{len(list(pathlib.Path(__file__).parents[2].glob('seen_*')))}}.json").write_text(json.dumps(seen))
"""


def checkout_of(folder: Path, script: str) -> Path:
    """A folder that looks like the repository, with an environment whose torchrun notes what it was given and copies the video."""
    for path, content in ((script, ""), (".venv/bin/torchrun", TORCHRUN.format(python=sys.executable))):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    (folder / ".venv/bin/torchrun").chmod(0o755)
    return folder


@pytest.mark.parametrize("model", ["transfer1", "transfer2.5"])
def test_a_checkout_is_run_as_its_documentation_says(work, mimicctl, model):
    script = {"transfer1": "cosmos_transfer1/diffusion/inference/transfer.py", "transfer2.5": "examples/inference.py"}[model]
    checkout = checkout_of(work / "cosmos", script)
    (checkout / "checkpoints").mkdir()
    write_specs(work / "videos", work / "specs", ["p"], HyperParameters("", (1, 1, 0, 0)), model=model, overwrite=True)
    done = mimicctl(
        "cosmos", "run", "--specs-dir", "specs", "--output-dir", "out", "--checkout", "cosmos", "--gpus", "0,1,2,3", "--gpus-per-job", "2", cwd=work
    )
    assert done.returncode == 0, done.stderr
    assert f"Next: mimicctl convert mp4-to-hdf5 --videos-dir {work / 'out'}" in done.stdout
    assert videos(work) == [f"{demo}_table_cam.mp4" for demo in DEMOS], "by-products of Cosmos must not lie among the results"
    seen = [json.loads(path.read_text()) for path in checkout.glob("seen_*.json")]
    assert {s["gpu"] for s in seen} == {"0,1", "2,3"}
    for s in seen:
        assert s["folder"] == s["path"] == str(checkout) and "--nproc_per_node=2" in s["arguments"]
    if model == "transfer1":
        arguments = seen[0]["arguments"]
        assert script in arguments and "--offload_text_encoder_model" in arguments and "--offload_guardrail_models" in arguments
        assert arguments[arguments.index("--num_gpus") + 1] == "2"
        assert arguments[arguments.index("--checkpoint_dir") + 1] == str(checkout / "checkpoints")
    else:
        assert seen[0]["arguments"][4:6] == ["-m", "examples.inference"]


def test_what_is_missing_of_a_checkout_is_said(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no checkout of Cosmos Transfer1"):
        from_checkout(tmp_path, "", "transfer1")
    checkout_of(tmp_path, "cosmos_transfer1/diffusion/inference/transfer.py")
    with pytest.raises(UserError, match="no folder of checkpoints"):
        from_checkout(tmp_path, "", "transfer1")
    (tmp_path / ".venv/bin/torchrun").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="torchrun is not found"):
        from_checkout(tmp_path, "", "transfer1")


# As it is typed ---------------------------------------------------------------------------------------


def test_the_whole_way_with_no_names_given(tmp_path, mimicctl):
    """Pictures to videos, prompts, specs, augmentation, back, and merged with the originals: each step finds the last one's output."""
    (tmp_path / "datasets").mkdir()
    camera_file(tmp_path / "datasets" / "generated.hdf5", 2)
    steps = [
        ["convert", "hdf5-to-mp4", "--video-width", "96", "--video-height", "80"],
        ["cosmos", "prompts", "--num-prompts", "2"],
        ["cosmos", "specs"],
        ["cosmos", "run", "--command", AUGMENT],
        ["convert", "mp4-to-hdf5"],
        ["merge"],
    ]
    for arguments in steps:
        done = mimicctl(*arguments)
        assert done.returncode == 0, done.stderr
    with Dataset(tmp_path / "datasets" / "merged.hdf5") as merged:
        assert len(merged) == 4
        original, augmented = (merged.group(name)["obs/table_cam"][()].astype(int) for name in ("demo_1", "demo_3"))
        assert np.median(np.abs(augmented - original[..., ::-1])) <= 3 < np.abs(augmented - original).mean()
        assert np.array_equal(merged.group("demo_1")["actions"], merged.group("demo_3")["actions"])
    assert mimicctl("dataset", "check", "datasets/merged.hdf5").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "nothing to run"),
        (["--checkout", "x", "--command", "y {spec} {output}"], 2, "Cosmos or a command"),
        (["--command", AUGMENT, "--specs-dir", "nowhere"], 2, "no control specs"),
        (["--command", f"{AUGMENT} --fail demo_0"], 1, "CUDA out of memory"),
    ],
)
def test_mistakes_and_failures_are_answered(work, mimicctl, arguments, code, message):
    done = mimicctl("cosmos", "run", *(["--specs-dir", "specs"] if "--specs-dir" not in arguments else []), *arguments, cwd=work)
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr
