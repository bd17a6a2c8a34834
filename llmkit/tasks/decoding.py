"""From new token ids to text: whole characters only, cut at the first stop text.

The engine's early stop, whole results and streamed chunks all use these functions.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from llmkit.models.languages import language_ids
from llmkit.models.loaded import LoadedModel
from llmkit.models.special_tokens import special_ids_of
from llmkit.models.threads import locked_tokenizer
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.engine import StreamingEngine
from llmkit.tasks.saved import SavedWriting, writing_config
from llmkit.tasks.token_ids import token_ids

logger = logging.getLogger("llmkit")
_LEAD_TOKENS = 16
HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"
"""What a byte-level tokenizer writes for bytes that are no character, or not yet."""


@dataclass(frozen=True)
class Lead:
    """The end of a prompt that new ids continue."""

    ids: Sequence[int] = ()
    text: str = ""


NO_LEAD = Lead()


class TextDecoder:
    """From new ids to text, for one model.

    Special tokens are left out, except those that the model was trained to write.
    """

    def __init__(self, loaded: LoadedModel, *, keep_special: bool = False, written: SavedWriting | None = None) -> None:
        """
        Args:
            keep_special: keep all special tokens but those that pad, start or end a text.
            written: the special tokens that are text; None for those in the model's config.
        """
        from tokenizers.decoders import ByteLevel

        self._tokenizer = loaded.tokenizer
        self._cleans_up = None if loaded.family.cleans_up_spaces else False
        newline = loaded.family.newline
        self._newline = re.compile(f" *{re.escape(newline)} *") if newline else None
        self._continues = loaded.family.continues_prompts
        written = written or writing_config(loaded)
        special = special_ids_of(loaded.tokenizer)
        text_names = set(written.special_tokens or ())
        self._edges = {name for token, name in special.items() if token in edge_ids(loaded)}
        kept = {token for token, name in special.items() if name in text_names}
        if keep_special:
            kept |= {token for token, name in special.items() if name not in self._edges}
        self._left_out = {token: name for token, name in special.items() if token not in kept}
        names = sorted((special[token] for token in kept), key=lambda name: (-len(name), name))
        self._kept_names = re.compile(f"(?: *(?:{'|'.join(map(re.escape, names))}))+ *") if names else None
        self._name = re.compile("|".join(map(re.escape, names)))
        spaced = written.spaced_special_tokens
        self._spaced = self._parts_spaces(names[0]) if names and spaced is None else bool(spaced)
        # The text of bytes is their texts, one after another; other decoders need the word before.
        backend = loaded.tokenizer.backend_tokenizer
        self._joins = isinstance(backend.decoder, ByteLevel)
        self._bytes = set() if self._joins else {backend.token_to_id(f"<0x{byte:02X}>") for byte in range(256)}
        self.hidden: Counter[str] = Counter()
        """Special tokens that `count_hidden` found."""

    def text(self, ids: Sequence[int], lead: Lead = NO_LEAD) -> str:
        """The text of new ids, without half a character at the end.

        Args:
            lead: what they continue: with it, the space before the first word is known.
        """
        text = self._after(ids, lead)
        if self._spaced and self._kept_names is not None:
            text = self._kept_names.sub(lambda match: self._with_spaces(match, continues=bool(lead.ids)), text)
        return text.rstrip(HALF_CHARACTER)

    def lead(self, prompt: Sequence[int]) -> Lead:
        """The last token of a prompt that is text, if the text of new ids depends on it."""
        if self._joins or not self._continues:
            return NO_LEAD
        ordinary = [token for token in prompt[-_LEAD_TOKENS:] if token not in self._left_out]
        for size in range(1, len(ordinary) + 1):
            text = self._decoded(ordinary[-size:])
            if text.strip(HALF_CHARACTER) == text and text.strip():
                return Lead(ordinary[-size:], text)
        return NO_LEAD

    def settled(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids without the bytes at their end, which SentencePiece's decoders replace if an invalid one follows."""
        last = len(ids)
        while last and (ids[last - 1] in self._bytes or ids[last - 1] in self._left_out):
            last -= 1
        return ids[:last]

    def count_hidden(self, ids: Sequence[int]) -> None:
        """Count the special tokens among generated ids that are not in the text, without padding, start and end."""
        names = (self._left_out[token] for token in ids if token in self._left_out)
        self.hidden.update(name for name in names if name not in self._edges)

    def report(self) -> None:
        """Log the special tokens that were generated and left out."""
        if self.hidden:
            logger.warning(
                "%s special tokens were generated and are left out of the texts: %s. Keep them with --keep-special",
                f"{self.hidden.total():,}",
                ", ".join(f"{name} ({count:,})" for name, count in self.hidden.most_common(5)),
            )

    def _after(self, ids: Sequence[int], lead: Lead) -> str:
        if lead.ids:
            whole = self._decoded([*lead.ids, *ids])
            if whole.startswith(lead.text):
                return whole[len(lead.text) :]
        return self._decoded(ids)

    def _decoded(self, ids: Sequence[int]) -> str:
        text_ids = [token for token in ids if token not in self._left_out]
        with locked_tokenizer(self._tokenizer):
            text = self._tokenizer.decode(text_ids, clean_up_tokenization_spaces=self._cleans_up)
        assert isinstance(text, str)  # a list only for a list of lists
        return text if self._newline is None else self._newline.sub("\n", text)

    def _parts_spaces(self, name: str) -> bool:
        """Whether decoding loses the space between a word and a special token."""
        (ids,) = token_ids(self._tokenizer, [f"a {name} b"], special=False)
        return f" {name} " not in self._decoded(ids)

    def _with_spaces(self, match: re.Match[str], *, continues: bool) -> str:
        before = " " if match.start() or (continues and match[0].startswith(" ")) else ""
        after = " " if match.end() < len(match.string) else ""
        return before + " ".join(self._name.findall(match[0])) + after


