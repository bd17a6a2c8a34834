"""Locks for threads that share a model, or load several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

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


@contextmanager
def locked_tokenizer(tokenizer: PreTrainedTokenizerFast) -> Iterator[None]:
    """Lock a tokenizer for one call, and restore its state afterwards.

    A fast tokenizer stores the last settings for truncation, padding and special tokens; they would apply to calls of
    other threads, and would be saved. Do not wait inside, for example with a `yield`.
    """
    with _TOKENIZING:
        backend = tokenizer.backend_tokenizer
        truncation, padding, names_are_text = backend.truncation, backend.padding, backend.encode_special_tokens
        try:
            yield
        finally:
            if backend.truncation != truncation:
                backend.no_truncation() if truncation is None else backend.enable_truncation(**truncation)
            if backend.padding != padding:
                backend.no_padding() if padding is None else backend.enable_padding(**padding)
            if backend.encode_special_tokens != names_are_text:
                backend.encode_special_tokens = names_are_text
