"""The commands: parse, call `llmkit.api`, print, exit code. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import Annotated

import typer

from llmkit.cli.messages import print_error, send_log_to_stderr
from llmkit.errors import LlmkitError

_BROKEN_PIPE = 141
"""128 + SIGPIPE, what a shell sees of a program whose reader went away."""

app = typer.Typer(
    name="llmkit",
    help="Train, measure and use small language models of the GPT-2, BERT and T5 families.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"llmkit {installed('llmkit')}")
        raise typer.Exit
    if debug:
        os.environ["LLMKIT_DEBUG"] = "1"


def _add_commands() -> None:
    from llmkit.cli import measure, prepare, train, use

    for module in (train, use, measure, prepare):
        for command in module.COMMANDS:
            app.command(no_args_is_help=False)(command)


_add_commands()


def main() -> None:
    """The program `llmkit`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code; every error is caught here, and only here."""
    _write_any_character()
    send_log_to_stderr()
    try:
        code = app(arguments, prog_name="llmkit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except LlmkitError as error:
        print_error(error.kind, str(error))
        _trace()
        return error.exit_code
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 0
        print_error("usage", f"{error.format_message()} See `llmkit --help`.")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # Python would complain once more when it flushes at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:  # standard output on a full disk, a folder that may not be written
        print_error("environment", f"{error.filename or 'output'}: {error.strerror}.")
        _trace()
        return 5
    except Exception as error:
        traceback.print_exc()
        print_error(
            "bug",
            f"{type(error).__name__}: {error}. This is a defect of llmkit; please report it with the lines above.",
        )
        return 1


def _trace() -> None:
    if os.environ.get("LLMKIT_DEBUG"):
        traceback.print_exc()


def _write_any_character() -> None:
    """UTF-8 to files and pipes; a terminal of another encoding shows what it cannot as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a TextIOWrapper at start-up
        else:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
