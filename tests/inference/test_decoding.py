"""From generated ids to text: spaces, words with a special role, and special tokens."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

import pytest
import torch
from builders import tiny_model
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from llmkit.inference.engines.special_ids import special_ids
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.text import generate_texts, stream_text
from llmkit.models.families import FAMILIES
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.decoding import TextDecoder
from llmkit.tasks.saved import SavedWriting
from llmkit.tasks.targets import TargetCheck

WORDS = ("the", "fox", "!", "jumps", "over")


def word_tokenizer(kind: str, **roles: str) -> PreTrainedTokenizerFast:
    """One token a word, with the space inside (`▁fox`) or as BERT's words."""
    special = ["<s>", "</s>", "<pad>", "<unk>", "<sep>"]
    words = [f"▁{word}" for word in WORDS] if kind == "metaspace" else [*WORDS, "##es"]
    vocab = {token: number for number, token in enumerate([*special, *words])}
    if kind == "metaspace":
        backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        backend.decoder = decoders.Metaspace()
    else:
        backend = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(cleanup=False)
    backend.add_special_tokens([AddedToken(token, special=True) for token in special])
    roles = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", **roles}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def writer(tokenizer: PreTrainedTokenizerFast, *order: str) -> LoadedModel:
    """A GPT-2 that writes these tokens one after another: the next one depends on the last one alone."""
    size = len(tokenizer)
    config = GPT2Config(
        vocab_size=size, n_embd=size, n_layer=0, n_head=1, n_positions=32, tie_word_embeddings=False, eos_token_id=1
    )
    model = GPT2LMHeadModel(config)
    ids = tokenizer.convert_tokens_to_ids(list(order))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.transformer.wte.weight.copy_(torch.eye(size))
        model.transformer.ln_f.weight.fill_(1.0)
        for before, after in itertools.pairwise(ids):
            model.lm_head.weight[after, before] = 10.0
    return LoadedModel(model=model.eval(), tokenizer=tokenizer, family=FAMILIES["gpt2"], name="writer")


def written(loaded: LoadedModel, prompt: str, **options: object) -> str:
    """The text after the prompt, which is the same from a stream."""
    engine = TransformersEngine(loaded, device=torch.device("cpu"))
    block = GenerationBlock(max_new_tokens=4, **options)  # type: ignore[arg-type]
    (result,) = generate_texts(loaded, engine, [prompt], options=block, overflow="error")
    assert "".join(stream_text(loaded, engine, prompt, options=block)) == result.texts[0]
    return result.texts[0]


@pytest.mark.parametrize("kind", ["metaspace", "wordpiece"])
def test_the_first_word_after_a_prompt_keeps_its_space(kind: str) -> None:
    mark = "▁" if kind == "metaspace" else ""
    loaded = writer(word_tokenizer(kind), f"{mark}the", f"{mark}fox", f"{mark}jumps", "</s>")
    assert written(loaded, "the") == " fox jumps"
    assert written(loaded, "the", stop=(" jumps",)) == " fox"


def test_the_first_word_of_a_text_has_no_space() -> None:
    loaded = writer(word_tokenizer("metaspace"), "</s>", "▁the", "▁fox", "</s>")
    assert written(loaded, "") == "the fox"


def test_a_subword_goes_on_with_the_last_word_of_the_prompt() -> None:
    loaded = writer(word_tokenizer("wordpiece"), "fox", "##es", "over", "</s>")
    assert written(loaded, "the fox") == "es over"


@pytest.mark.parametrize("padding", ["▁!", "▁fox"])
def test_padding_that_is_a_word_deletes_no_word(padding: str) -> None:
    loaded = writer(word_tokenizer("metaspace", pad_token=padding), "▁the", "▁fox", "▁!", "▁jumps", "</s>")
    assert written(loaded, "the").split() == ["fox", "!", "jumps"]
    engine = TransformersEngine(loaded, device=torch.device("cpu"))
    block = GenerationBlock(max_new_tokens=4)
    texts = [
        result.texts[0].split()
        for result in generate_texts(loaded, engine, ["the", "over the fox !"], options=block, overflow="error")
    ]
    assert texts == [["fox", "!", "jumps"], ["jumps"]]


def test_padding_that_is_the_unknown_token_ends_nothing() -> None:
    loaded = writer(word_tokenizer("metaspace", pad_token="<unk>"), "▁the", "<unk>", "▁fox", "</s>")
    assert written(loaded, "the") == " fox"
    assert written(loaded, "the", keep_special=True) == "<unk> fox"
    assert special_ids(loaded).without([3, 6, 1, 3]) == [3, 6]


def test_special_tokens_are_left_out_counted_and_kept_on_request(caplog: pytest.LogCaptureFixture) -> None:
    loaded = writer(word_tokenizer("metaspace"), "▁the", "▁fox", "<sep>", "▁jumps", "</s>")
    caplog.set_level(logging.WARNING)
    assert written(loaded, "the") == " fox jumps"
    assert any("<sep> (1)" in record.getMessage() for record in caplog.records)
    assert written(loaded, "the", keep_special=True).split() == ["fox", "<sep>", "jumps"]


def test_special_tokens_that_a_model_was_trained_to_write_are_text() -> None:
    loaded = writer(word_tokenizer("metaspace"), "▁the", "▁fox", "<sep>", "▁jumps", "</s>")
    loaded.model.config.task_specific_params = {"causal-lm": {"special_tokens": ["<sep>"]}}
    assert written(loaded, "the") == " fox <sep> jumps"


@pytest.mark.parametrize("targets", [["the <sep> fox", "<sep> fox <sep> <sep> over"], ["the<sep>fox"]])
def test_targets_with_special_tokens_can_be_written(targets: list[str]) -> None:
    """Spaces around them are what the targets have, though the ids are the same."""
    tokenizer = word_tokenizer("metaspace")
    loaded = replace(tiny_model("t5"), tokenizer=tokenizer)
    ids = [tokenizer(text)["input_ids"] for text in targets]
    check = TargetCheck(loaded)
    check.add(targets, ids)
    assert check.written.special_tokens == ["<sep>"]
    decoder = TextDecoder(loaded, written=check.written)
    if check.differing == 0:
        assert [decoder.text(own) for own in ids] == targets
    else:  # a space at one side only, which no rule gives back
        assert check.example is not None


def test_targets_that_no_ids_can_spell_are_counted_with_an_example() -> None:
    tokenizer = word_tokenizer("metaspace")
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(Regex("[{}]"), "")
    loaded = replace(tiny_model("t5"), tokenizer=tokenizer)
    texts = ["{the} fox", "the  fox", "the cat"]
    check = TargetCheck(loaded)
    check.add(texts, [tokenizer(text)["input_ids"] for text in texts])
    assert check.differing == 2
    assert check.example == ("{the} fox", "the fox")


def test_nothing_saved_means_no_special_token_is_text() -> None:
    assert SavedWriting().special_tokens is None
