"""`llmkit chat`: a conversation in the terminal, or one user message per line of a pipe."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.messages import print_error, print_note
from llmkit.cli.output import Target, shown
from llmkit.cli.shared_options import (
    Beams,
    Json,
    KeepSpecial,
    LengthPenalty,
    MaxNewTokens,
    MinNewTokens,
    ModelName,
    NgramSize,
    Penalty,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
    check_generation,
    open_model,
)
from llmkit.cli.texts import as_text, input_rows
from llmkit.errors import LlmkitError, UsageError

if TYPE_CHECKING:
    from llmkit.api import Model

logger = logging.getLogger("llmkit")
_HELP = "/reset  /save FILE  /system TEXT  /quit;  //text sends a message that starts with /;  Ctrl-C stops an answer"


def chat(
    model: ModelName = None,
    system: Annotated[str | None, typer.Option(help="System message, placed before the first turn.")] = None,
    load: Annotated[str | None, typer.Option(metavar="FILE", help="Continue a saved conversation.")] = None,
    save: Annotated[
        str | None, typer.Option(metavar="FILE", help="Save the conversation to this file after each turn.")
    ] = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_new_tokens: MinNewTokens = None,
    beams: Beams = None,
    length_penalty: LengthPenalty = None,
    no_repeat_ngram_size: NgramSize = None,
    repetition_penalty: Penalty = None,
    keep_special: KeepSpecial = False,
    stop: Stop = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Chat with a model trained on conversations. In a pipe, each line is a user message."""
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_new_tokens": min_new_tokens,
        "beams": beams,
        "length_penalty": length_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "repetition_penalty": repetition_penalty,
        "keep_special": keep_special,
        "stop": tuple(stop) if stop else None,
        "seed": seed,
    }
    check_generation(options)
    messages = _loaded(load)

    conversation = _Conversation(open_model(model, verb="chat"), messages, options=options, file=save)
    if system is not None:
        conversation.set_system(as_text(system))
    if sys.stdin is not None and sys.stdin.isatty() and not as_json:
        _chat_in_terminal(conversation)
        return
    blank = 0
    try:
        with Target(as_json=as_json, output=None).writing() as write:
            for row in input_rows("-", column="text", by_line=True):
                if row.empty is not None:
                    blank += 1
                    continue
                answer = "".join(conversation.say(row.value))
                finished = conversation.finished[-1]
                write(answer, {**row.keys, "prompt": row.value, "answer": answer, "finished": finished})
    finally:
        _report_cut(conversation)
    if blank:
        logger.warning("standard input: skipped %d blank %s", blank, "line" if blank == 1 else "lines")


COMMANDS = (chat,)


class _Conversation:
    """The messages so far, and the model that answers. A turn with an empty answer is not added."""

    def __init__(
        self, model: Model, messages: list[dict[str, str]], *, options: dict[str, Any], file: str | None
    ) -> None:
        self.messages = messages
        self.finished: list[bool] = []
        """Whether each answer ended by itself, not at its length limit."""
        self._model = model
        self._options = options
        self._file = file

    def say(self, text: str) -> Generator[str, None, None]:
        """Stream the answer as chunks of text. If the caller stops early, the text so far becomes the answer."""
        messages = [*self.messages, {"role": "user", "content": text}]
        chunks: list[str] = []
        try:
            with closing(self._model.stream_chat(messages, on_end=self.finished.append, **self._options)) as stream:
                for chunk in stream:
                    chunks.append(chunk)
                    yield chunk
            if not chunks:
                print_note("the answer is empty; this turn is not added to the conversation")
        finally:
            if chunks:
                self.messages = [*messages, {"role": "assistant", "content": "".join(chunks)}]
                if self._file is not None:
                    self.save(self._file)

    def reset(self) -> None:
        self.messages = self._system

    def set_system(self, text: str) -> None:
        """Replace the system message, or remove it if `text` is blank; the turns stay."""
        turns = self.messages[len(self._system) :]
        self.messages = [*([{"role": "system", "content": text}] if text.strip() else []), *turns]

    def save(self, file: str) -> None:
        """
        Raises:
            UsageError: the conversation has no turns yet.
            MachineError: the file cannot be written.
        """
        from llmkit.api import save_conversation

        if len(self.messages) == len(self._system):
            raise UsageError("the conversation is empty, so there is nothing to save.")
        save_conversation(file, self.messages)

    @property
    def _system(self) -> list[dict[str, str]]:
        return [message for message in self.messages[:1] if message["role"] == "system"]


def _report_cut(conversation: _Conversation) -> None:
    """Warn once about answers that the length limit cut off."""
    cut = conversation.finished.count(False)
    if cut:
        count = f"{cut:,} of {len(conversation.finished):,}"
        logger.warning("%s answers reached their length limit and are cut off there. Raise --max-new-tokens", count)


def _loaded(file: str | None) -> list[dict[str, str]]:
    if file is None:
        return []
    from llmkit.api import load_conversation

    return load_conversation(file)


def _chat_in_terminal(conversation: _Conversation) -> None:
    """Chat in a terminal until end of input or /quit. An error ends a turn, not the conversation."""
    with contextlib.suppress(ImportError):  # line editing and history, where the platform has them
        import readline  # noqa: F401
    print_note(_HELP)
    while (line := _read_line()) is not None:
        try:
            if line.startswith("/") and not line.startswith("//"):
                if line.split()[0] == "/quit":
                    return
                _run_command(conversation, line)
            elif line.strip():
                _answer(conversation, line.removeprefix("/"))
        except LlmkitError as error:
            print_error(error.kind, str(error))


def _read_line() -> str | None:
    """The next line; None at end of input. Ctrl-C discards the current line."""
    on_screen = sys.stdout.isatty()
    while True:
        try:
            if not on_screen:
                print("> ", end="", file=sys.stderr, flush=True)
            return input("> " if on_screen else "")
        except EOFError:
            print(file=sys.stderr)
            return None
        except KeyboardInterrupt:
            print(file=sys.stderr)
            print_note("/quit or Ctrl-D ends the conversation")
        except UnicodeDecodeError:
            print_error("data", "this line is not UTF-8. Set the terminal to UTF-8.")


def _run_command(conversation: _Conversation, line: str) -> None:
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    match name:
        case "/reset":
            conversation.reset()
            print_note("started a new conversation")
        case "/system":
            conversation.set_system(rest)
            print_note("system message set" if rest else "system message removed")
        case "/save" if rest:
            conversation.save(rest)
            print_note(f"saved to {rest}")
        case "/save":
            raise UsageError("/save needs a file name.")
        case "/help":
            print_note(_HELP)
        case _:
            raise UsageError(f"unknown command {name}. {_HELP}")


def _answer(conversation: _Conversation, text: str) -> None:
    """Print the answer as it is generated; Ctrl-C stops it, and the text so far stays in the conversation."""
    with closing(conversation.say(text)) as chunks:
        try:
            for chunk in chunks:
                print(shown(chunk), end="", flush=True)
            print(flush=True)
            if conversation.finished[-1:] == [False]:
                print_note("the answer reached its length limit and is cut off; raise --max-new-tokens")
        except KeyboardInterrupt:
            print(flush=True)
            print_note("stopped")
