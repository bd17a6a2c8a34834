"""Locks for threads that share a model, or load several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from llmkit.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
# Re-entrant, so that one function that loads may call another.
_LOADING = threading.RLock()
_TOKENIZING = threading.RLock()


def one_load_at_a_time(load: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Lock for loading, which seeds torch's global random numbers for new weights and silences transformers."""

    @wraps(load)
    def locked(*args: _Arguments.args, **keys: _Arguments.kwargs) -> _Result:
        with _LOADING:
            return load(*args, **keys)

    return locked


def is_of_tokenizers(error: BaseException) -> bool:
    """Whether the tokenizers library failed at its own data: it raises Exception itself, or panics."""
    return type(error) is Exception or type(error).__name__ == "PanicException"


@contextmanager
def locked_tokenizer(tokenizer: PreTrainedTokenizerFast) -> Iterator[None]:
    """Lock a tokenizer for one call, and restore its state afterwards.

    A fast tokenizer stores the last settings for truncation, padding and special tokens; they would apply to calls of
    other threads, and would be saved. Do not wait inside, for example with a `yield`.

    Raises:
        ModelError: the tokenizers library fails, such as at an unknown word without an unknown token.
    """
    with _TOKENIZING:
        backend = tokenizer.backend_tokenizer
        truncation, padding, names_are_text = backend.truncation, backend.padding, backend.encode_special_tokens
        try:
            yield
        except BaseException as error:
            if not is_of_tokenizers(error):
                raise
            fault = (str(error).splitlines() or [""])[0][:200]
            raise ModelError(f"{tokenizer.name_or_path}: its tokenizer fails at a text ({fault}).") from error
        finally:
            if backend.truncation != truncation:
                backend.no_truncation() if truncation is None else backend.enable_truncation(**truncation)
            if backend.padding != padding:
                backend.no_padding() if padding is None else backend.enable_padding(**padding)
            if backend.encode_special_tokens != names_are_text:
                backend.encode_special_tokens = names_are_text
