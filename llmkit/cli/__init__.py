"""The commands: parse arguments, call `llmkit.api`, print results, return an exit code. Heavy imports are lazy."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

import typer

from llmkit.cli import (
    answer,
    chat,
    choose,
    classify,
    compare,
    data,
    doctor,
    embed,
    explain,
    fill,
    generate,
    init,
    measure,
    merge,
    models,
    plan,
    plot,
    prepare,
    push,
    report,
    reproduce,
    runs,
    summarize,
    tag,
    train,
    translate,
)
from llmkit.cli.messages import print_error, send_log_to_stderr
from llmkit.cli.repeated import Command
from llmkit.errors import LlmkitError, MachineError, is_out_of_memory

_BROKEN_PIPE = 141
"""128 + SIGPIPE: the exit code that a shell reports when the reader of a pipe has exited."""

app = typer.Typer(
    name="llmkit",
    help="Train, evaluate and use small language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Also accepted after the command.")
    ] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"llmkit {installed('llmkit')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
    else:
        _check_current_folder()


def _check_current_folder() -> None:
    """
    Raises:
        MachineError: it was deleted. torch would end the process, without a word about the reason.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise MachineError("the current folder was deleted. Change to another one, such as with: cd ~") from error


def _add_commands() -> None:
    texts = (generate, summarize, classify, translate, tag, answer, choose, chat, fill, embed)
    for module in (
        init,
        plan,
        train,
        *texts,
        measure,
        compare,
        plot,
        report,
        merge,
        push,
        models,
        runs,
        reproduce,
        prepare,
        explain,
        doctor,
    ):
        for command in module.COMMANDS:
            app.command(no_args_is_help=False, cls=Command)(command)
    app.add_typer(data.app)


_add_commands()


def main() -> None:
    """The program `llmkit`."""
    code = run(sys.argv[1:])
    _forget(sys.stderr)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; every error is caught here, and only here."""
    _write_any_character()
    send_log_to_stderr()
    arguments, debug = _take_debug(arguments)
    try:
        code = app(arguments, prog_name="llmkit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except LlmkitError as error:
        return _failed(error.kind, str(error), exit_code=error.exit_code, debug=debug)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 0
        return _failed("usage", _usage_fault(error.format_message()), exit_code=2, debug=debug)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        _forget(sys.stdout)
        return _BROKEN_PIPE
    except SystemExit as error:  # Typer and rich exit with 1, and without a message, where a pipe has no reader
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _forget(sys.stdout)
        return _BROKEN_PIPE
    except OSError as error:  # standard output on a full disk, a folder that may not be written
        _forget(sys.stdout)
        message = f"{error.filename or 'output'}: {error.strerror or error}."
        return _failed("environment", message, exit_code=5, debug=debug)
    except Exception as error:
        if is_out_of_memory(error):
            message = f"out of memory. Use shorter texts, a smaller model, or a machine with more memory. ({error})"
            return _failed("environment", message, exit_code=5, debug=debug)
        message = f"{type(error).__name__}: {error}. This is a bug in llmkit; please report it with the lines above."
        return _failed("bug", message, exit_code=1, debug=True)


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, accepted anywhere before `--`: people append it to a command that failed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    before = [argument for argument in arguments[:end] if argument != "--debug"]
    return [*before, *arguments[end:]], len(before) < end


def _failed(kind: str, message: str, *, exit_code: int, debug: bool) -> int:
    """Print the error that is being handled; with `debug`, its traceback first."""
    if debug:
        with contextlib.suppress(OSError):  # nobody reads standard error; the exit code still says it
            traceback.print_exc()
    print_error(kind, message)
    return exit_code


def _usage_fault(message: str) -> str:
    """Typer's message, ended with a full stop and the next step."""
    sentence = message.replace("Value error, ", "").rstrip(".")
    return f"{sentence}{'' if sentence.endswith('?') else '.'} See `llmkit --help`."


def _forget(stream: TextIO) -> None:
    """Keep Python from flushing a stream again at exit, which would print a second error and change the exit code."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):  # a stream without a descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write_any_character() -> None:
    """Write UTF-8 to files and pipes; a terminal with another encoding shows escapes for other characters."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, `>&-`
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w")))
        elif stream.isatty():
            stream.reconfigure(errors="backslashreplace")
        else:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
