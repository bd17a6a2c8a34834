"""Legend: a prompt alone is what its batch must agree with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from repetitions import quick_if
from small_models import SENTENCES, small_gpt2
from transformers import GenerationConfig

from llmkit.errors import ModelError
from llmkit.inference.engines.sampling import _Draw, _RepetitionPenalty
from llmkit.inference.engines.special_ids import special_ids
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock

CPU = torch.device("cpu")
GREEDY = GenerationBlock(max_new_tokens=10)
SAMPLED = GenerationBlock(max_new_tokens=10, temperature=0.8, top_k=40, top_p=0.95)
CHOICES = {
    "greedy": GREEDY,
    "beams": GenerationBlock(max_new_tokens=10, beams=3, num_return_sequences=2),
    "penalty": GenerationBlock(max_new_tokens=10, repetition_penalty=3.0),
    "beams with penalty": GenerationBlock(max_new_tokens=10, beams=3, repetition_penalty=3.0),
    "sampled": SAMPLED,
    "several samples": GenerationBlock(max_new_tokens=10, temperature=1.0, num_return_sequences=3),
    "stopped": GenerationBlock(max_new_tokens=10, stop=("e", "th")),
    "beams stopped": GenerationBlock(max_new_tokens=10, beams=3, stop=("e", "th")),
}
QUICK = ("greedy", "beams with penalty", "sampled")


def engine_of(loaded: LoadedModel, *, max_batch_tokens: int | None = None) -> TransformersEngine:
    return TransformersEngine(loaded, device=CPU, max_batch_tokens=max_batch_tokens)


def prompts_of(loaded: LoadedModel) -> list[list[int]]:
    """Prompts of 2 to about 20 ids, not sorted by length."""
    words = [sentence.split() for sentence in SENTENCES[:4]]
    cut = [" ".join(words[index % 4][: 1 + (index * 5) % 7]) for index in range(9)]
    return [ids[:30] for ids in loaded.tokenizer(cut)["input_ids"]]


def test_class_logits_of_a_batch_are_those_of_each_text_alone(bert: LoadedModel) -> None:
    prompts = prompts_of(bert)
    together = engine_of(bert).class_logits(prompts)
    alone = np.concatenate([engine_of(bert).class_logits([prompt]) for prompt in prompts])
    cut = engine_of(bert, max_batch_tokens=25).class_logits(prompts)
    assert together.shape == (9, 3)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(cut, alone, atol=1e-5)
    assert np.ptp(alone, axis=0).max() > 0.5, "texts must differ, or the test could not see a wrong order"


def test_no_sequences_give_no_results(bert: LoadedModel, gpt2: LoadedModel) -> None:
    assert engine_of(bert).class_logits([]).shape == (0, 3)
    assert engine_of(gpt2).generate([], GREEDY) == []


@pytest.mark.parametrize("name", quick_if(QUICK.__contains__, CHOICES))
def test_a_batch_writes_what_each_prompt_writes_alone(writer: LoadedModel, name: str) -> None:
    options = CHOICES[name]
    prompts = prompts_of(writer)
    together = engine_of(writer).generate(prompts, options)
    assert all(len(lists) == options.num_return_sequences for lists in together)
    assert len({tuple(lists[0]) for lists in together}) > 3, "prompts must matter, or the test could not see an error"
    assert engine_of(writer, max_batch_tokens=1).generate(prompts, options) == together
    if not options.samples:
        assert [engine_of(writer).generate([prompt], options)[0] for prompt in prompts] == together


@pytest.mark.parametrize("name", quick_if(QUICK.__contains__, CHOICES))
def test_streamed_ids_are_those_of_generate(writer: LoadedModel, name: str) -> None:
    for prompt in prompts_of(writer):
        expected = engine_of(writer).generate([prompt], CHOICES[name])[0][0]
        assert list(engine_of(writer).generate_stream(prompt, CHOICES[name])) == expected


def test_greedy_ids_are_the_argmax_of_a_plain_forward_pass(gpt2: LoadedModel) -> None:
    prompt = prompts_of(gpt2)[4]
    ids = list(prompt)
    for _ in range(10):
        with torch.no_grad():
            ids.append(int(gpt2.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert engine_of(gpt2).generate([[5], prompt], GREEDY)[1][0] == ids[len(prompt) :]


def test_results_end_before_end_of_text(gpt2: LoadedModel) -> None:
    prompt = prompts_of(gpt2)[4]
    full = engine_of(gpt2).generate([prompt], GREEDY)[0][0]
    gpt2.tokenizer.eos_token = gpt2.tokenizer.convert_ids_to_tokens(full[4])
    ended = full[: full.index(full[4])]
    assert engine_of(gpt2).generate([prompt], GREEDY)[0][0] == ended
    assert list(engine_of(gpt2).generate_stream(prompt, GREEDY)) == ended


def test_a_word_that_a_model_writes_is_kept_if_it_is_also_the_padding(t5: LoadedModel) -> None:
    prompt = prompts_of(t5)[4]
    full = engine_of(t5).generate([prompt], GREEDY)[0][0]
    t5.tokenizer.pad_token = t5.tokenizer.convert_ids_to_tokens(full[2])
    assert engine_of(t5).generate([prompt], GREEDY)[0][0] == full
    assert list(engine_of(t5).generate_stream(prompt, GREEDY)) == full


def test_padding_that_a_model_writes_is_part_of_no_result(t5: LoadedModel) -> None:
    ids = special_ids(t5)
    assert ids.without([5, ids.pad, 6, ids.ends[0], 7]) == [5, 6]


def test_a_seed_gives_one_sample_and_another_seed_another(writer: LoadedModel) -> None:
    prompts = prompts_of(writer)
    first = engine_of(writer).generate(prompts, SAMPLED)
    assert engine_of(writer).generate(prompts, SAMPLED) == first
    assert engine_of(writer).generate(prompts, SAMPLED.model_copy(update={"seed": 18})) != first


def test_samples_of_one_prompt_differ_from_each_other(gpt2: LoadedModel) -> None:
    lists = engine_of(gpt2).generate([[5, 6], [5, 6]], CHOICES["several samples"])
    assert len({tuple(ids) for both in lists for ids in both}) == 6


def test_sampling_leaves_the_global_random_state_alone(gpt2: LoadedModel) -> None:
    before = torch.get_rng_state()
    engine_of(gpt2).generate([[5, 6]], SAMPLED)
    list(engine_of(gpt2).generate_stream([5, 6], SAMPLED))
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_follow_the_distribution_and_never_take_an_impossible_token() -> None:
    expected = [0.0, 0.5, 0.0, 0.3, 0.2]
    scores = torch.log(torch.tensor(expected)).expand(20_000, 5)
    draws = torch.from_numpy(np.random.default_rng(1).random((20_000, 1), dtype=np.float32))
    draws[0], draws[1] = 0.0, 1 - 2**-24  # the ends of [0, 1) in float32
    chosen = _Draw(draws, prompt_tokens=2)(torch.zeros(20_000, 2, dtype=torch.long), scores).argmax(dim=-1)
    shares = (torch.bincount(chosen, minlength=5) / 20_000).numpy()
    assert (int(chosen[0]), int(chosen[1])) == (1, 4)
    assert shares[0] == shares[2] == 0
    np.testing.assert_allclose(shares, expected, atol=0.015)


def test_the_repetition_penalty_spares_padding_and_marks_the_prompt() -> None:
    scores = torch.tensor([[2.0, 2.0, -2.0, 2.0], [2.0, 2.0, -2.0, 2.0]])
    ids = torch.tensor([[0, 0, 2], [0, 1, 1]])
    punished = _RepetitionPenalty(2.0, torch.tensor([2, 0]))(ids, scores)
    assert punished.tolist() == [[2.0, 2.0, -4.0, 2.0], [1.0, 1.0, -2.0, 2.0]]


def test_a_stale_generation_config_changes_nothing_and_is_left_as_it_was(writer: LoadedModel) -> None:
    prompts = prompts_of(writer)
    clean = engine_of(writer).generate(prompts, GREEDY)
    ids = {"eos_token_id": writer.tokenizer.eos_token_id, "pad_token_id": writer.tokenizer.pad_token_id}
    stale = GenerationConfig(
        do_sample=True, temperature=5.0, num_beams=2, no_repeat_ngram_size=1, min_new_tokens=9, max_length=3, **ids
    )
    writer.model.generation_config = stale
    assert engine_of(writer).generate(prompts, GREEDY) == clean
    assert writer.model.generation_config is stale


def test_a_model_in_training_computes_without_dropout_and_trains_on(gpt2: LoadedModel, bert: LoadedModel) -> None:
    expected = engine_of(bert).class_logits(prompts_of(bert))
    bert.model.train()
    np.testing.assert_array_equal(engine_of(bert).class_logits(prompts_of(bert)), expected)
    assert bert.model.training
    written = engine_of(gpt2).generate([[5, 6]], GREEDY)
    gpt2.model.train()
    assert engine_of(gpt2).generate([[5, 6]], GREEDY) == written
    assert list(engine_of(gpt2).generate_stream([5, 6], GREEDY)) == written[0][0]
    assert gpt2.model.training


def test_closing_a_stream_ends_the_work(gpt2: LoadedModel) -> None:
    calls: list[int] = []
    gpt2.model.register_forward_hook(lambda *_: calls.append(1))
    gpt2.model.train()
    stream = engine_of(gpt2).generate_stream([5, 6], GREEDY)
    next(stream)
    next(stream)
    assert not torch.is_inference_mode_enabled(), "the caller's own code must not run in inference mode"
    stream.close()
    assert len(calls) == 2
    assert gpt2.model.training


def test_a_batch_ends_early_when_each_row_has_its_stop_text(gpt2: LoadedModel) -> None:
    calls: list[int] = []
    gpt2.model.register_forward_hook(lambda *_: calls.append(1))
    prompt = prompts_of(gpt2)[4]
    ids = engine_of(gpt2).generate([prompt, prompt], GREEDY)[0][0]
    stop = str(gpt2.tokenizer.decode(ids[1:3])).strip("\N{REPLACEMENT CHARACTER}")
    calls.clear()
    stopped = engine_of(gpt2).generate([prompt, prompt], GREEDY.model_copy(update={"stop": (stop,)}))
    assert stop
    assert len(calls) <= 4
    assert stopped[0][0] == ids[: len(stopped[0][0])]


@pytest.mark.parametrize("options", [GREEDY, SAMPLED, CHOICES["beams"]])
def test_damaged_weights_are_an_error_and_not_token_0(writer: LoadedModel, options: GenerationBlock) -> None:
    with torch.no_grad():
        writer.model.get_input_embeddings().weight[:] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        engine_of(writer).generate([[5, 6], [7]], options)
    with pytest.raises(ModelError, match="not finite"):
        list(engine_of(writer).generate_stream([5, 6], options))


def test_damaged_weights_of_a_classifier_are_an_error(bert: LoadedModel) -> None:
    with torch.no_grad():
        bert.model.classifier.weight[1, 0] = torch.inf
    with pytest.raises(ModelError, match="damaged"):
        engine_of(bert).class_logits([[2, 8, 3]])


def test_a_model_without_end_of_text_is_refused() -> None:
    loaded = small_gpt2()
    loaded.model.config.eos_token_id = loaded.model.generation_config.eos_token_id = None
    loaded.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="end-of-text"):
        engine_of(loaded).generate([[5]], GREEDY)


def test_an_end_of_text_outside_the_vocabulary_gives_way_to_the_tokenizers() -> None:
    loaded = small_gpt2()
    loaded.model.config.eos_token_id = loaded.model.generation_config.eos_token_id = 50256
    assert engine_of(loaded).generate([[5], [6, 7, 8]], GREEDY) == engine_of(small_gpt2()).generate(
        [[5], [6, 7, 8]], GREEDY
    )
