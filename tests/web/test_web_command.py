"""`mimicctl web` as one starts and stops it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.web.client import Client, free_port


def test_it_serves_what_is_in_the_folder_until_ctrl_c(tmp_path, source_file):
    command = [sys.executable, "-m", "mimicctl", "web", str(source_file), "--port", str(free_port())]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    line = next(line for line in process.stderr if "Open http" in line)
    server = type("Started", (), {"link": lambda self: re.search(r"http\S+", line)[0]})()
    client = Client(server)
    assert [file["name"] for file in client.get("/api/datasets")] == [source_file.name]
    assert [page["title"] for page in client.get("/api/pages")] == ["Demonstrations", "Annotate"]
    assert client.get("/api/annotations/0")["output"].endswith("stack_cube_franka_annotated.hdf5")
    process.send_signal(signal.SIGINT)
    assert "stopped" in process.communicate(timeout=60)[1] and process.returncode == 130


@pytest.mark.parametrize("command", [["web"], ["record", "--web"], ["teleop", "--lan"]])
def test_without_its_packages_it_says_how_to_get_them(command, tmp_path):
    program = "import sys; sys.modules['aiohttp'] = None; from mimicctl.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", program, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "aiohttp" in done.stderr and "mimicctl[web]" in done.stderr and not done.stdout
    assert not list(tmp_path.glob("datasets/*"))


def test_what_is_not_there_or_cannot_be_served_is_refused(mimicctl, source_file):
    missing = mimicctl("web", "nothing.hdf5")
    assert missing.returncode == 2 and "no such file" in missing.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        busy = mimicctl("web", str(source_file), "--port", port)
    assert busy.returncode == 2 and f"Port {port}" in busy.stderr
