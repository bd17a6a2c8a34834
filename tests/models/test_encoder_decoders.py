"""BART, mBART, Marian, Pegasus, M2M100 and NLLB read, write and save what plain transformers does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import recipe_of, sentence, train
from encoder_decoder_folders import (
    LANGUAGES,
    OTHER_WORDS,
    POSITIONS,
    Kind,
    tiny_encoder_decoder,
    write_model,
    write_tokenizer,
)
from facts import facts
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer

from llmkit.api import evaluate_model, finetune, load
from llmkit.api.verbs import verb_of_model
from llmkit.data.rows import Row
from llmkit.errors import ModelError, UsageError
from llmkit.models.layers import freeze
from llmkit.models.loading import load_model, load_tokenizer
from llmkit.models.resolve import find_model
from llmkit.tasks.build import build_task
from llmkit.tasks.of_model import recipe_of_model

TEXTS = [sentence(number) for number in range(12)]
MULTILINGUAL: tuple[Kind, ...] = ("mbart", "mbart-50", "m2m100", "nllb", "nllb-suffix")
TRANSLATORS: tuple[Kind, ...] = (*MULTILINGUAL, "marian", "marian-many")


def by_transformers(folder: Path, kind: Kind, texts: list[str], **options: Any) -> list[str]:
    """Each text alone, from English to German or Romanian."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    if kind in LANGUAGES:
        source, target = LANGUAGES[kind]
        tokenizer.src_lang = source
        token = tokenizer.get_lang_id(target) if kind == "m2m100" else tokenizer.convert_tokens_to_ids(target)
        options["decoder_start_token_id" if kind == "mbart" else "forced_bos_token_id"] = token
        options.setdefault("decoder_start_token_id", tokenizer.eos_token_id)
    if kind == "marian-many":
        texts = [f">>deu<< {text}" for text in texts]
    written = []
    for text in texts:
        output = model.generate(**tokenizer(text, return_tensors="pt"), **options)[0]
        if kind == "m2m100":  # transformers (5.x) does not count its languages as special
            output = torch.tensor([token for token in output.tolist() if token not in tokenizer.id_to_lang_token])
        written.append(tokenizer.decode(output, skip_special_tokens=True))
    return written


@pytest.mark.parametrize(
    "kind", [kind if kind == "m2m100" else pytest.param(kind, marks=pytest.mark.slow) for kind in TRANSLATORS]
)
def test_translations_are_those_of_transformers_with_and_without_beams(kind: Kind, tmp_path: Path) -> None:
    write_model(tmp_path, kind, layers=2)
    model = load(str(tmp_path), verb="translate")
    source, target = LANGUAGES.get(kind, ("en", "de"))
    for options in ({"beams": 1}, {"beams": 3, "no_repeat_ngram_size": 2}):
        translations = model.translate(
            TEXTS, source_language=source, target_language=target, max_new_tokens=9, **options
        )
        named = {"num_beams" if key == "beams" else key: value for key, value in options.items()}
        expected = by_transformers(tmp_path, kind, TEXTS, max_new_tokens=9, **named)
        assert [translation.texts[0] for translation in translations] == [text.strip() for text in expected]
        assert len(set(expected)) > 2


@pytest.mark.parametrize("kind", TRANSLATORS)
def test_rows_of_a_translation_have_the_ids_of_transformers(kind: Kind, tmp_path: Path) -> None:
    write_model(tmp_path, kind)
    source, target = LANGUAGES.get(kind, ("en", "de"))
    pairs = [(text, " ".join(OTHER_WORDS[number : number + 3])) for number, text in enumerate(TEXTS)]
    chosen = [Row({"source": text, "target": other}, "rows.jsonl:1") for text, other in pairs]
    task = build_task(
        recipe_of("translation", source_language=source, target_language=target),
        load_model(str(tmp_path), head="seq2seq-lm"),
    )
    examples = task.encode(chosen)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    if kind in LANGUAGES:
        tokenizer.src_lang, tokenizer.tgt_lang = source, target
    prefix = ">>deu<< " if kind == "marian-many" else ""
    expected = [tokenizer(prefix + text, text_target=other) for text, other in pairs]
    for number, row in enumerate(expected):
        assert examples.columns["input_ids"][number].tolist() == row["input_ids"]
        assert examples.columns["target_ids"][number].tolist() == row["labels"]
    assert examples.writing == {}  # a language's token is no text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mbart", "m2m100", "nllb"])
