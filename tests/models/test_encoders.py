"""What differs between encoders: windows, pairs, masks, word starts. `tests/families` has what is the same for all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from adapted import saved
from builders import (
    recipe_of,
    tiny_model,
)
from tokenizers import decoders

from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.filling import _with_token, fill_texts
from llmkit.models.families import verb_of_class
from llmkit.models.loading import load_model
from llmkit.tasks.classification.inputs import TextInputs
from llmkit.tasks.question_answering.windows import encode_pairs
from llmkit.tasks.token_classification.subwords import subwords_of_texts, subwords_of_words

QUICK = ("distilbert", "roberta", "modernbert")
each_family = pytest.mark.parametrize(
    "family",
    [
        family if family in QUICK else pytest.param(family, marks=pytest.mark.slow)
        for family in ("albert", "deberta", "distilbert", "electra", "modernbert", "mpnet", "roberta")
    ],
)


@each_family
def test_candidates_for_a_mask_are_those_of_transformers_own_logits(family: str) -> None:
    loaded = tiny_model(family, head="masked-lm")
    ids = loaded.tokenizer(f"the {loaded.tokenizer.mask_token} walks")["input_ids"]
    place = ids.index(loaded.tokenizer.mask_token_id)
    engine = TransformersEngine(loaded, device=torch.device("cpu"))
    [[(found, shares)]] = engine.most_probable_tokens([ids], [[place]], top_k=3, never=())
    with torch.inference_mode():
        wanted = loaded.model.eval()(input_ids=torch.tensor([ids])).logits[0, place].softmax(-1).topk(3)
    assert found.tolist() == wanted.indices.tolist()
    assert shares == pytest.approx(wanted.values.numpy(), rel=1e-5)


def test_a_body_without_a_head_is_fine_tuned_with_a_new_one(tmp_path: Path) -> None:
    masked = tiny_model("distilbert", head="masked-lm")
    opened = load_model(str(saved(masked, tmp_path / "model")), head="classification", labels=("a", "b"), new_head=True)
    assert set(opened.new_weights) == {
        "classifier.bias",
        "classifier.weight",
        "pre_classifier.bias",
        "pre_classifier.weight",
    }
    assert recipe_of("classification").FAMILIES[:2] == ("bert", "distilbert")


@pytest.mark.parametrize(("family", "positions"), [("bert", 64), ("roberta", 64), ("mpnet", 64), ("modernbert", 64)])
def test_the_window_is_what_the_model_can_read(family: str, positions: int) -> None:
    loaded = tiny_model(family)
    assert loaded.window == positions
    ids = torch.full((1, positions), loaded.tokenizer.unk_token_id)
    assert loaded.model(input_ids=ids).logits.shape == (1, 3)
    if family == "roberta":
        with pytest.raises((IndexError, RuntimeError)):
            loaded.model(input_ids=torch.full((1, positions + 1), loaded.tokenizer.unk_token_id))


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_pair_is_encoded_as_its_tokenizer_does(family: str) -> None:
    loaded = tiny_model(family, head="question-answering")
    [pair] = encode_pairs(loaded, [("the stone", "old river moves")], overlap=2)
    assert pair.sequences == [loaded.tokenizer("the stone", "old river moves")["input_ids"]]
    inputs = TextInputs(loaded, pairs=True)
    [row] = inputs.read(["the stone"], ["old river moves"])
    assert inputs.whole(row) == pair.sequences[0]


def test_words_of_byte_level_bpe_are_those_of_the_running_text() -> None:
    tokenizer = tiny_model("roberta", head="token-classification").tokenizer
    words = ["the", "stone", "moves", "\u00e9t\u00e9"]
    [of_words] = subwords_of_words(tokenizer, [words])
    text = " ".join(words)
    assert of_words.ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    [of_text] = subwords_of_texts(tokenizer, [f" {text}  "])
    assert [f" {text}  "[start:end] for start, end in of_text.spans] == words


@pytest.mark.parametrize(
    ("text", "filled"),
    [("the <mask> walks", "the old walks"), ("<mask> walks", "old walks"), ("the<mask> walks", "the old walks")],
)
def test_a_filled_mask_of_roberta_leaves_one_space(text: str, filled: str) -> None:
    loaded = tiny_model("roberta", head="masked-lm")
    assert (
        _with_token(*text.split("<mask>")[:1], "\u0120old", text.split("<mask>")[1], decoder=decoders.ByteLevel())
        == filled
    )
    [filling] = fill_texts(
        loaded, TransformersEngine(loaded, device=torch.device("cpu")), [text], top_k=1, overflow="window"
    )
    assert "<mask>" not in filling.masks[0].candidates[0].text


@pytest.mark.parametrize("model_type", ["xlm-roberta", "camembert"])
def test_types_with_the_architecture_of_roberta_have_classes_of_their_own(model_type: str, tmp_path: Path) -> None:
    loaded = tiny_model("roberta", head="masked-lm", layers=2)
    folder = saved(loaded, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    name = {"xlm-roberta": "XLMRoberta", "camembert": "Camembert"}[model_type]
    changed = {**config, "model_type": model_type, "architectures": [f"{name}ForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(changed))
    opened = load_model(str(folder), head="masked-lm")
    assert type(opened.model).__name__ == f"{name}ForMaskedLM"
    ids = torch.tensor([loaded.tokenizer("the stone")["input_ids"]])
    assert torch.equal(opened.model.eval()(input_ids=ids).logits, loaded.model.eval()(input_ids=ids).logits)
    assert verb_of_class(f"{name}ForTokenClassification") == "tag"
