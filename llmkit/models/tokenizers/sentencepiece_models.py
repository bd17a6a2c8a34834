"""Marian's and M2M100's tokenizers, which transformers has in Python only, for the tokenizers library.

Both have models of SentencePiece whose pieces get their ids from a vocab.json. The ids are the same, except of a piece that
vocab.json lacks: it is unknown there, and is split into smaller pieces here.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from llmkit.errors import ModelError

if TYPE_CHECKING:
    from transformers import M2M100Tokenizer, MarianTokenizer

_SPACE = "▁"
_NORMAL, _USER_DEFINED = 1, 4
"""Types of pieces that stand for text."""
_FOREIGN_RUN, _FOREIGN = -1e3, -1e7
"""Scores of pieces of the other language: of those that consist of characters that this one lacks, and of others."""
CODE = re.compile(r">>.+?<<")
"""A target language of a Marian model, in front of a text."""


_Converted = TypeVar("_Converted", bound="ConvertedTokenizer")


class ConvertedTokenizer(PreTrainedTokenizerFast):
    """A tokenizer that is saved as the files that it was made from, which transformers opens again in Python."""

    files: Mapping[str, bytes]
    """File name -> content."""
    targets: PreTrainedTokenizerFast | None = None
    """The tokenizer of target texts; None for this one."""

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> tuple[str, ...]:
        folder = Path(save_directory)
        config = {**json.loads(self.files["tokenizer_config.json"]), **self.changed_keys()}
        files = {**self.files, "tokenizer_config.json": json.dumps(config, ensure_ascii=False).encode()}
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return tuple(str(folder / name) for name in files)

    def changed_keys(self) -> dict[str, Any]:
        """Keys of tokenizer_config.json that may have changed since the files were read."""
        template = {} if self.chat_template is None else {"chat_template": self.chat_template}
        return {"model_max_length": self.model_max_length, **template}


class MultilingualTokenizer(ConvertedTokenizer):
    """M2M100's: the language stands in front of a text."""

    tgt_lang: str | None = None
    _src_lang: str

    @property
    def src_lang(self) -> str:
        """The code of the language of the texts, such as `en`."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, code: str) -> None:
        self._src_lang = code
        token, end = f"__{code}__", str(self.eos_token)
        self.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=[token, "$A", end],
            pair=[token, "$A", "$B", end],
            special_tokens=[(token, self.convert_tokens_to_ids(token)), (end, self.eos_token_id)],
        )

    def changed_keys(self) -> dict[str, Any]:
        return {**super().changed_keys(), "src_lang": self.src_lang, "tgt_lang": self.tgt_lang}


def from_marian(tokenizer: MarianTokenizer, *, name: str) -> ConvertedTokenizer:
    """
    Raises:
        ModelError: it has two vocabularies, or one with gaps.
    """
    if tokenizer.separate_vocabs:
        raise ModelError(
            f"{name}: its tokenizer has two vocabularies (separate_vocabs), which llmkit does not support."
        )
    vocabulary = _in_order(tokenizer.encoder, name=name)
    codes = [token for token in vocabulary if CODE.fullmatch(token)]
    source, target = (
        _wrap(_unigram(processor.serialized_model_proto(), vocabulary), tokenizer, cls=ConvertedTokenizer, added=codes)
        for processor in (tokenizer.spm_source, tokenizer.spm_target)
    )
    source.targets = target
    return source


def from_m2m100(tokenizer: M2M100Tokenizer, *, name: str) -> MultilingualTokenizer:
    """
    Raises:
        ModelError: a vocabulary with gaps.
    """
    vocabulary = _in_order({**tokenizer.encoder, **tokenizer.lang_token_to_id}, name=name)
    model = tokenizer.sp_model.serialized_model_proto()
    build = _bpe if _parsed(model).trainer_spec.model_type == 2 else _unigram
    languages = list(tokenizer.lang_token_to_id)
    cls = MultilingualTokenizer
    converted = _wrap(build(model, vocabulary), tokenizer, cls=cls, added=languages, special=True)
    converted.src_lang, converted.tgt_lang = tokenizer.src_lang, tokenizer.tgt_lang
    return converted


def _in_order(ids: Mapping[str, int], *, name: str) -> list[str]:
    """The entries of a vocabulary by their ids."""
    token_of = {token_id: token for token, token_id in ids.items() if type(token_id) is int}
    if token_of.keys() != set(range(len(ids))):
        raise ModelError(f"{name}: its vocab.json does not have the ids 0 to {len(ids) - 1:,}, each once.")
    return [token_of[token_id] for token_id in range(len(ids))]


def _parsed(model: bytes) -> Any:
    from transformers.convert_slow_tokenizer import import_protobuf

    proto = import_protobuf().ModelProto()
    proto.ParseFromString(model)
    return proto


def _unigram(model: bytes, vocabulary: list[str]) -> Tokenizer:
    """The pieces of a model with its scores; all others of the vocabulary are only chosen if nothing else fits.

    SentencePiece reads a run of characters that it lacks as one piece, which has an id if the other language has this very
    piece; else it is unknown.
    """
    proto = _parsed(model)
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type in (_NORMAL, _USER_DEFINED)}
    known = {char for piece in scores for char in piece}
    runs = [token for token in vocabulary if token not in scores and known.isdisjoint(token)]
    runs = [token for token in runs if _SPACE not in token]
    entries = [
        (token, scores.get(token, _FOREIGN_RUN if known.isdisjoint(token) else _FOREIGN)) for token in vocabulary
    ]
    tokenizer = Tokenizer(models.Unigram(entries, unk_id=vocabulary.index("<unk>"), byte_fallback=False))
    whole = any(_SPACE in piece[1:] for piece in scores)
    _read_as_sentencepiece(tokenizer, proto, split=not whole, unknown=_unknown_runs(known, runs, vocabulary))
    return tokenizer


def _unknown_runs(known: set[str], runs: list[str], vocabulary: list[str]) -> list[normalizers.Normalizer]:
    """A replacement of each run of characters that the model lacks, but those that have an id, by one of no piece."""
    letters = "".join(map(re.escape, sorted(known - {_SPACE}))) + " " + _SPACE
    used = {char for token in vocabulary for char in token}
    unused = next(char for char in map(chr, range(0xE000, 0xF900)) if char not in used)
    names = "|".join(map(re.escape, runs))
    kept = f"(?!(?:{names})(?:[{letters}]|$))" if names else ""
    return [normalizers.Replace(Regex(f"(?<![^{letters}]){kept}[^{letters}]+"), unused)]


def _bpe(model: bytes, vocabulary: list[str]) -> Tokenizer:
    from transformers.convert_slow_tokenizer import generate_merges

    proto = _parsed(model)
    ids = {token: number for number, token in enumerate(vocabulary)}
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == _NORMAL and piece.piece in ids}
    merges = generate_merges({piece: ids[piece] for piece in scores}, scores)
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=False))
    _read_as_sentencepiece(tokenizer, proto, split=True, unknown=[])
    return tokenizer


def _read_as_sentencepiece(
    tokenizer: Tokenizer, proto: Any, *, split: bool, unknown: list[normalizers.Normalizer]
) -> None:
    """Normalize and split a text as the model does, and join pieces as it does."""
    spec = proto.normalizer_spec
    steps: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence([*steps, *unknown])
    scheme = "always" if spec.add_dummy_prefix else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme=scheme, split=split)
    joined = decoders.Metaspace(replacement=_SPACE, prepend_scheme=scheme, split=split)
    tokenizer.decoder = decoders.Sequence([joined, decoders.Fuse(), decoders.Replace(Regex("^ +| +$"), "")])


def _wrap(
    backend: Tokenizer, tokenizer: Any, *, cls: type[_Converted], added: list[str], special: bool = False
) -> _Converted:
    """
    Args:
        added: tokens that are recognized before a text is split.
        special: whether these are no text.
    """
    roles = {role: str(token) for role, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in set(roles.values())])
    tokens = [AddedToken(token, special=special, normalized=False) for token in added]
    (backend.add_special_tokens if special else backend.add_tokens)(tokens)
    end = str(tokenizer.eos_token)
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A $B {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    wrapped = cls(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
        padding_side=tokenizer.padding_side,
        **{key: tokenizer.init_kwargs.get(key) for key in ("source_lang", "target_lang")},
        **roles,
    )
    wrapped.chat_template = tokenizer.chat_template
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        wrapped.files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return wrapped