def test_a_trained_translator_keeps_its_languages_here_and_in_transformers(kind: Kind, tmp_path: Path) -> None:
    write_model(tmp_path / "base", kind)
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"source": text, "target": "der hund"}) + "\n" for text in TEXTS))
    recipe = tmp_path / "recipe.yaml"
    source, target = ("en", "ro") if kind == "mbart" else ("English", "de")
    recipe.write_text(
        f"recipe: 1\ntask: translation\nmodel: {tmp_path / 'base'}\ndata: {{train: {data}, validation: {data}}}\n"
        f"source_language: {source}\ntarget_language: {target}\nmax_source_tokens: 64\nmax_target_tokens: 16\n"
        "train: {steps: 1}\n"
    )
    assert finetune(recipe, run=tmp_path / "run") is not None
    model = load(str(tmp_path / "run"))
    ours = [translation.texts[0] for translation in model.translate(TEXTS, max_new_tokens=8)]
    folder = tmp_path / "run" / "model"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.src_lang, tokenizer.tgt_lang) == LANGUAGES[kind]
    plain: Any = AutoModelForSeq2SeqLM.from_pretrained(folder)
    outputs = [plain.generate(**tokenizer(text, return_tensors="pt"), max_new_tokens=8)[0] for text in TEXTS]
    first, second = plain.generation_config.decoder_start_token_id, plain.generation_config.forced_bos_token_id
    language = (
        tokenizer.get_lang_id(target) if kind == "m2m100" else tokenizer.convert_tokens_to_ids(LANGUAGES[kind][1])
    )
    assert language == (first if kind == "mbart" else second)
    names = set(getattr(tokenizer, "id_to_lang_token", ()))
    kept = [[token for token in output.tolist() if token not in names] for output in outputs]
    assert ours == [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in kept]
    with pytest.raises(UsageError, match=facts("--from fr", "en to")):
        model.translate(["a cat"], source_language="fr")


@pytest.mark.parametrize(
    ("kind", "source", "target", "named"),
    [
        ("mbart-50", "en", "Klingon", ("--to", "Klingon", "ar_AR")),
        ("m2m100", "en", None, ("--to", "af")),
        ("nllb", "en", "zh", ("zho_Hans", "zho_Hant")),
        ("nllb", "eng", "deu_Latn", ()),
        ("marian", "en", "fr", ("--to", "'fr'", "deu")),
        ("marian-many", "en", None, ("deu", "nds", "--to")),
        ("marian-many", "en", "fr", ("'fr'", "deu, nds")),
    ],
)
def test_a_language_that_a_model_lacks_is_refused_with_those_it_has(
    kind: Kind, source: str, target: str | None, named: tuple[str, ...], tmp_path: Path
) -> None:
    write_model(tmp_path, kind)
    model = load(str(tmp_path), verb="translate")
    if not named:
        assert len(list(model.translate(["a cat"], source_language=source, target_language=target))) == 1
        return
    with pytest.raises(UsageError, match=facts(*named)):
        list(model.translate(["a cat"], source_language=source, target_language=target))


def test_a_marian_of_one_pair_needs_no_languages(tmp_path: Path) -> None:
    write_model(tmp_path, "marian")
    model = load(str(tmp_path), verb="translate")
    [bare] = model.translate(["a cat"])
    [named] = model.translate(["a cat"], source_language="English", target_language="de")
    assert bare == named


