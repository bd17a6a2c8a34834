"""Threads that share one model get what one thread alone gets, and leave the model as it was. No time is measured."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import sentence
from published_models import published_folder
from transformers import AutoModelForMultipleChoice

import llmkit
from llmkit.api.model import Model
from llmkit.api.verbs import USES, Verb
from llmkit.errors import DataError
from llmkit.models.chat import TEMPLATE
from llmkit.models.export import unique_tensors

pytestmark = pytest.mark.slow  # each verb from eight threads

THREADS = 8
TEXTS = [f"{sentence(number)} [SEP] <|endoftext|>" for number in (3, 5, 8, 13, 21)]
SHORT = {"max_new_tokens": 6}
Work = Callable[[Model, str], Any]
"""What one use makes of one text: words and numbers."""


def _classified(model: Model, text: str, **options: Any) -> Any:
    return [(one.label, one.probabilities, one.windows) for one in model.classify([text * 3, text], **options)]


def _written(results: Any) -> Any:
    return [one.texts for one in results]


def _asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"<|endoftext|> {text[:6]}"}]


USES_OF: dict[Verb, list[Work]] = {
    "answer": [
        lambda model, text: [(one.text, one.start, one.score) for one in model.answer_many([(text[:20], text * 2)])],
        lambda model, text: model.answer("the cat", text).score,
    ],
    "choose": [
        lambda model, text: [
            (one.index, one.probabilities)
            for one in model.choose(
                [{"context": text * 4, "choices": ["a cat", text]}, {"question": text, "choices": ["ab", "c"]}]
            )
        ],
    ],
    "classify": [_classified, lambda model, text: _classified(model, text, overflow="window")],
    "chat": [
        lambda model, text: model.chat(_asked(text), **SHORT).text,
        lambda model, text: list(model.stream_chat(_asked(text), temperature=0.9, **SHORT)),
        lambda model, text: _written(model.generate([text], raw=True, overflow="truncate", beams=2, **SHORT)),
    ],
    "embed": [
        lambda model, text: model.embed([text * 3]),
        lambda model, text: model.embed([text * 3], pooling="first", overflow="window"),
    ],
    "fill": [lambda model, text: [one.masks for one in model.fill([f"[MASK] {text}", f"{text * 4} [MASK]"], top_k=2)]],
    "generate": [
        lambda model, text: _written(model.generate([text, text[:9]], **SHORT)),
        lambda model, text: _written(model.generate([text], beams=3, num_return_sequences=2, **SHORT)),
        lambda model, text: _written(model.generate([text], temperature=0.8, repetition_penalty=1.7, **SHORT)),
        lambda model, text: "".join(model.stream(text, stop=["e"], **SHORT)),
    ],
    "summarize": [
        lambda model, text: _written(model.summarize([text * 4, text], **SHORT)),
        lambda model, text: _written(model.summarize([text], beams=3, stop=["e"], max_new_tokens=3)),
        lambda model, text: _written(model.summarize([text * 6], overflow="window", beams=2, **SHORT)),
        lambda model, text: _written(model.generate([text], overflow="truncate", temperature=1.5, **SHORT)),
    ],
    "tag": [
        lambda model, text: [one.words for one in model.tag([text * 3, text])],
        lambda model, text: [one.words for one in model.tag([text * 3], overflow="truncate")],
    ],
    "translate": [
        lambda model, text: _written(model.translate([text], source_language="en", target_language="de", **SHORT)),
        lambda model, text: _written(model.translate([text * 6], target_language="fr", beams=2, max_new_tokens=3)),
    ],
}
FAMILIES = {"causal-lm": "gpt2", "seq2seq-lm": "t5"}


@pytest.fixture(autouse=True)
def _many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def opened(verb: Verb, folder: Path) -> Model:
    head = USES[verb].head
    published_folder(
        folder,
        FAMILIES.get(head, "bert"),
        head=None if verb == "choose" else head,
        chat_template=TEMPLATE if verb == "chat" else None,  # type: ignore[arg-type]
    )
    if verb == "choose":
        torch.manual_seed(2)
        AutoModelForMultipleChoice.from_pretrained(folder).save_pretrained(folder)
    if verb == "translate":
        config = json.loads((folder / "config.json").read_text())
        pairs = {f"translation_en_to_{code}": {"prefix": f"to {code}: "} for code in ("de", "fr")}
        (folder / "config.json").write_text(json.dumps({**config, "task_specific_params": pairs}))
    model = llmkit.load(str(folder), verb=verb)
    model.loaded.tokenizer.model_max_length = 48
    return model


def state_of(model: Model) -> dict[str, Any]:
    """All that a use could leave changed."""
    loaded = model.loaded
    tokenizer, backend = loaded.tokenizer, loaded.tokenizer.backend_tokenizer
    writes = loaded.model.can_generate()
    return {
        "generation_config": loaded.model.generation_config.to_dict() if writes else None,
        "same generation_config": id(loaded.model.generation_config) if writes else None,
        "config": loaded.model.config.to_dict(),
        "modes": [module.training for module in loaded.model.modules()],
        "backend": backend.to_str(),
        "tokenizer": (backend.truncation, backend.padding, backend.encode_special_tokens, tokenizer.padding_side),
        "random": torch.get_rng_state().tolist(),
    }


def in_threads(works: list[Callable[[], Any]]) -> list[Any]:
    """What each returns, all begun at once; what one raises is raised."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(begin, work) for work in works]]


