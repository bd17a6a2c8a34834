"""A folder's tokenizer, loaded by transformers from a safe copy.

transformers opens any file it finds and any file that its configs name. So the known files are first copied to a new
folder, without the keys that name files, and transformers loads that folder.
"""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import (
    AutoTokenizer,
    ByT5Tokenizer,
    M2M100Tokenizer,
    MarianTokenizer,
    PreTrainedTokenizerFast,
    TokenizersBackend,
)
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from llmkit.errors import ModelError
from llmkit.models.files import find_file, listed, read_file, read_json
from llmkit.models.threads import is_of_tokenizers
from llmkit.models.tokenizer_json import TOKENIZER, check_tokenizer_json, faulty_part
from llmkit.models.tokenizers.byt5 import from_python
from llmkit.models.tokenizers.sentencepiece_models import ConvertedTokenizer, from_m2m100, from_marian

TOKENIZER_CONFIG, SPECIAL_TOKENS = "tokenizer_config.json", "special_tokens_map.json"
_ADDED = "added_tokens.json"
_COPIED = (
    TOKENIZER,
    _ADDED,
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "source.spm",
    "target.spm",
    "target_vocab.json",
    "chat_template.jinja",
)
TOKENIZER_FILES = (TOKENIZER_CONFIG, SPECIAL_TOKENS, *_COPIED)
"""Every file that a tokenizer is read from."""
OTHER_TEMPLATES = "additional_chat_templates"
"""A folder of additional chat templates, which llmkit does not use."""
_SENTENCEPIECE = ("spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model", "source.spm")
_READERS = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
"""Module -> package that transformers reads these files with."""
_CONVERTED = (ByT5Tokenizer, M2M100Tokenizer, MarianTokenizer)
"""Classes in Python that llmkit turns into ones with the tokenizers library."""
_FILE_ENDS = ("_file", "_files", "_path")
_NOT_READ = {
    "fast_tokenizer_files",
    "init_inputs",
    "merges",
    "name_or_path",
    "post_processor",
    "slow_tokenizer",
    "sp_model_kwargs",
    "tokenizer_object",
    "tokenizer_padding",
    "tokenizer_truncation",
    "vocab",
}
"""Keys of a tokenizer's configs that would replace the content of its files, most of them by a file of any name, or split texts
at random.

Some published configs still have them.
"""


def read_tokenizer(folder: Path, config: Mapping[str, Any], *, name: str) -> PreTrainedTokenizerFast:
    """The folder's tokenizer as AutoTokenizer reads it.

    Args:
        config: the model's; its type and its tokenizer's class are read.
    Raises:
        ModelError: files outside the folder; custom code; damaged files; a tokenizer without the tokenizers library.
    """
    content = read_json(folder, TOKENIZER_CONFIG, name=name) or {}
    if content.get("auto_map"):
        raise ModelError(f"{name}: {TOKENIZER_CONFIG} requires its own code (auto_map), which llmkit never runs.")
    check_tokenizer_json(folder, name=name)
    _check_added(folder, name=name)
    _check_class(content.get("tokenizer_class") or config.get("tokenizer_class"), name=name)
    _check_sentencepiece(folder, name=name)
    with tempfile.TemporaryDirectory(prefix="llmkit-tokenizer-") as temporary:
        copy = Path(temporary)
        _copy_files(folder, copy, name=name)
        _write_config(copy / TOKENIZER_CONFIG, content)
        _write_config(copy / SPECIAL_TOKENS, read_json(folder, SPECIAL_TOKENS, name=name) or {})
        selectors = {key: config[key] for key in ("model_type", "tokenizer_class") if key in config}
        (copy / "config.json").write_text(json.dumps(selectors), encoding="utf-8")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Marian's recommends a package that it does not use
                tokenizer = AutoTokenizer.from_pretrained(copy, local_files_only=True, trust_remote_code=False)
            tokenizer = _converted(tokenizer, name=name)  # while its files are there
        except ModelError:
            raise
        except BaseException as error:  # its parsers raise any exception type; the folder is the cause in every case
            if not (isinstance(error, Exception) or is_of_tokenizers(error)):
                raise
            text = str(error).replace(str(copy), str(folder)).strip().splitlines() or [""]
            fault = faulty_part(folder, name=name) or f"{type(error).__name__}: {text[0][:200]}"
            raise ModelError(f"{name}: its tokenizer cannot be read ({fault}).") from error
    if not isinstance(tokenizer, TokenizersBackend):
        raise _written_in_python(type(tokenizer).__name__, name=name)
    _check_vocabulary(folder, tokenizer, name=name)
    _check_settings(tokenizer, name=name)
    tokenizer.name_or_path = str(folder)
    return tokenizer


