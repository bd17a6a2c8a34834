"""Any module of Hugging Face evaluate, if the user asks for it. Only this file imports evaluate.

Such a module is a Python script from a folder or from the Hub: its code runs here with the user's permissions.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

from llmkit.errors import MachineError, UsageError
from llmkit.tasks.base import Scores

logger = logging.getLogger("llmkit")

EXTERNAL_PREFIX = "evaluate:"


def compute_external(name: str, predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """The scores of the evaluate module `name` for these texts, under names that cannot collide with llmkit's own.

    A finite number that has the name of the module becomes the score `evaluate:MODULE`, any other finite number
    `evaluate:MODULE/KEY`, where MODULE is the last part of `name` without `.py`: evaluate:exact_match gives
    `evaluate:exact_match`, evaluate:bleu gives `evaluate:bleu` and `evaluate:bleu/length_ratio`. Other values (lists,
    texts, NaN) goes to the details under `evaluate:MODULE`.

    Args:
        name: a folder with a script of its own name, a script, or a name on the Hub (`exact_match`, `owner/name`).
    Raises:
        UsageError: there is no such module, or it fails on these texts.
        MachineError: the module cannot be fetched, or a package is missing.
    """
    module = _load(name)
    try:
        results = module.compute(predictions=list(predictions), references=list(references))
    except Exception as error:  # third-party code may raise anything
        raise UsageError(
            f"{EXTERNAL_PREFIX}{name}: the module failed on texts as predictions and references: {_one_line(error)}"
        ) from error
    return _scores(Path(name).stem, results)


def _load(name: str) -> Any:
    _warn_that_code_runs(name)
    try:
        import evaluate
        from huggingface_hub.constants import HF_HUB_OFFLINE
    except ModuleNotFoundError as error:
        raise MachineError(f"{EXTERNAL_PREFIX}{name} needs the package {error.name}: pip install evaluate") from error
    if HF_HUB_OFFLINE:
        evaluate.config.HF_EVALUATE_OFFLINE = True  # evaluate ignores the hub's setting, and would use the network
    try:
        # In memory, since the texts are already, and files in a shared cache would need locks.
        return evaluate.load(name, keep_in_memory=True)
    except (FileNotFoundError, ConnectionError) as error:
        raise _not_loaded(name, error) from error
    except ImportError as error:
        raise MachineError(f"{EXTERNAL_PREFIX}{name}: {_one_line(error)}") from error
    except Exception as error:  # the script itself runs on loading, and may raise anything
        raise UsageError(f"{EXTERNAL_PREFIX}{name}: the module cannot be loaded: {_one_line(error)}") from error


@cache
def _warn_that_code_runs(name: str) -> None:
    """Warn once per process and name, since every evaluation in training calls this."""
    logger.warning(
        "%s%s: the code of this evaluate module runs on this machine, with your permissions.", EXTERNAL_PREFIX, name
    )


def _not_loaded(name: str, error: Exception) -> UsageError | MachineError:
    """evaluate raises the same error for a wrong name and a network failure; its context distinguishes them."""
    if _is_path(name):
        return UsageError(
            f"{EXTERNAL_PREFIX}{name}: no metric script there; give a script, or a folder with a script of the same name."
        )
    if "Couldn't find file at" in str(error.__context__):  # the Hub answered, with 404
        return UsageError(f"{EXTERNAL_PREFIX}{name}: the Hub has no module of this name, and there is no such folder.")
    return MachineError(
        f"{EXTERNAL_PREFIX}{name}: no such local folder, and the Hub did not provide the module: offline, unreachable, "
        "or no such name. Check the name and the network, or give the path of a metric script."
    )


def _is_path(name: str) -> bool:
    return name.endswith(".py") or name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1


def _scores(short_name: str, results: Any) -> Scores:
    prefix = f"{EXTERNAL_PREFIX}{short_name}"
    by_key = results if isinstance(results, dict) else {short_name: results}
    scores: dict[str, float] = {}
    others: dict[str, Any] = {}
    for key, value in by_key.items():
        if isinstance(value, Real) and math.isfinite(value):
            scores[prefix if key == short_name else f"{prefix}/{key}"] = float(value)
        else:
            others[str(key)] = _plain(value)
    return Scores(scores, {prefix: others} if others else {})


def _plain(value: Any) -> Any:
    """The value in JSON types; other types as their `repr`."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if type(value).__module__ == "numpy":
        return _plain(value.tolist())
    return repr(value)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
