"""Candidates for masks: the model's own probabilities, a list for every mask, none of them lost in a long text."""

from __future__ import annotations

import pytest
import torch
from builders import sentence, tiny_model
from facts import facts, logged
from small_models import small_bert

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.filling import Filling, FillOverflow, fill_texts
from llmkit.models.loaded import LoadedModel


@pytest.fixture(scope="module")
def bert() -> LoadedModel:
    return tiny_model("bert", head="masked-lm", layers=2)


def filled(
    loaded: LoadedModel,
    texts: list[str],
    *,
    top_k: int = 4,
    overflow: FillOverflow = "window",
    max_batch_tokens: int | None = None,
) -> list[Filling]:
    engine = TransformersEngine(loaded, device=torch.device("cpu"), max_batch_tokens=max_batch_tokens)
    return list(fill_texts(loaded, engine, texts, top_k=top_k, overflow=overflow))


def plain_shares(loaded: LoadedModel, text: str) -> torch.Tensor:
    """(M, V) what plain transformers expects at each mask."""
    ids = loaded.tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = loaded.model.eval()(input_ids=ids).logits[0]  # (T, V)
    return logits[ids[0] == loaded.tokenizer.mask_token_id].softmax(dim=-1).clone()


def test_candidates_are_the_likeliest_tokens_of_plain_transformers(bert: LoadedModel) -> None:
    text = "the old [MASK] sees a [MASK] under the tree"
    (result,) = filled(bert, [text])
    assert [mask.position for mask in result.masks] == [8, 22]
    for mask, shares in zip(result.masks, plain_shares(bert, text), strict=True):
        shares[bert.tokenizer.all_special_ids] = 0
        best = shares.topk(4)
        assert [one.token for one in mask.candidates] == bert.tokenizer.convert_ids_to_tokens(best.indices.tolist())
        assert [one.probability for one in mask.candidates] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_special_tokens_are_no_candidates_but_keep_their_probability(bert: LoadedModel) -> None:
    most = bert.model.config.vocab_size - len(bert.tokenizer.all_special_ids)
    ((mask,),) = (result.masks for result in filled(bert, ["a [MASK] cat"], top_k=most))
    assert {one.token for one in mask.candidates} & set(bert.tokenizer.all_special_tokens) == set()
    shares = plain_shares(bert, "a [MASK] cat")[0]
    special = float(shares[bert.tokenizer.all_special_ids].sum())
    assert sum(one.probability for one in mask.candidates) == pytest.approx(1 - special, abs=1e-5)
    assert special > 1e-4


def test_ids_that_the_tokenizer_lacks_are_no_candidates() -> None:
    loaded = tiny_model("bert", head="masked-lm")
    known = len(loaded.tokenizer)
    loaded.model.resize_token_embeddings(known + 9)
    with torch.no_grad():
        loaded.model.cls.predictions.bias[known:] = 50.0  # the most probable of all
    most = known - len(loaded.tokenizer.all_special_ids)
    ((mask,),) = (result.masks for result in filled(loaded, ["a [MASK] cat"], top_k=most))
    assert len({one.token for one in mask.candidates}) == most
    with pytest.raises(UsageError, match=facts(1, most, "candidates")):
        filled(loaded, ["a [MASK] cat"], top_k=most + 1)


def test_a_result_does_not_depend_on_the_texts_beside_it(bert: LoadedModel) -> None:
    texts = [f"[MASK] {sentence(number)} [MASK]" for number in range(12)]
    together = filled(bert, texts, max_batch_tokens=10_000)
    alone = [filled(bert, [text])[0] for text in texts]
    assert [result.text for result in together] == texts
    for one, other in zip(together, alone, strict=True):
        for first, second in zip(one.masks, other.masks, strict=True):
            assert [c.token for c in first.candidates] == [c.token for c in second.candidates]
            expected = [c.probability for c in second.candidates]
            assert [c.probability for c in first.candidates] == pytest.approx(expected, rel=1e-4)


