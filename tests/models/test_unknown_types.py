"""Models of types that are no family's: the message says what they are, and what is nearest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from facts import facts
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CLIPConfig,
    PreTrainedConfig,
    PreTrainedModel,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    Wav2Vec2Config,
)

import llmkit
from llmkit.errors import ModelError
from llmkit.models.families import FAMILIES, family_of

TYPES = {kind for family in FAMILIES.values() for kind in family.model_types}


def refusal(model_type: object, **more: Any) -> str:
    with pytest.raises(ModelError) as caught:
        family_of(model_type, name="the model", **more)
    message = str(caught.value)
    assert message.startswith("the model: ")
    assert len(message) < 1000
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("model_type", "meant"),
    [
        ("robert", "roberta"),
        ("BERT", "bert"),
        ("gpt-2", "gpt2"),
        ("xlm_roberta", "xlm-roberta"),
        ("modern-bert", "modernbert"),
        ("flan-t5", "t5"),
        ("byt5", "t5"),
        ("deberta-v3", "deberta-v2"),
    ],
)
def test_a_misspelled_type_and_the_name_of_a_model_name_the_type_that_is_meant(model_type: str, meant: str) -> None:
    assert f"{model_type!r}. Did you mean {meant!r}?" in refusal(model_type)


@pytest.mark.parametrize(
    ("model_type", "kind", "nearest", "never"),
    [
        ("longformer", "encoder", "bert", {"gpt2", "t5"}),
        ("deberta", "encoder", "deberta-v2", {"gpt2", "t5"}),
        ("bloom", "decoder", "gpt2", {"bert", "t5"}),
        ("mamba", "decoder", "gpt2", {"bert", "t5"}),
        ("umt5", "encoder-decoder", "mt5", {"bert", "gpt2"}),
        ("longt5", "encoder-decoder", "t5", {"bert", "gpt2"}),
    ],
)
def test_another_text_model_names_the_types_of_its_kind(
    model_type: str, kind: str, nearest: str, never: set[str]
) -> None:
    listed = refusal(model_type).partition(f"The nearest {kind}s: ")[2].partition(". ")[0].split(", ")
    assert nearest in listed
    assert set(listed) <= TYPES - never


def test_the_types_with_the_most_similar_names_come_first() -> None:
    assert "encoders: deberta-v2, " in refusal("deberta")
    assert "encoder-decoders: mt5, t5" in refusal("umt5")


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [
        ("vit", "vision"),
        ("detr", "vision"),
        ("clip_vision_model", "vision"),
        ("whisper", "speech"),
        ("wav2vec2", "speech"),
        ("vits", "speech"),
        ("clip", "multimodal"),
        ("llava", "multimodal"),
        ("layoutlm", "multimodal"),
        ("patchtst", "time series"),
    ],
)
def test_a_model_whose_input_is_no_text_is_told_apart(model_type: str, kind: str) -> None:
    message = refusal(model_type)
    assert kind in message
    assert "text only" in message


@pytest.mark.parametrize(
    ("architectures", "told"),
    [
        (["BertForMaskedLM"], '"model_type": "bert"'),
        (["XLMRobertaForTokenClassification"], '"model_type": "xlm-roberta"'),
        (["ViTForImageClassification"], "vision"),
        (["BloomForCausalLM"], "gpt2"),
        (["Unheard"], "Add it"),
        ([5], "Add it"),
        ("x", "Add it"),
        (None, "Add it"),
    ],
)
def test_without_a_type_the_class_says_what_the_model_is(architectures: object, told: str) -> None:
    message = refusal(None, architectures=architectures)
    assert "no model_type" in message
    assert told in message


@pytest.mark.parametrize("model_type", [5, ["bert"], {"bert": 1}, True, "", "x" * 10_000])
def test_a_type_that_is_no_name_is_refused(model_type: object) -> None:
    assert "bert" in refusal(model_type)


def _folder(path: Path, model: PreTrainedModel | None, config: PreTrainedConfig) -> Path:
    (config if model is None else model).save_pretrained(path)
    return path


@pytest.mark.parametrize("kind", ["vit", "swin", "clip", "wav2vec2"])
def test_a_folder_of_another_kind_is_refused_for_that_whatever_else_is_wrong_with_it(kind: str, tmp_path: Path) -> None:
    match kind:
        case "vit":
            config: PreTrainedConfig = ViTConfig(
                hidden_size=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=8,
                image_size=8,
                patch_size=4,
            )
            folder = _folder(tmp_path, ViTForImageClassification(config), config)
        case "swin":  # its num_heads is a list
            config = SwinConfig(image_size=8, patch_size=2, embed_dim=8, depths=[1], num_heads=[2], window_size=2)
            folder = _folder(tmp_path, SwinForImageClassification(config), config)
        case "clip":  # without weights
            folder = _folder(tmp_path, None, CLIPConfig())
        case _:
            folder = _folder(tmp_path, None, Wav2Vec2Config())
    for verb in (None, "classify"):
        with pytest.raises(ModelError, match=facts(kind, "text only")):
            llmkit.load(str(folder), verb=verb)  # type: ignore[arg-type]


def test_a_published_decoder_of_another_family_is_refused_with_the_nearest(tmp_path: Path) -> None:
    config = BloomConfig(vocab_size=30, hidden_size=8, n_layer=1, n_head=2)
    BloomForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=facts("bloom", "decoder", "gpt2")):
        llmkit.load(str(tmp_path))
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "auto_map": {"AutoModel": "modeling.Model"}}))
    with pytest.raises(ModelError, match="auto_map"):
        llmkit.load(str(tmp_path))