def assert_same(found: Any, expected: Any) -> None:
    """Words alike, numbers alike but for rounding."""
    if isinstance(expected, float | np.ndarray):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    elif isinstance(expected, dict):
        assert_same(list(found.items()), list(expected.items()))
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif hasattr(expected, "__dataclass_fields__"):
        assert_same(vars(found), vars(expected))
    else:
        assert found == expected


@pytest.mark.parametrize("verb", USES_OF)
def test_eight_threads_get_what_one_gets_and_leave_the_model_as_it_was(verb: Verb, tmp_path: Path) -> None:
    model = opened(verb, tmp_path)
    jobs = [(use, text) for text in TEXTS for use in USES_OF[verb]]
    before = state_of(model)
    expected = [use(model, text) for use, text in jobs]

    def work(first: int) -> dict[int, Any]:
        """All jobs, each thread beginning elsewhere, half of them backwards."""
        order = [*range(first, len(jobs)), *range(first)][:: 1 if first % 2 else -1]
        return {number: jobs[number][0](model, jobs[number][1]) for number in order}

    for results in in_threads([lambda first=thread: work(first % len(jobs)) for thread in range(THREADS)]):
        for number, result in results.items():
            assert_same(result, expected[number])
    assert state_of(model) == before


def test_a_list_of_texts_gives_in_a_thread_what_it_gives_alone(tmp_path: Path) -> None:
    model = opened("summarize", tmp_path)
    texts = [sentence(number) for number in range(24)]
    before, expected = state_of(model), _written(model.summarize(texts, **SHORT))

    def work(size: int) -> Any:
        """In pieces of another size in each thread."""
        pieces = [texts[start : start + size] for start in range(0, len(texts), size)]
        return [one for piece in pieces for one in _written(model.summarize(piece, **SHORT))]

    results = in_threads([lambda size=size: work(size) for size in (1, 2, 3, 4, 6, 8, 12, 24)])
    assert all(result == expected for result in results)
    assert state_of(model) == before
    assert len({tuple(one) for one in expected}) > 3, "texts must matter, or the test could not see an error"


def test_two_verbs_at_once_get_what_each_gets_alone(tmp_path: Path) -> None:
    """One cuts a text in the tokenizer, the others never do."""
    model = opened("summarize", tmp_path)
    text = TEXTS[1] * 4
    works: list[Callable[[], Any]] = [
        lambda: [_written(model.summarize([text], **SHORT)) for _ in range(6)],
        lambda: [_written(model.summarize([text], overflow="window", **SHORT)) for _ in range(6)],
        lambda: [_written(model.generate([text[:20]], beams=2, **SHORT)) for _ in range(6)],
    ]
    before, expected = state_of(model), [work() for work in works]
    assert in_threads(works * 2) == expected * 2
    assert state_of(model) == before


def test_a_stream_that_is_left_half_way_stops_no_other_thread(tmp_path: Path) -> None:
    model = opened("generate", tmp_path)
    before, expected = state_of(model), "".join(model.stream(TEXTS[0], **SHORT))
    paused = model.stream(TEXTS[0], **SHORT)
    first = next(paused)
    found = in_threads([lambda: "".join(model.stream(TEXTS[0], **SHORT))] * 4)
    left = model.stream(TEXTS[1], **SHORT)
    next(left)
    del left
    assert found == [expected] * 4
    assert first + "".join(paused) == expected, "the same thread may begin another use in between"
    assert state_of(model) == before


def test_an_error_in_one_thread_changes_nothing_for_the_others(tmp_path: Path) -> None:
    model = opened("summarize", tmp_path)
    before, expected = state_of(model), _written(model.summarize(TEXTS, **SHORT))

    def fail() -> Any:
        with pytest.raises(DataError):
            list(model.summarize([TEXTS[0] * 9], overflow="error", **SHORT))
        with pytest.raises(DataError):
            list(model.summarize([TEXTS[0], " "], **SHORT))

    results = in_threads([fail, lambda: _written(model.summarize(TEXTS, **SHORT))] * 4)
    assert results[1::2] == [expected] * 4
    assert state_of(model) == before


def test_asyncio_may_use_a_model_in_its_threads(tmp_path: Path) -> None:
    model = opened("summarize", tmp_path)
    before, expected = state_of(model), [_written(model.summarize([text], **SHORT)) for text in TEXTS]

    async def all_at_once() -> list[Any]:
        works = [asyncio.to_thread(lambda text=text: _written(model.summarize([text], **SHORT))) for text in TEXTS]
        return list(await asyncio.gather(*works))

    assert asyncio.run(all_at_once()) == expected
    assert state_of(model) == before


def test_models_that_are_opened_at_once_have_the_weights_of_one_opened_alone(tmp_path: Path) -> None:
    """New weights are drawn from torch's global random numbers."""
    from transformers.utils import logging as theirs

    from llmkit.models.loading import load_model

    published_folder(tmp_path, "bert")

    def weights(seed: int) -> dict[str, torch.Tensor]:
        loaded = load_model(str(tmp_path), head="classification", labels=("a", "b", "c"), new_head=True, seed=seed)
        return unique_tensors(loaded.model)

    expected = [weights(seed) for seed in range(THREADS)]
    before = torch.get_rng_state(), theirs.get_verbosity()
    found = in_threads([lambda seed=seed: weights(seed) for seed in range(THREADS)])
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert theirs.get_verbosity() == before[1]