def _converted(tokenizer: Any, *, name: str) -> Any:
    """A tokenizer in Python with the tokenizers library, if llmkit knows how; any other unchanged."""
    match tokenizer:
        case ByT5Tokenizer():
            return from_python(tokenizer)
        case MarianTokenizer():
            return from_marian(tokenizer, name=name)
        case M2M100Tokenizer():
            return from_m2m100(tokenizer, name=name)
        case _:
            return tokenizer


def _check_added(folder: Path, *, name: str) -> None:
    for token, number in (read_json(folder, _ADDED, name=name) or {}).items():
        if type(number) is not int or number < 0:
            raise ModelError(f"{name}: {_ADDED} has {listed([token])}: {number!r:.80}, which is not an id.")


def _check_class(class_name: object, *, name: str) -> None:
    """Reject tokenizer classes with their own file reading, before one of them reads a file."""
    if class_name is None:
        return
    if not isinstance(class_name, str):
        raise ModelError(f"{name}: its tokenizer_class is {str(class_name)[:80]!r}, which is not a name.")
    known = tokenizer_class_from_name(class_name) or tokenizer_class_from_name(class_name.removesuffix("Fast"))
    if known is not None and not (isinstance(known, type) and issubclass(known, (TokenizersBackend, *_CONVERTED))):
        raise _written_in_python(class_name, name=name)


def _written_in_python(class_name: str, *, name: str) -> ModelError:
    return ModelError(
        f"{name}: its tokenizer is a {class_name}, which is written in Python and has no counterpart in the tokenizers "
        "library. Use a model with a tokenizer.json, such as a multilingual one, or train a model and its tokenizer from "
        "random weights (`model: {architecture: ..., tokenizer: ...}`)."
    )


def _check_sentencepiece(folder: Path, *, name: str) -> None:
    """Reject a vocabulary of SentencePiece alone, if the packages that read it are missing."""
    if find_file(folder, "tokenizer.json", name=name) is not None:
        return
    file = next((file for file in _SENTENCEPIECE if find_file(folder, file, name=name) is not None), None)
    missing = [package for module, package in _READERS.items() if not _is_installed(module)]
    if file is not None and missing:
        raise ModelError(
            f"{name}: its tokenizer is the file {file} without a tokenizer.json, and the packages that read it are not "
            f"installed. Install them with `pip install {' '.join(missing)}`, or use a folder with a tokenizer.json."
        )


def _check_vocabulary(folder: Path, tokenizer: PreTrainedTokenizerFast, *, name: str) -> None:
    """Reject a tokenizer without its vocabulary: transformers makes one of special tokens alone, to which all text is unknown."""
    if find_file(folder, TOKENIZER, name=name) is not None or type(tokenizer) is TokenizersBackend:
        return
    if isinstance(tokenizer, ConvertedTokenizer):  # read from all of its files
        return
    needed = [file for file in type(tokenizer).vocab_files_names.values() if file != TOKENIZER]
    missing = [file for file in needed if find_file(folder, file, name=name) is None]
    if missing:
        raise ModelError(
            f"{name}: its tokenizer is a {type(tokenizer).__name__}, and the folder has no {listed(missing)}. It needs "
            f"{' and '.join(needed)}, or a {TOKENIZER}. Copy them from where the model comes from."
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that would contain it
        return False


def _copy_files(folder: Path, copy: Path, *, name: str) -> None:
    for file in _COPIED:
        content = read_file(folder, file, name=name)
        if content is not None:
            (copy / file).write_bytes(content)


def _write_config(path: Path, content: Mapping[str, Any]) -> None:
    """Write the keys of a config that are read; no file if there are none."""
    used = {key: value for key, value in content.items() if not (key in _NOT_READ or key.endswith(_FILE_ENDS))}
    if used:
        path.write_text(json.dumps(used), encoding="utf-8")


def _check_settings(tokenizer: PreTrainedTokenizerFast, *, name: str) -> None:
    """Reject config values that transformers does not check, and which fail much later."""
    limit = tokenizer.model_max_length
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 1 <= limit < math.inf or limit % 1:
        raise ModelError(
            f"{name}: {TOKENIZER_CONFIG} has model_max_length: {str(limit)[:80]!r}, which is not a length."
        )
    tokenizer.model_max_length = int(limit)
    # transformers would search for a missing unk_token without end.
    for role, token in tokenizer.special_tokens_map.items():
        if isinstance(token, str) and tokenizer.backend_tokenizer.token_to_id(token) is None:
            raise ModelError(
                f"{name}: {TOKENIZER_CONFIG} has {role}: {token!r:.80}, which its vocabulary does not have."
            )
    if isinstance(tokenizer.chat_template, dict):  # several, by name: transformers uses and saves this one
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    if not isinstance(tokenizer.chat_template, str | None):
        raise ModelError(f"{name}: its chat template is {str(tokenizer.chat_template)[:80]!r}, which is not text.")
