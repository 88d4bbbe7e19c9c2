"""How to test mimicctl: one session a need. `nox -l` lists them; `nox` runs what a contributor needs."""

import nox

nox.options.sessions = ["tests", "render", "lint"]
nox.options.default_venv_backend = "venv"


@nox.session
def tests(session: nox.Session) -> None:
    """The default tests: base install, no torch."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "logical", "--dist", "loadfile", *session.posargs)


@nox.session
def render(session: nox.Session) -> None:
    """Pictures. Skipped with the reason where neither EGL nor OSMesa works."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "tests/rendering", "tests/envs", "-m", "render", "-rs", *session.posargs)


@nox.session(default=False)
def web(session: nox.Session) -> None:
    """The pages, in the Chromium of this machine, with an emulated headset."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-m", "web", "tests/web", "-rs", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style."""
    session.install("ruff")
    session.run("ruff", "check", ".")


@nox.session(default=False)
def train(session: nox.Session) -> None:
    """With the real torch, robomimic and Pink (a large download where there is no CPU build of torch), and pictures where there is OpenGL."""
    session.install("torch==2.13.0", "torchvision==0.28.0")
    session.install("-e", ".[test,train,video,humanoid]")
    session.install("--no-deps", "robomimic==0.3.0", "robosuite==1.5.2")
    session.run("python", "-m", "pytest", "-m", "train or render or humanoid", *session.posargs)


@nox.session(default=False, python="3.11")
def dexterous(session: nox.Session) -> None:
    """Fingers by the real dex-retargeting."""
    session.install("torch==2.13.0")
    session.install("-e", ".[test,dexterous]")
    session.run("python", "-m", "pytest", "tests/devices/test_dexterous.py", "-rs", *session.posargs)


@nox.session(default=False)
def humanoid(session: nox.Session) -> None:
    """Tasks of humanoids, by the real Pink, with the GR-1's model."""
    session.install("-e", ".[test,humanoid]")
    session.install("--no-deps", "robosuite==1.5.2")
    session.run("python", "-m", "pytest", "-m", "humanoid and not train", "-rs", *session.posargs)


@nox.session(default=False)
def ray(session: nox.Session) -> None:
    """Generation on a Ray cluster of two nodes on this machine, one of which is lost."""
    session.install("-e", ".[test,ray]")
    session.run("python", "-m", "pytest", "-m", "ray", "tests/generation/test_ray.py", "-rs", *session.posargs)


@nox.session(default=False)
def slow(session: nox.Session) -> None:
    """The long versions: fifty kills of a recording and of a generation."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "tests/dataset", "tests/recording", "tests/generation", "-s", "-m", "", "-k", "kill", env={"TEST_KILLS": "50"})


@nox.session(default=False, python="3.12")
def lerobot(session: nox.Session) -> None:
    """Our LeRobot datasets in the real lerobot, and its in ours, offline (5.5 GB)."""
    session.install("lerobot[training,diffusion]==0.6.1")
    session.install("-e", ".[lerobot]", "pytest>=8", "scipy", "hypothesis")
    tests = ("tests/conversion/test_lerobot.py", "tests/conversion/test_lerobot_real.py", "tests/conversion/test_lerobot_hub.py", "tests/training/test_lerobot.py")
    tests += ("tests/conversion/test_publish.py", "tests/conversion/test_salvage.py", "tests/provenance/test_withdraw_exports.py")
    session.run("python", "-m", "pytest", "-m", "", *tests, "-rs", *session.posargs)


@nox.session(default=False, python="3.12")
def isaaclab(session: nox.Session) -> None:
    """The real Isaac Lab 3.0, on OvPhysX and Newton, without a GPU and on stand-in assets (8.5 GB, a quarter of an hour)."""
    session.install("isaaclab==3.0.0", "ovphysx==0.6.4.72118723", "ovstage==0.2.1.385922", "-e", ".[train,video]", "pytest<9", "hypothesis", "scipy")
    session.install("--no-deps", "robomimic==0.3.0")
    session.install("isaacteleop==1.4.145", "mcap", "flatbuffers")  # what isaaclab[teleop] asks for, and what the tests write for it to replay
    session.run("python", "-m", "pytest", "-m", "isaaclab", "tests/envs", "tests/isaaclab", "-rs", *session.posargs)


@nox.session(default=False, python="3.12")
def isaaclab_files(session: nox.Session) -> None:
    """Isaac Lab 3.0's own file handler (the wheel without its dependencies, and torch)."""
    session.install("torch==2.13.0")
    session.install("-e", ".[test]")
    session.install("--no-deps", "isaaclab==3.0.0")
    session.run("python", "-m", "pytest", "-m", "isaaclab", "tests/isaaclab/test_file_handler.py", *session.posargs)


@nox.session(default=False, python="3.12")
def isaaclab_datagen(session: nox.Session) -> None:
    """Our generation engine beside Isaac Lab 3.0's own functions, on a thousand random cases each."""
    session.install("torch==2.13.0")
    session.install("-e", ".[test]")
    session.install("--no-deps", "isaaclab==3.0.0")
    session.run("python", "-m", "pytest", "-m", "isaaclab", "tests/isaaclab/test_datagen.py", "-rs", *session.posargs)


@nox.session(default=False)
def isaaclab_scripts(session: nox.Session) -> None:
    """Isaac Lab's own conversion and merge scripts beside ours: ISAACLAB_PATH=<checkout of its repository> nox -s isaaclab_scripts."""
    session.install("-e", ".[test,video]")
    session.run("python", "-m", "pytest", "-m", "isaaclab", "tests/isaaclab/test_scripts.py", "-rs", *session.posargs)


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """The figures of benchmarks/README.md."""
    session.install("-e", ".")
    session.run("python", "benchmarks/generate.py", *session.posargs)
