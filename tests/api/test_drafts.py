"""New recipes from files of rows: the task, the columns, and that each recipe trains as it is written."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_recipes import llmkit as run_llmkit
from tiny_recipes import write_conll, write_questions

import llmkit
from llmkit.errors import UsageError
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES

_WORDS = [
    "river",
    "stone",
    "garden",
    "lamp",
    "paper",
    "window",
    "bread",
    "morning",
    "silver",
    "road",
    "winter",
    "letter",
    "music",
    "forest",
    "little",
    "clock",
]


def text(seed: int, words: int = 6) -> str:
    return " ".join(random.Random(seed).choices(_WORDS, k=words)) + f" {seed}"


def csv_rows(path: Path, rows: Sequence[Mapping[str, object]], *, delimiter: str = ",") -> Path:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(stream.getvalue(), encoding="utf-8")
    return path


def jsonl(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path


def numbered(make: Callable[[int], Mapping[str, object]], count: int = 60) -> list[Mapping[str, object]]:
    return [make(number) for number in range(count)]


@dataclass(frozen=True)
class Case:
    """A file, and what is recognised in it."""

    write: Callable[[Path], Path]
    """Writes the file into a folder."""
    task: str
    columns: dict[str, str | tuple[str, ...]]
    keys: dict[str, Any] = field(default_factory=dict)
    """Other keys of the recipe."""


def table(make: Callable[[int], Mapping[str, object]], name: str) -> Callable[[Path], Path]:
    writers = {".csv": csv_rows, ".jsonl": jsonl, ".parquet": parquet}
    return lambda folder: writers[Path(name).suffix](folder / name, numbered(make))


def tsv(make: Callable[[int], Mapping[str, object]]) -> Callable[[Path], Path]:
    return lambda folder: csv_rows(folder / "rows.tsv", numbered(make), delimiter="\t")


def documents(folder: Path) -> Path:
    path = folder / "corpus.txt"
    path.write_text("\n\n".join(text(number, 30) for number in range(60)), encoding="utf-8")
    return path


def word_rows(folder: Path) -> Path:
    rows = [
        {"Sentence #": f"S{sentence}", "Word": word, "Tag": "B-PER" if word == "lamp" else "O"}
        for sentence in range(60)
        for word in ["lamp", *text(sentence, 3).split()]
    ]
    return csv_rows(folder / "words.csv", rows)


STARS = ("плохо", "хорошо", "отлично")
CASES = {
    "review-sentiment": Case(
        table(lambda n: {"id": n, "review": text(n), "sentiment": ("pos", "neg")[n % 2]}, "reviews.csv"),
        "classification",
        {"text": "review", "label": "sentiment"},
    ),
    "headers-with-spaces": Case(
        tsv(lambda n: {"Customer review": text(n), "Star rating": n % 5 + 1, "Order No": n}),
        "classification",
        {"text": "Customer review", "label": "Star rating"},
    ),
    "russian": Case(
        table(lambda n: {"отзыв": f"Этот фильм {n} мне понравился", "оценка": STARS[n % 3]}, "rows.jsonl"),
        "classification",
        {"text": "отзыв", "label": "оценка"},
    ),
    "pair": Case(
        table(lambda n: {"premise": text(n), "hypothesis": text(n + 99), "label": ("yes", "no")[n % 2]}, "nli.parquet"),
        "classification",
        {"text": "premise", "text_pair": "hypothesis", "label": "label"},
    ),
    "number": Case(
        table(lambda n: {"sentence1": text(n), "sentence2": text(n + 9), "score": n / 7}, "pairs.jsonl"),
        "classification",
        {"text": "sentence1", "text_pair": "sentence2", "label": "score"},
        {"regression": True},
    ),
    "flags": Case(
        table(lambda n: {"comment_text": text(n), "toxic": n % 2, "insult": n % 3 % 2}, "comments.csv"),
        "classification",
        {"text": "comment_text", "labels": ("toxic", "insult")},
        {"multilabel": True},
    ),
    "separated-labels": Case(
        table(lambda n: {"plot": text(n), "genres": ("crime;drama", "drama;war", "crime")[n % 3]}, "films.csv"),
        "classification",
        {"text": "plot", "labels": "genres"},
        {"multilabel": True, "label_separator": ";"},
    ),
    "lists-of-labels": Case(
        table(lambda n: {"text": text(n), "topics": [["a"], ["a", "b"], []][n % 3]}, "rows.jsonl"),
        "classification",
        {"text": "text", "labels": "topics"},
        {"multilabel": True},
    ),
    "summaries": Case(
        table(lambda n: {"article": text(n, 20), "highlights": text(n, 4), "id": str(n)}, "news.csv"),
        "summarization",
        {"text": "article", "summary": "highlights"},
    ),
    "languages": Case(
        table(lambda n: {"de": text(n), "en": text(n + 7)}, "pairs.csv"),
        "translation",
        {"source": "de", "target": "en"},
        {"source_language": "de", "target_language": "en"},
    ),
    "languages-in-an-object": Case(
        table(lambda n: {"id": n, "translation": {"en": text(n), "ro": text(n + 7)}}, "pairs.jsonl"),
        "translation",
        {"source": "translation.en", "target": "translation.ro"},
        {"source_language": "en", "target_language": "ro"},
    ),
    "draft-corrected": Case(
        table(lambda n: {"draft": text(n), "corrected": text(n).title()}, "pairs.jsonl"),
        "text-to-text",
        {"text": "draft", "target": "corrected"},
    ),
    "conll": Case(lambda folder: write_conll(folder / "rows.conll"), "token-classification", {}),
    "ner-tags": Case(
        table(lambda n: {"tokens": text(n).split(), "ner_tags": ["B-X", *["O"] * 6]}, "rows.parquet"),
        "token-classification",
        {"words": "tokens", "tags": "ner_tags"},
    ),
    "a-word-a-row": Case(word_rows, "token-classification", {"words": "Word", "tags": "Tag", "sentence": "Sentence #"}),
    "spans": Case(
        table(
            lambda n: {"text": f"lamp {text(n)}", "entities": [{"start": 0, "end": 4, "label": "THING"}]}, "rows.jsonl"
        ),
        "token-classification",
        {"text": "text", "spans": "entities"},
    ),
    "squad": Case(
        lambda folder: write_questions(folder / "questions.json"),
        "question-answering",
        {"context": "context", "question": "question", "answers": "answers"},
    ),
    "answers-as-text": Case(
        table(lambda n: {"passage": f"{text(n)} end", "question": "which?", "answer": str(n)}, "rows.csv"),
        "question-answering",
        {"context": "passage", "question": "question", "answers": "answer"},
    ),
    "answers-as-list": Case(
        table(lambda n: {"context": f"{text(n)} end", "question": "which?", "answers": [str(n), "end"]}, "rows.jsonl"),
        "question-answering",
        {"context": "context", "question": "question", "answers": "answers"},
    ),
    "target-is-no-label": Case(
        table(lambda n: {"text": text(n), "target": text(n + 1, 2)}, "rows.jsonl"),
        "text-to-text",
        {"text": "text", "target": "target"},
    ),
    "label-of-0-and-1": Case(
        table(lambda n: {"text": text(n), "label": n % 2, "verified": n % 3 % 2}, "rows.csv"),
        "classification",
        {"text": "text", "label": "label"},
    ),
    "options": Case(
        table(lambda n: {"question": text(n), "options": [f"a{n}", f"b{n}"], "answer": "AB"[n % 2]}, "rows.jsonl"),
        "multiple-choice",
        {"question": "question", "choices": "options", "answer": "answer"},
    ),
    "endings": Case(
        table(lambda n: {"sent1": text(n), "ending0": f"a{n}", "ending1": f"b{n}", "label": n % 2}, "swag.csv"),
        "multiple-choice",
        {"context": "sent1", "ending0": "ending0", "ending1": "ending1", "answer": "label"},
    ),
    "alpaca": Case(
        table(lambda n: {"instruction": text(n), "input": "", "output": text(n + 1)}, "alpaca.jsonl"),
        "instruction",
        {"prompt": "instruction", "response": "output"},
    ),
    "sharegpt": Case(
        table(
            lambda n: {"chat": [{"from": "human", "value": text(n)}, {"from": "gpt", "value": text(n + 1)}]},
            "chats.jsonl",
        ),
        "instruction",
        {"messages": "chat"},
    ),
    "plain-text": Case(documents, "causal-lm", {}),
    "one-column": Case(table(lambda n: {"n": n, "body": text(n, 30)}, "texts.csv"), "causal-lm", {"text": "body"}),
}


def loaded(draft_text: str, folder: Path) -> Any:
    file = folder / "draft.yaml"
    file.write_text(draft_text, encoding="utf-8")
    return load_recipe(file, kinds=RECIPES).recipe


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_task_and_the_columns_are_those_of_the_file(case: Case, tmp_path: Path) -> None:
    draft = llmkit.draft_recipe(data=case.write(tmp_path), model="tiny")
    assert (draft.task, dict(draft.columns)) == (case.task, case.columns)
    assert draft.reason
    assert draft.problem == ""
    recipe = loaded(draft.text, tmp_path)
    assert recipe.task == case.task
    assert {key: getattr(recipe, key) for key in case.keys} == case.keys


@pytest.mark.parametrize("task", RECIPES)
def test_a_recipe_without_data_has_a_built_in_set_or_a_placeholder(task: str, tmp_path: Path) -> None:
    draft = llmkit.draft_recipe(task)
    assert draft.problem == ""
    assert draft.is_placeholder == (task == "translation")
    assert draft.source.startswith("builtin:") != draft.is_placeholder
    assert loaded(draft.text, tmp_path).model.size == "tiny"


def test_files_beside_the_training_file_are_its_splits_unless_they_lack_a_column(tmp_path: Path) -> None:
    rows = numbered(lambda n: {"text": text(n), "label": "ab"[n % 2]})
    for name in ("train-v2.csv", "dev-v2.csv", "other.csv"):
        csv_rows(tmp_path / name, rows)
    csv_rows(tmp_path / "test-v2.csv", [{"text": row["text"]} for row in rows])
    for data in (tmp_path / "train-v2.csv", tmp_path):
        recipe = loaded(llmkit.draft_recipe(data=data, model="tiny").text, tmp_path)
        assert recipe.data.train == (str(tmp_path / "train-v2.csv"),)
        assert recipe.data.validation == (str(tmp_path / "dev-v2.csv"),)
        assert recipe.data.test is None


def test_a_column_that_is_named_is_read(tmp_path: Path) -> None:
    rows = numbered(lambda n: {"title": text(n), "body": text(n, 9), "kind": "ab"[n % 2], "tone": "cd"[n % 2]})
    data = csv_rows(tmp_path / "rows.csv", rows)
    draft = llmkit.draft_recipe("classification", data=data, columns=["text=title", "label=tone"], model="tiny")
    assert draft.columns == {"text": "title", "label": "tone"}


def test_an_open_decision_is_asked_or_an_error_that_names_the_option(tmp_path: Path) -> None:
    rows = numbered(lambda n: {"left": text(n), "kind": "ab"[n % 2], "tone": "cd"[n % 2]})
    data = csv_rows(tmp_path / "rows.csv", rows)
    with pytest.raises(UsageError, match="TASK"):
        llmkit.draft_recipe(data=data)
    with pytest.raises(UsageError, match="--column label="):
        llmkit.draft_recipe("classification", data=data)
    asked: list[Sequence[str]] = []

    def answer(question: str, choices: Sequence[str]) -> str:
        asked.append(choices)
        return choices[-1] if "kind" in choices else "classification"

    draft = llmkit.draft_recipe(data=data, model="tiny", ask=answer)
    assert (draft.task, draft.columns["label"]) == ("classification", "tone")
    assert "classification" in asked[0]
    assert asked[1] == ["kind", "tone"]


def test_the_languages_of_a_translation_are_needed(tmp_path: Path) -> None:
    data = csv_rows(tmp_path / "rows.csv", numbered(lambda n: {"a": text(n), "b": text(n + 1)}))
    with pytest.raises(UsageError, match="--from"):
        llmkit.draft_recipe("translation", data=data)
    with pytest.raises(UsageError, match="--to"):
        llmkit.draft_recipe("translation", data=data, source_language="en", target_language="xx-unknown")
    draft = llmkit.draft_recipe("translation", data=data, source_language="en", target_language="Dutch", model="tiny")
    assert loaded(draft.text, tmp_path).target_language == "Dutch"


@pytest.mark.parametrize("arguments", [{"task": "sumarization"}, {"data": "rows.csv", "model": "bert"}, {}])
def test_what_is_not_known_is_an_error(
    arguments: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    csv_rows(Path("rows.csv"), numbered(lambda n: {"text": text(n), "label": "ab"[n % 2]}))
    with pytest.raises(UsageError):
        llmkit.draft_recipe(**arguments)  # type: ignore[arg-type]


def test_the_meaning_of_quotes_is_kept_for_the_training(tmp_path: Path) -> None:
    data = tmp_path / "rows.tsv"
    data.write_text("text\tlabel\n" + "".join(f'"{text(n)}\t{"ab"[n % 2]}\n' for n in range(60)), encoding="utf-8")
    draft = llmkit.draft_recipe(data=data, quoting="none", model="tiny")
    assert draft.problem == ""
    assert loaded(draft.text, tmp_path).data.quoting == "none"


def test_rows_that_the_recipe_cannot_use_are_told(tmp_path: Path) -> None:
    rows = [*numbered(lambda n: {"text": text(n), "label": "ab"[n % 2]}), {"text": "hello", "label": ""}]
    draft = llmkit.draft_recipe(data=csv_rows(tmp_path / "rows.csv", rows), model="tiny")
    assert "rows.csv:62" in draft.problem


@pytest.mark.parametrize(
    ("sentence", "model"),
    [("A plain text", "distilbert/distilbert-base-uncased"), ("Ein schöner Text", "FacebookAI/xlm-roberta-base")],
)
def test_the_default_model_reads_the_language_of_the_rows(
    sentence: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    data = csv_rows(tmp_path / "rows.csv", numbered(lambda n: {"text": f"{sentence} {n}", "label": "ab"[n % 2]}))
    assert llmkit.draft_recipe(data=data).model == model


def test_a_file_is_replaced_only_with_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    csv_rows(Path("rows.csv"), numbered(lambda n: {"text": text(n), "label": "ab"[n % 2]}))
    Path("mine.yaml").write_text("mine")
    refused = run_llmkit("init", "--data", "rows.csv", "-o", "mine.yaml")
    assert (refused.code, Path("mine.yaml").read_text()) == (2, "mine")
    written = run_llmkit("init", "--data", "rows.csv", "-o", "mine.yaml", "--force")
    assert (written.code, written.out) == (0, "mine.yaml\n")
    printed = run_llmkit("init", "--data", "rows.csv", "-o", "-")
    assert "task: classification" in printed.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "rows.csv"]


def test_missing_data_is_named_before_a_file_that_stands_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text("mine")
    refused = run_llmkit("init", "--data", "rows.csv")
    assert (refused.code, "rows.csv" in refused.err, "recipe.yaml" in refused.err) == (3, True, False)
    assert Path("recipe.yaml").read_text() == "mine"


def test_without_a_terminal_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    csv_rows(Path("rows.csv"), numbered(lambda n: {"a": text(n), "b": text(n + 1)}))
    refused = run_llmkit("init", "--data", "rows.csv", stdin=b"summarization\n")
    assert refused.code == 2
    assert not Path("recipe.yaml").exists()


TRAINED = {case.task: case for case in CASES.values()}
_OTHER_FILES = {task: CASES["plain-text"] for task in RECIPES if RECIPES[task].PRETRAINS}


@pytest.mark.slow
@pytest.mark.parametrize("task", RECIPES)
def test_a_recipe_of_every_task_trains_as_it_is_written(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = {**TRAINED, **_OTHER_FILES}[task].write(tmp_path)
    draft = llmkit.draft_recipe(task, data=data.relative_to(tmp_path), model="tiny")
    Path("recipe.yaml").write_text(draft.text)
    finished = llmkit.finetune("recipe.yaml", overrides=["train.epochs=null", "train.steps=2"])
    assert finished is not None
    assert finished.run.model.is_dir()
