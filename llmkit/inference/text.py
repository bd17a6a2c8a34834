"""From texts to summaries and continuations, with an engine and a tokenizer.

Texts are read in chunks and results keep their order, so that a file of any length is processed in bounded memory.
Rows are counted from 1. Nothing is truncated silently. Knows no files and no commands.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from llmkit.errors import UsageError
from llmkit.inference.prompt_ids import encode_for_model
from llmkit.inference.prompts import AnsweredPrompts, Prompt
from llmkit.models.chat import contents_of
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.decoding import LimitCount, TextDecoder, Written, stream_ids, stripped, written
from llmkit.tasks.engine import Engine, StreamingEngine
from llmkit.tasks.inputs import (
    LongTextCount,
    Overflow,
    check_texts,
    numbered_chunks,
)
from llmkit.tasks.seq2seq.chunks import TextSplitter, write_in_rounds
from llmkit.tasks.unknown import UnknownCount

logger = logging.getLogger("llmkit")

GENERATE_CHUNK_ROWS = 512
"""Few, since the results of a chunk are returned together, and generation is slow."""


@dataclass(frozen=True)
class Generation:
    prompt: str
    """The input text, without prefix."""
    texts: list[str]
    """`num_return_sequences` new texts, without the prompt, each up to its first stop text."""
    truncated_tokens: int
    """Tokens of the prompt that the model did not see."""
    parts: int = 1
    """Number of chunks that a long text was split into, with overflow `window`."""
    unknown_tokens: int = 0
    """Tokens of the prompt that stand for text that the model cannot read."""
    texts_finished: list[bool] = field(default_factory=list)
    """Whether each text ended by itself, not at its length limit."""

    @property
    def finished(self) -> bool:
        """Whether no text was cut off at the length limit."""
        return all(self.texts_finished)


def summarize_texts(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str],
    *,
    options: GenerationBlock,
    prefix: str,
    overflow: Overflow,
    rows_before: int = 0,
) -> Iterator[Generation]:
    """The output of an encoder-decoder for `prefix` + each text, such as a summary or a translation.

    Args:
        options: `max_new_tokens` must be set.
        overflow: what to do with a text longer than `loaded.window`; `truncate` removes its end, and the number of
            truncated texts is logged once, as a warning, after the last result.
        rows_before: as in `generate_texts`.
    Raises:
        DataError: an empty text, one that is not valid Unicode, or one too long under `error`.
        ModelError: the model gives no finite numbers.
    """
    yield from _generate(
        loaded,
        engine,
        texts,
        options=options,
        prefix=prefix,
        overflow=overflow,
        may_be_empty=False,
        rows_before=rows_before,
    )


def summarize_in_parts(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str],
    *,
    options: GenerationBlock,
    prefix: str,
    overlap_tokens: int | None,
) -> Iterator[Generation]:
    """As `summarize_texts`, without truncation: a text that is too long is summarized in chunks, then their joined
    summaries, until one is left.

    Args:
        overlap_tokens: overlap of neighbouring chunks in tokens; None for a quarter of the window.
    Raises:
        UsageError: several summaries per text, or sampled ones, are requested.
        DataError, ModelError: as `summarize_texts`.
    """
    if options.num_return_sequences > 1:
        raise UsageError("overflow window generates one summary per text; remove num_return_sequences")
    if options.samples:  # sampling depends on a sequence's index, and that of a chunk depends on the texts before it
        raise UsageError(
            "overflow window does not support sampling; remove temperature, top_k and top_p, or truncate long texts "
            "with overflow truncate"
        )
    splitter = TextSplitter(loaded.tokenizer, prefix, loaded.window, overlap_tokens)
    unknown = UnknownCount(loaded.tokenizer)
    texts_read = long_texts = 0

    decoder = TextDecoder(loaded, keep_special=options.keep_special)
    cut_texts = LimitCount(options)

    def write(sequences: list[Sequence[int]]) -> list[Written]:
        outputs = engine.generate(sequences, options)
        return [written(decoder, ids, options, prompt=prompt) for [ids], prompt in zip(outputs, sequences, strict=True)]

    for first_row, chunk in numbered_chunks(texts, size=GENERATE_CHUNK_ROWS):
        check_texts(chunk, first_row=first_row, may_be_empty=False)
        chunks = [splitter.split(text) for text in chunk]
        texts_read += len(chunk)
        long_texts += sum(len(text_chunks) > 1 for text_chunks in chunks)
        counts = unknown.add(chunk, names_are_text=loaded.tokenizer.split_special_tokens)
        summaries = write_in_rounds(chunks, write=write, split=splitter.split)
        for text, text_chunks, summary, count in zip(chunk, chunks, summaries, counts, strict=True):
            cut_texts.add(summary.finished)
            finished, parts = [summary.finished], len(text_chunks)
            yield Generation(text, [summary.text], 0, parts, unknown_tokens=count, texts_finished=finished)
    cut_texts.report()
    unknown.report()
    decoder.report()
    if long_texts:
        logger.info(
            "%s of %s texts were too long for %s (window %s tokens) and were summarized in chunks",
            *(f"{long_texts:,}", f"{texts_read:,}", loaded.name, f"{loaded.window:,}"),
        )


def generate_texts(
    loaded: LoadedModel,
    engine: Engine,
    prompts: Iterable[str | Prompt],
    *,
    options: GenerationBlock,
    prefix: str = "",
    overflow: Overflow,
    as_turns: bool = False,
    rows_before: int = 0,
) -> Iterator[Generation]:
    """New text for each prompt: its continuation by GPT-2, or T5's output for it.

    Sampling is reproducible: a result depends on the seed, the row and the prompt, whatever else is in the file.

    Args:
        options: `max_new_tokens` must be set.
        overflow: `truncate` drops the start of a prompt for GPT-2, which continues from its end, and the end of
            one for T5. An empty prompt is allowed: GPT-2 begins a new text.
        as_turns: each prompt is what a user says to a chat model, and the text its answer; none may then be empty.
            Without sampling, a prompt that leaves less room gets a shorter answer, and the oldest messages before it
            are not read if there are too many; both are counted in a warning at the end.
        rows_before: prompts of the same file that an earlier call has read, a multiple of `GENERATE_CHUNK_ROWS`; what is
            sampled depends on the row.
    Raises:
        UsageError: GPT-2 has no room for the prompt and `max_new_tokens`.
        DataError: a prompt that is not valid Unicode, or too long for T5 under `error`.
        ModelError: the model gives no finite numbers.
    """
    yield from _generate(
        loaded,
        engine,
        prompts,
        options=options,
        prefix=prefix,
        overflow=overflow,
        may_be_empty=not as_turns,
        as_turns=as_turns,
        rows_before=rows_before,
    )


def stream_text(
    loaded: LoadedModel, engine: StreamingEngine, prompt: str, *, options: GenerationBlock, as_turn: bool = False
) -> Iterator[str]:
    """Stream the first text of `generate_texts` in chunks of whole characters, without any part of a stop text.

    Closing the iterator stops the engine.

    Raises:
        UsageError, DataError, ModelError: as `generate_texts` with overflow `error`, before the first chunk.
    """
    check_texts([prompt], first_row=1, may_be_empty=not as_turn)
    encoded = encode_for_model(
        loaded, [Prompt(prompt)], first_row=1, options=options, overflow="error", as_turns=as_turn
    )[0]
    unknown = UnknownCount(loaded.tokenizer)
    unknown.add([prompt], [encoded.ids], names_are_text=as_turn or loaded.tokenizer.split_special_tokens)
    unknown.report()
    cut_texts = LimitCount(options)
    chunks = stream_ids(loaded, engine, encoded.ids, options=options, on_end=cut_texts.add)
    yield from stripped(chunks) if as_turn else chunks
    cut_texts.report()


def _generate(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str | Prompt],
    *,
    options: GenerationBlock,
    prefix: str,
    overflow: Overflow,
    may_be_empty: bool,
    as_turns: bool = False,
    rows_before: int = 0,
) -> Iterator[Generation]:
    long_texts = LongTextCount(loaded)
    answered = AnsweredPrompts(loaded, engine, options) if as_turns and not options.samples else None
    decoder = TextDecoder(loaded, keep_special=options.keep_special)
    cut_texts = LimitCount(options)
    try:
        for first_row, given in numbered_chunks(texts, size=GENERATE_CHUNK_ROWS):
            chunk = [item if isinstance(item, Prompt) else Prompt(item) for item in given]
            check_texts([prompt.text for prompt in chunk], first_row=first_row, may_be_empty=may_be_empty)
            if answered is not None:
                unknown = long_texts.unknown.add([contents_of(prompt.chat) for prompt in chunk])
                all_answers = answered.texts(chunk, first_row=first_row)
                for item, answers, count in zip(chunk, all_answers, unknown, strict=True):
                    cut_texts.add(*(answer.finished for answer in answers))
                    yield _generation(item, answers, truncated_tokens=0, unknown_tokens=count)
                continue
            encoded = encode_for_model(
                loaded, chunk, first_row=first_row, options=options, overflow=overflow, prefix=prefix, as_turns=as_turns
            )
            long_texts.add([prompt.truncated_tokens for prompt in encoded])
            names_are_text = as_turns or loaded.tokenizer.split_special_tokens
            read, all_ids = [prompt.text for prompt in encoded], [prompt.all_ids for prompt in encoded]
            unknown = long_texts.unknown.add(read, all_ids, names_are_text=names_are_text)
            new = engine.generate(
                [prompt.ids for prompt in encoded], _options_of_chunk(options, first_row=rows_before + first_row)
            )
            for item, prompt, lists, count in zip(chunk, encoded, new, unknown, strict=True):
                results = [written(decoder, ids, options, prompt=prompt.ids) for ids in lists]
                if as_turns:
                    results = [Written(result.text.strip(), result.finished) for result in results]
                cut_texts.add(*(result.finished for result in results))
                yield _generation(item, results, truncated_tokens=prompt.truncated_tokens, unknown_tokens=count)
        long_texts.unknown.report()
        decoder.report()
    finally:
        cut_texts.report()
        long_texts.report()
        if answered is not None:
            answered.report()


def _generation(
    prompt: Prompt, results: Sequence[Written], *, truncated_tokens: int, unknown_tokens: int
) -> Generation:
    texts, finished = [result.text for result in results], [result.finished for result in results]
    return Generation(prompt.text, texts, truncated_tokens, unknown_tokens=unknown_tokens, texts_finished=finished)


def _options_of_chunk(options: GenerationBlock, *, first_row: int) -> GenerationBlock:
    """An engine counts sequences from 0 in each call: without a new seed, all chunks would sample with the same numbers."""
    import numpy as np

    if first_row == 1:
        return options
    seed = int(np.random.SeedSequence((options.seed, first_row)).generate_state(1)[0])
    return options.model_copy(update={"seed": seed})