@pytest.mark.parametrize("kind", ["marian", "m2m100"])
def test_a_tokenizer_in_python_has_the_same_ids_with_the_tokenizers_library(kind: Kind, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, kind)
    theirs: Any = AutoTokenizer.from_pretrained(tmp_path)
    model_type = {"marian": "marian", "m2m100": "m2m_100"}[kind]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    ours: Any = load_tokenizer(find_model(str(tmp_path)))
    rng = np.random.default_rng(5)
    letters = list("thecatßüð ☃☁日本 \n\t ﬁ½.,'▁</s>")
    words = [*OTHER_WORDS, *sentence(3).split(), "</s>", "naïve", "☃☁", "größer", ""]
    texts = [" ".join(rng.choice(words, size=rng.integers(0, 8))) for _ in range(150)]
    texts += ["".join(rng.choice(letters, size=rng.integers(0, 16))) for _ in range(150)]
    for text in texts:
        ids = theirs(text)["input_ids"]
        assert ours(text)["input_ids"] == ids
        if kind == "marian":
            assert ours.targets(text)["input_ids"] == theirs(text_target=text)["input_ids"]
            assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)
    if kind == "marian":
        assert any(theirs.unk_token_id in ours.targets(text)["input_ids"] for text in texts)


def test_two_vocabularies_of_a_marian_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, "marian", share_encoder_decoder_embeddings=False, tie_word_embeddings=False)
    with pytest.raises(ModelError, match="share_encoder_decoder_embeddings"):
        load_model(str(tmp_path), head="seq2seq-lm")


@pytest.mark.parametrize(
    "key",
    [
        "decoder_layers",
        "encoder_layers",
        "decoder_ffn_dim",
        "max_position_embeddings",
        "vocab_size",
        "encoder_attention_heads",
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_refused(key: str, tmp_path: Path) -> None:
    write_model(tmp_path, "bart")
    config = json.loads((tmp_path / "config.json").read_text())
    for value in (3, 50_000_000, 0):
        (tmp_path / "config.json").write_text(json.dumps({**config, key: value}))
        with pytest.raises(ModelError):
            load_model(str(tmp_path), head="seq2seq-lm")


def test_sines_of_positions_are_not_trained(tmp_path: Path) -> None:
    for kind in ("marian", "pegasus"):
        task = build_task(recipe_of("translation"), tiny_encoder_decoder(kind))
        before = task.loaded.model.get_decoder().embed_positions.weight.detach().clone()
        trained = train(task, steps=2)
        assert torch.equal(trained.task.loaded.model.get_decoder().embed_positions.weight, before)


@pytest.mark.parametrize("kind", ["bart", "marian", "m2m100"])
def test_more_text_than_a_decoder_has_positions_for_is_refused_or_cut(kind: Kind, tmp_path: Path) -> None:
    write_model(tmp_path, kind)
    model = load(str(tmp_path), verb="summarize")
    assert model.loaded.window == POSITIONS
    with pytest.raises(UsageError, match=facts("max_new_tokens", str(POSITIONS))):
        model.summarize(["a cat"], max_new_tokens=POSITIONS + 1)
    [summary] = model.summarize([" ".join(TEXTS * 3)], max_new_tokens=POSITIONS, min_new_tokens=POSITIONS - 1)
    assert summary.truncated_tokens > 0


def test_weights_in_old_layouts_are_read(tmp_path: Path) -> None:
    """The body without a head, in half precision; embeddings stored under each name; tables of sines as buffers."""
    model = write_model(tmp_path / "bart", "bart")
    model.final_logits_bias.zero_()
    model.model.half().save_pretrained(tmp_path / "bart")
    opened = load_model(str(tmp_path / "bart"), head="seq2seq-lm")
    assert opened.new_weights == ()
    assert opened.model.lm_head.weight.dtype == torch.float32
    write_model(tmp_path / "m2m", "m2m100")
    stored = load_file(tmp_path / "m2m" / "model.safetensors")
    before = load_model(str(tmp_path / "m2m"), head="seq2seq-lm").model
    for part in ("encoder", "decoder"):
        stored[f"model.{part}.embed_positions.weights"] = torch.zeros(66, 16)
        stored[f"model.{part}.embed_tokens.weight"] = stored["model.shared.weight"].clone()
    stored["model.encoder.version"] = torch.zeros(1)
    save_file(stored, tmp_path / "m2m" / "model.safetensors", metadata={"format": "pt"})
    after = load_model(str(tmp_path / "m2m"), head="seq2seq-lm").model
    ids = torch.tensor([[5, 6, 7, 2]])
    assert torch.equal(after(ids, decoder_input_ids=ids).logits, before(ids, decoder_input_ids=ids).logits)


def test_a_bart_classifier_reads_texts_and_pairs_as_transformers_does(tmp_path: Path) -> None:
    write_model(tmp_path, "bart", head="classification")
    model = load(str(tmp_path), verb="classify")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    plain: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    texts = [*TEXTS, "a cat </s> and a dog"]
    for text, result in zip(texts, model.classify(texts), strict=True):
        inputs = tokenizer(text, return_tensors="pt", split_special_tokens=True)
        with torch.inference_mode():
            expected = plain(**inputs).logits[0].softmax(-1)
        shares = torch.tensor([result.probabilities[label] for label in model.loaded.labels])
        torch.testing.assert_close(shares, expected, rtol=1e-4, atol=1e-5)


def test_pegasus_writes_new_lines(tmp_path: Path) -> None:
    from llmkit.tasks.decoding import decode_new

    loaded = tiny_encoder_decoder("pegasus")
    ids = loaded.tokenizer.convert_tokens_to_ids(["▁the", "<n>", "▁small", "</s>"])
    assert decode_new(loaded, ids) == "the\nsmall"


def test_a_published_translator_of_one_pair_is_measured_as_one(tmp_path: Path) -> None:
    write_model(tmp_path / "model", "marian")
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"source": text, "target": "der hund"}) + "\n" for text in TEXTS))
    result = evaluate_model(str(tmp_path / "model"), data=[str(data)])
    assert "bleu" in result.scores.values


