"""The command `mimicctl`: registers the subcommands, and turns exceptions into messages and exit codes, here only."""

from __future__ import annotations

import os
import sys

import typer

from mimicctl import __version__
from mimicctl.cli import annotate, configure, dataset, demo, doctor, evaluate, generate, record, tasks, train
from mimicctl.errors import UserError

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
app.command("annotate", rich_help_panel=_PIPELINE)(annotate.command)
app.command("generate", rich_help_panel=_PIPELINE)(generate.command)
app.command("train", rich_help_panel=_PIPELINE)(train.command)
app.add_typer(evaluate.app, name="eval", rich_help_panel=_PIPELINE)
app.add_typer(dataset.app, name="dataset", rich_help_panel=_HELPERS)
app.add_typer(configure.app, name="config", rich_help_panel=_HELPERS)
app.add_typer(tasks.app, name="tasks", rich_help_panel=_HELPERS)
app.command("doctor", rich_help_panel=_HELPERS)(doctor.command)
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
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    command = next((a for a in arguments if not a.startswith("-")), "")
    prefix = f"mimicctl {command}".strip()
    try:
        app(args=arguments, prog_name="mimicctl")
    except UserError as error:
        if debug:
            raise
        print(f"{prefix}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(f"{prefix}: stopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        print(f"{prefix}: internal error: {type(error).__name__}: {error}\n  do  run it again with --debug and report the traceback", file=sys.stderr)
        sys.exit(1)
