"""Stands in for Cosmos: a program of its own that reads a control spec and writes the video with its colours turned round.

    python augment.py SPEC OUTPUT [--log FILE] [--seconds S] [--fail DEMO] [--crash DEMO] [--nothing DEMO] [--short DEMO] [--garbage DEMO]

Each option but the first two names a demo that something goes wrong with. The log gets a line at start and end, with the GPUs it was given.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from mimicctl.video import VideoWriter, probe, read_frames

parser = argparse.ArgumentParser()
parser.add_argument("spec", type=Path)
parser.add_argument("output", type=Path)
parser.add_argument("--log", type=Path)
parser.add_argument("--seconds", type=float, default=0)
for fault in ("fail", "crash", "nothing", "short", "garbage"):
    parser.add_argument(f"--{fault}", default="")
options = parser.parse_args()


def log(what: str) -> None:
    if options.log:
        line = {"what": what, "demo": options.spec.stem, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "pid": os.getpid(), "time": time.time()}
        with open(options.log, "a") as file:
            file.write(json.dumps(line) + "\n")


def is_faulty(fault: str) -> bool:
    return options.spec.stem in getattr(options, fault).split(",")


log("start")
time.sleep(options.seconds)
print("loading the model\nworking on", options.spec.stem, flush=True)
if is_faulty("fail"):
    sys.exit("CUDA out of memory")
if is_faulty("crash"):
    os.kill(os.getpid(), signal.SIGSEGV)
if is_faulty("garbage"):
    options.output.write_bytes(b"not a video")
elif not is_faulty("nothing"):
    source = Path(json.loads(options.spec.read_text())["input_video_path"])
    facts = probe(source)
    frames = list(read_frames(source, (facts.width, facts.height)))
    with VideoWriter(options.output, (facts.width, facts.height), 24) as writer:
        for frame in frames[: -1 if is_faulty("short") else None]:
            writer.write(frame[..., ::-1])
log("end")