def decode_new(loaded: LoadedModel, ids: Sequence[int]) -> str:
    """The text of new ids that continue nothing."""
    return TextDecoder(loaded).text(ids)


def edge_ids(loaded: LoadedModel) -> set[int | None]:
    """The ids that pad, start or end a text, or name its language; padding that also stands for unknown words is not among
    them."""
    tokenizer = loaded.tokenizer
    padding = set() if tokenizer.pad_token_id == tokenizer.unk_token_id else {tokenizer.pad_token_id}
    ends = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.cls_token_id}
    return padding | ends | set(language_ids(tokenizer).values())


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the earliest of the stop texts begins; None where there is none."""
    return min((position for stop in stops if (position := text.find(stop)) >= 0), default=None)


class Written(NamedTuple):
    text: str
    finished: bool
    """Whether it ended by itself, not at its length limit."""


def written(decoder: TextDecoder, ids: Sequence[int], options: GenerationBlock, *, prompt: Sequence[int]) -> Written:
    """The text of new ids after a prompt, up to the first stop text; the decoder counts its special tokens."""
    text = decoder.text(ids, decoder.lead(prompt))
    decoder.count_hidden(ids)
    stop = first_stop(text, options.stop)
    finished = stop is not None or not options.reaches_limit(len(ids), prompt_tokens=len(prompt))
    return Written(text[:stop], finished)


class LimitCount:
    """Counts texts that their length limit ended, for one warning."""

    def __init__(self, options: GenerationBlock, *, what: str = "generated texts") -> None:
        limits = {"max_new_tokens": options.max_new_tokens, "max_length": options.max_length}
        key = "max_new_tokens" if options.max_length is None else "max_length"
        self._limit = f"{key} {limits[key]:,}"
        self._what = what
        self._texts = self._cut = 0

    def add(self, *finished: bool) -> None:
        self._texts += len(finished)
        self._cut += finished.count(False)

    def report(self) -> None:
        if self._cut:
            logger.warning(
                "%s of %s %s reached the limit of %s and are cut off there. Raise --max-new-tokens (in Python "
                "max_new_tokens)",
                *(f"{self._cut:,}", f"{self._texts:,}", self._what, self._limit),
            )
        self._texts = self._cut = 0


def stable_text(loaded: LoadedModel, text: str, stops: Sequence[str]) -> str:
    """The start of a growing text that further tokens cannot change and that contains no start of a stop text."""
    if loaded.family.cleans_up_spaces and loaded.tokenizer.clean_up_tokenization_spaces:
        # "do n" becomes "don't" with its next token: a word is stable once the next one begins.
        text = text[: max(text.rfind(" "), 0)]
    return text[: len(text) - max((_overlap(text, stop) for stop in stops), default=0)]


def stream_ids(
    loaded: LoadedModel,
    engine: StreamingEngine,
    prompt: Sequence[int],
    *,
    options: GenerationBlock,
    on_end: Callable[[bool], None],
) -> Iterator[str]:
    """The text after a prompt of ids, in chunks as they are generated.

    Args:
        on_end: called after the last chunk with whether the text ended by itself, not at its length limit.
    """
    ids: list[int] = []
    sent = ""
    decoder = TextDecoder(loaded, keep_special=options.keep_special)
    lead = decoder.lead(prompt)
    with closing(engine.generate_stream(prompt, options)) as tokens:
        for token in tokens:
            ids.append(token)
            text = decoder.text(ids, lead)
            if first_stop(text, options.stop) is not None:
                break
            settled = decoder.settled(ids)
            stable = stable_text(
                loaded, text if len(settled) == len(ids) else decoder.text(settled, lead), options.stop
            )
            if len(stable) > len(sent):
                yield stable[len(sent) :]
                sent = stable
    result = written(decoder, ids, options, prompt=prompt)
    rest = result.text[len(sent) :]
    if rest:
        yield rest
    decoder.report()
    on_end(result.finished)


def stripped(chunks: Iterator[str]) -> Iterator[str]:
    """The chunks of a text without the white space at its two ends."""
    trailing = ""
    begun = False
    for chunk in chunks:
        text = trailing + chunk
        if not begun:
            text = text.lstrip()
        ready = text.rstrip()
        trailing = text[len(ready) :]
        if ready:
            begun = True
            yield ready


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of `text` that is a prefix of `stop`."""
    return next((size for size in range(min(len(stop), len(text)), 0, -1) if text.endswith(stop[:size])), 0)