@pytest.mark.parametrize("kind", ["m2m100", "nllb", "marian-many"])
def test_a_translator_of_many_languages_is_not_measured_as_a_summarizer(kind: Kind, tmp_path: Path) -> None:
    write_model(tmp_path, kind)
    loaded = load_model(str(tmp_path), head="seq2seq-lm")
    with pytest.raises(UsageError) as caught:
        recipe_of_model(loaded, head="seq2seq-lm", data=["rows.jsonl"])
    assert all(option in str(caught.value) for option in ("--from", "--to", "--predictions"))


@pytest.mark.parametrize(("kind", "verb"), [("marian", "translate"), ("nllb", "translate"), ("bart", "summarize")])
def test_the_main_command_of_a_translator_is_translate(kind: Kind, verb: str, tmp_path: Path) -> None:
    write_model(tmp_path, kind)
    assert verb_of_model(json.loads((tmp_path / "config.json").read_text())) == verb


def test_the_norm_of_barts_embeddings_belongs_to_them() -> None:
    loaded = tiny_encoder_decoder("bart", layers=2)
    freeze(loaded, embeddings=True, layers=0)
    frozen = {name for name, weight in loaded.model.named_parameters() if not weight.requires_grad}
    assert {"model.encoder.layernorm_embedding.weight", "model.decoder.embed_positions.weight"} <= frozen
    assert not any(".layers." in name for name in frozen)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("marian", "source_lang", 0.5),
        ("marian", "target_lang", [[]]),
        ("mbart-50", "src_lang", 3),
        ("nllb", "tgt_lang", {}),
        ("m2m100", "eos_token", None),
        ("m2m100", "num_madeup_words", 10**12),
        ("nllb", "legacy_behaviour", "x"),
    ],
)
def test_a_setting_of_a_tokenizer_of_another_type_is_refused(
    kind: Kind, key: str, value: object, tmp_path: Path
) -> None:
    write_model(tmp_path, kind)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(ModelError):
        load(str(tmp_path))


@pytest.mark.parametrize("kind", ["marian", "m2m100"])
@pytest.mark.parametrize("value", ["x", None, 0, 1.5, True, -1, 10**6])
def test_a_vocabulary_with_an_id_that_is_none_of_its_own_is_refused(kind: Kind, value: object, tmp_path: Path) -> None:
    write_model(tmp_path, kind)
    ids = json.loads((tmp_path / "vocab.json").read_text())
    changed = {**ids, list(ids)[-1]: value}
    (tmp_path / "vocab.json").write_text(json.dumps(changed))
    with pytest.raises(ModelError) as caught:
        load_model(str(tmp_path), head="seq2seq-lm")
    assert "vocab.json" in str(caught.value)