def test_all_but_the_mask_stays_as_it_was_written(bert: LoadedModel) -> None:
    text = "The OLD [MASK],\n  sees[MASK]a tree!"
    (result,) = filled(bert, [text], top_k=40)
    pieces = 0
    for mask, before, behind in zip(
        result.masks, ("The OLD ", "The OLD [MASK],\n  sees"), (",\n  sees[MASK]a tree!", "a tree!"), strict=True
    ):
        for one in mask.candidates:
            if one.token.startswith("##"):
                pieces += 1
                assert one.text == before.rstrip() + one.token[2:] + behind
            else:
                assert one.text == before + one.token + behind
    assert pieces


def test_the_mask_may_be_written_as_the_tokenizer_spells_it() -> None:
    loaded = tiny_model("bert", head="masked-lm")
    loaded.tokenizer.add_special_tokens({"mask_token": "<mask>"})
    loaded.model.resize_token_embeddings(len(loaded.tokenizer))
    (own, ours) = filled(loaded, ["a <mask> cat", "a [MASK] cat"])
    assert [c.token for c in own.masks[0].candidates] == [c.token for c in ours.masks[0].candidates]
    with pytest.raises(DataError, match=facts("row 1:", "[MASK]", "<mask>")):
        filled(loaded, ["a cat"])


@pytest.mark.parametrize(
    ("text", "stated"),
    [("a cat", ["mask", "[MASK]"]), ("", ["text", "empty"]),
     ("[MASK] \ud800", ["text", "Unicode"]), ("[mask] cat", ["mask", "[MASK]"])],
)  # fmt: skip
def test_a_text_that_cannot_be_filled_is_refused_with_its_row(bert: LoadedModel, text: str, stated: list[str]) -> None:
    with pytest.raises(DataError, match=facts("row 2:", *stated)):
        filled(bert, ["a [MASK]", text])


def test_a_model_without_a_mask_token_is_refused() -> None:
    with pytest.raises(ModelError, match=facts("tokenizer", "mask token")):
        filled(small_bert(), ["a [MASK]"])


@pytest.mark.parametrize("top_k", [0, -1, 10_000])
def test_impossible_numbers_of_candidates_are_refused_with_the_range(bert: LoadedModel, top_k: int) -> None:
    with pytest.raises(UsageError, match=facts(f"{top_k:,}", 1, "candidates")):
        filled(bert, ["a [MASK]"], top_k=top_k)


WORDS = " ".join(sentence(number, most_words=10) for number in range(30)).split()


def test_no_mask_of_a_long_text_is_lost(bert: LoadedModel, caplog: pytest.LogCaptureFixture) -> None:
    words = WORDS.copy()
    for place in (0, len(words) // 2, len(words) - 1):
        words[place] = "[MASK]"
    text = " ".join(words)
    (short, long) = filled(bert, ["a [MASK]", text])
    assert [text[mask.position :].startswith("[MASK]") for mask in long.masks] == [True] * 3
    ids = bert.tokenizer(text, add_special_tokens=False)["input_ids"]
    places = [at for at, token in enumerate(ids) if token == bert.tokenizer.mask_token_id]
    for mask, place in zip(long.masks, places, strict=True):
        assert mask.truncated_tokens == len(ids) - 62
        start = min(max(place - 31, 0), len(ids) - 62)
        window = torch.tensor(
            [[bert.tokenizer.cls_token_id, *ids[start : start + 62], bert.tokenizer.sep_token_id]]
        )  # (1, T)
        with torch.inference_mode():
            shares = bert.model.eval()(input_ids=window).logits[0, place - start + 1].softmax(dim=-1)
            shares[bert.tokenizer.all_special_ids] = 0
        assert mask.candidates[0].token == bert.tokenizer.convert_ids_to_tokens(int(shares.argmax()))
    assert short.masks[0].truncated_tokens == 0
    assert len(logged(caplog, "WARNING", 1, "2 texts", "mask")) == 1


def test_a_long_text_is_refused_where_that_was_asked_for(bert: LoadedModel) -> None:
    with pytest.raises(DataError, match=facts("row 1:", "tokens", "tiny-bert", 64)):
        filled(bert, ["[MASK] " * 100], overflow="error")
