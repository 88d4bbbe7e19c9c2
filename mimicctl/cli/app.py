"""The command `mimicctl`: registers the subcommands, and turns exceptions into messages and exit codes, here only."""

from __future__ import annotations

import io
import itertools
import os
import sys
import traceback
from typing import Any

import typer

from mimicctl import __version__
from mimicctl.cli import (
    annotate,
    augment,
    configure,
    convert,
    cosmos,
    dataset,
    demo,
    devices,
    doctor,
    evaluate,
    generate,
    merge,
    provenance,
    record,
    replay,
    tasks,
    train,
    web,
)
from mimicctl.errors import UserError

_INTERRUPTED = 130
"""Exit code after Ctrl-C; typer turns the exception into it."""

_CONTEXT = {"help_option_names": ["-h", "--help"], "token_normalize_func": lambda token: token.replace("_", "-")}

app = typer.Typer(
    name="mimicctl",
    help="Imitation learning from the command line: record, annotate, generate, train, evaluate.",
    no_args_is_help=True,
    context_settings=_CONTEXT,
    pretty_exceptions_enable=False,
)

_PIPELINE, _HELPERS = "The data loop", "Helpers"

app.command("teleop", rich_help_panel=_PIPELINE)(record.teleop)
app.command("record", rich_help_panel=_PIPELINE)(record.record)
app.command("replay", rich_help_panel=_PIPELINE)(replay.command)
app.command("annotate", rich_help_panel=_PIPELINE)(annotate.command)
app.command("generate", rich_help_panel=_PIPELINE)(generate.command)
app.command("augment", rich_help_panel=_PIPELINE)(augment.command)
app.add_typer(convert.app, name="convert", rich_help_panel=_PIPELINE)
app.command("merge", rich_help_panel=_PIPELINE)(merge.command)
app.command("train", rich_help_panel=_PIPELINE)(train.command)
app.add_typer(evaluate.app, name="eval", rich_help_panel=_PIPELINE)
app.add_typer(cosmos.app, name="cosmos", rich_help_panel=_HELPERS)
app.add_typer(dataset.app, name="dataset", rich_help_panel=_HELPERS)
app.add_typer(provenance.app, name="provenance", rich_help_panel=_HELPERS)
app.add_typer(configure.app, name="config", rich_help_panel=_HELPERS)
app.add_typer(devices.app, name="devices", rich_help_panel=_HELPERS)
app.add_typer(tasks.app, name="tasks", rich_help_panel=_HELPERS)
app.add_typer(doctor.app, name="doctor", rich_help_panel=_HELPERS)
app.command("web", rich_help_panel=_HELPERS)(web.command)
app.command("demo", rich_help_panel=_HELPERS)(demo.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mimicctl {__version__}")
        raise typer.Exit()


@app.callback()
def _common(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks. Also understood after the subcommand."),
) -> None:
    pass


def main() -> None:
    """Entry point of the installed script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or log that knows only ASCII gets a question mark, not a crash.
            stream.reconfigure(errors="replace")
    given = sys.argv[1:]
    arguments = [a for a in given if a != "--debug"]
    sys.exit(_run(arguments, debug=len(arguments) < len(given)))


def _run(arguments: list[str], *, debug: bool) -> int:
    """Run one command; its exit code. Every exception becomes a message here, and nowhere else."""
    name = _command_name(arguments)
    try:
        code = app(args=arguments, prog_name="mimicctl", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        if debug:
            traceback.print_exc()
        return _complain(name, str(error), error.exit_code)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. The interpreter flushes once more at its end, and must not fail over it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _is_usage_error(error):
            return _explain_usage(error, name)
        if _was_interrupted(error):
            return _complain(name, "stopped.", _INTERRUPTED)
        if debug:
            traceback.print_exc()
            return 1
        return _complain(name, _unexpected(error), 1)
    if code == _INTERRUPTED:
        return _complain(name, "stopped.", _INTERRUPTED)
    return code if isinstance(code, int) else 0


def _command_name(arguments: list[str]) -> str:
    """The words that chose the command: "mimicctl dataset check"."""
    groups = {group.name for group in app.registered_groups}
    words = list(itertools.takewhile(lambda a: not a.startswith("-"), arguments))
    return " ".join(["mimicctl", *words[: 2 if words[:1] and words[0] in groups else 1]])


def _complain(name: str, what: str, code: int) -> int:
    print(f"{name}: {what}", file=sys.stderr)
    return code


def _is_usage_error(error: Exception) -> bool:
    """Of typer's own kind. Its class has moved from click to a copy inside typer, so it is known by what it can do."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _explain_usage(error: Any, name: str) -> int:
    context = getattr(error, "ctx", None)
    name = context.command_path if context else name
    if type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help())
        return error.exit_code
    message = error.format_message().replace("Value error, ", "", 1)  # pydantic's, which typer leaves in
    return _complain(name, f"{message}\n  do  {name} --help", error.exit_code)


def _was_interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C came first: a library that was cut off mid-call may fail once more while it is put away."""
    before = error.__context__
    return before is not None and (isinstance(before, KeyboardInterrupt) or _was_interrupted(before))


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}.\n  in  {error.filename}"
    return f"internal error: {type(error).__name__}: {error}\n  do  run it again with --debug and report the traceback"
