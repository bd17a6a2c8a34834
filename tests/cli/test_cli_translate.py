"""`llmkit translate`, and what encoder-decoders remember for their use: a tiny T5 trained on nested rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from facts import facts, says
from test_cli_errors import assert_one_line
from tiny_recipes import FOOD, SPORT, llmkit, rows, save_tiny_t5

import llmkit as package
from llmkit.errors import UsageError

RECIPE = """recipe: 1
task: translation
model: tiny-t5
data: {train: rows.jsonl, validation: 20%, columns: {source: translation.en, target: translation.de}}
source_language: English
target_language: de-AT
max_source_tokens: 48
max_target_tokens: 12
train: {steps: 2, batch_size: 4}
evaluation: {every: 2 steps, max_rows: 4, metrics: [chrf]}
"""
PAIRS = {
    f"translation_en_to_{code}": {"num_beams": 2, "max_length": 5, "prefix": f"say {code}: "} for code in ("de", "fr")
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """runs/translate-001, and `pairs`, a T5 that says of itself what google-t5/t5-small does."""
    place = tmp_path_factory.mktemp("translate")
    before = Path.cwd()
    os.chdir(place)
    nested = ({"translation": {"en": row["text"], "de": row["summary"]}} for row in rows(40))
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in nested))
    Path("translate.yaml").write_text(RECIPE)
    save_tiny_t5(Path("tiny-t5"))
    save_tiny_t5(Path("pairs"))
    config = json.loads(Path("pairs/config.json").read_text())
    Path("pairs/config.json").write_text(json.dumps({**config, "task_specific_params": PAIRS}))
    outcome = llmkit("finetune", "translate.yaml")
    assert outcome.code == 0, outcome.err
    yield place
    os.chdir(before)


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def config_of(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(Path(name, "config.json").read_text())
    return config


def test_a_run_remembers_prefix_languages_and_length() -> None:
    assert config_of("runs/translate-001/model")["task_specific_params"] == {
        "translation": {
            "prefix": "translate English to German: ",
            "source_language": "English",
            "target_language": "de-AT",
        }
    }
    generation = json.loads(Path("runs/translate-001/model/generation_config.json").read_text())
    assert 1 < generation["max_new_tokens"] <= 12


def test_each_line_of_a_pipe_is_translated_in_order() -> None:
    outcome = llmkit("translate", "--json", stdin=f"{SPORT}\n{FOOD}\n".encode())
    assert [record["text"] for record in outcome.records] == [SPORT, FOOD]
    assert list(outcome.records[0]) == ["row", "text", "translation", "finished", "truncated_tokens"]
    plain = llmkit("translate", stdin=f"{SPORT}\n{FOOD}\n".encode())
    assert plain.out.splitlines() == [record["translation"] for record in outcome.records]


def test_the_languages_of_a_run_may_be_named_and_no_others() -> None:
    assert llmkit("translate", SPORT, "--from", "en", "--to", "German").code == 0
    line = assert_one_line(llmkit("translate", SPORT, "--to", "fr"), kind="usage", code=2)
    says(line, "--to fr", "runs/translate-001", "en to de")


def test_a_model_of_several_pairs_has_to_be_told_which() -> None:
    line = assert_one_line(llmkit("translate", SPORT, "-m", "pairs"), kind="usage", code=2)
    says(line, "pairs", "en to de, en to fr", "--from", "--to")
    line = assert_one_line(llmkit("translate", SPORT, "-m", "pairs", "--to", "ro"), kind="usage", code=2)
    says(line, "--to ro", "pairs", "en to de, en to fr")
    assert llmkit("translate", SPORT, "-m", "pairs", "--from", "en", "--to", "fr").code == 0


def test_the_pair_decides_prefix_length_and_beams() -> None:
    model = package.load("pairs", verb="translate")
    prompts: list[list[int]] = []
    engine = model._engine
    generate, options_seen = engine.generate, []

    def spy(sequences: Any, options: Any) -> Any:
        prompts.extend(sequences)
        options_seen.append(options)
        return generate(sequences, options)

    engine.generate = spy  # type: ignore[method-assign]
    list(model.translate(["soup"], target_language="fr"))
    assert prompts == [model.loaded.tokenizer("say fr: soup")["input_ids"]]
    # transformers counts the decoder's start in max_length
    assert (options_seen[0].max_new_tokens, options_seen[0].beams) == (4, 2)


def test_generate_and_summarize_use_the_prefix_of_a_text_to_text_model() -> None:
    model = package.load("tiny-t5")
    raw = [one.texts for one in model.generate(["say: soup"], max_new_tokens=4)]
    model.loaded.model.config.task_specific_params = {"text-to-text": {"prefix": "say: "}}
    for written in (model.generate(["soup"], max_new_tokens=4), model.summarize(["soup"], max_new_tokens=4)):
        assert [one.texts for one in written] == raw
    assert "".join(model.stream("soup", max_new_tokens=4)) == raw[0][0]


def test_a_long_text_is_summarized_in_parts_on_request() -> None:
    text = " ".join(f"{SPORT}." for _ in range(9))
    record = llmkit("summarize", text, "-m", "tiny-t5", "--overflow", "window", "--max-new-tokens", "4", "--json")
    assert record.code == 0, record.err
    assert record.records[0]["parts"] > 1  # type: ignore[operator]
    assert record.records[0]["truncated_tokens"] == 0
    says(record.err, 1, "texts", "tiny-t5", "48 tokens", "chunks")
    with pytest.raises(UsageError, match=facts("one summary")):
        list(package.load("tiny-t5").summarize([text], overflow="window", temperature=1.0, num_return_sequences=2))


CASES = [
    ("model", 4, ["translate", "a", "-m", "tiny-t5"], ["tiny-t5", "languages"]),
    ("model", 4, ["summarize", "a", "-m", "runs/translate-001"], ["runs/translate-001", "translation", "summarize"]),
    ("usage", 2, ["translate", "a", "--to", "Germna"], ["language", "'Germna'", "'german'"]),
    ("data", 3, ["translate", "  "], ["row 1:", "text", "empty"]),
    ("data", 3, ["translate", "nothing.txt"], ["nothing.txt", "file"]),
    ("usage", 2, ["translate", "a", "--beams", "0"], ["--beams", 0, 1]),
    ("usage", 2, ["translate", "a", "--max-new-tokens", "0"], ["--max-new-tokens", 0]),
]


@pytest.mark.parametrize(("kind", "code", "arguments", "stated"), CASES)
def test_what_cannot_be_is_one_line(kind: str, code: int, arguments: list[str], stated: list[object]) -> None:
    says(assert_one_line(llmkit(*arguments), kind=kind, code=code), *stated)


@pytest.mark.parametrize("verb", ["translate", "summarize", "generate"])
def test_half_a_character_is_refused(verb: str) -> None:
    Path("half.jsonl").write_text('{"text": "a \\ud800"}\n')
    line = assert_one_line(llmkit(verb, "half.jsonl", "-m", "pairs", *TO[verb]), kind="data", code=3)
    says(line, "half.jsonl:1:", "'text'", "surrogate")


TO = {"translate": ["--to", "de"], "summarize": [], "generate": []}


def test_evaluate_tells_signatures_and_how_many_texts_reached_the_limit() -> None:
    outcome = llmkit("evaluate", "--metric", "bleu", "--metric", "ter")
    assert outcome.code == 0, outcome.err
    says(outcome.out, "bleu tokenizer: 13a", "de")
    assert "tok:tercom" in outcome.out
    says(outcome.out, "texts", "max_new_tokens")
    wrong = llmkit("evaluate", "--data", "rows.jsonl", "--column", "source=translation", "--column", "target=x")
    assert_one_line(wrong, kind="data", code=3)
