"""`answer`: a question to a passage from anywhere, or a file of both; a span of the passage, or `no answer`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import ANSWER, SPORT, llmkit, write_jsonl, write_questions

PASSAGE = "goal team bread match"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few steps."""
    folder = tmp_path_factory.mktemp("answer")
    write_questions(folder / "questions.json")
    (folder / "answer.yaml").write_text(ANSWER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outcome = llmkit("finetune", "answer.yaml")
        assert outcome.code == 0, outcome.err
        assert 'llmkit answer --question "..." FILE --model runs/answer-001' in outcome.err
    return folder


@pytest.fixture
def here(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(run)
    return run


def test_the_passage_is_an_argument_a_file_or_a_pipe(here: Path, tmp_path: Path) -> None:
    text = f"{PASSAGE}\n{SPORT}\n"
    (tmp_path / "passage.txt").write_text(text)
    asked = ("answer", "--json", "--question", "which food")
    outcomes = [
        llmkit(*asked, text),
        llmkit(*asked, tmp_path / "passage.txt"),
        llmkit(*asked, stdin=text.encode()),
        llmkit(*asked, "-", stdin=text.encode()),
    ]
    assert [outcome.code for outcome in outcomes] == [0] * 4
    assert "runs/answer-001" in outcomes[0].err
    [record] = outcomes[0].records
    assert all(outcome.records == [record] for outcome in outcomes)
    assert set(record) == {"row", "question", "answer", "score", "start", "end", "no_answer", "truncated_tokens"}
    if record["answer"] is not None:
        assert text[record["start"] : record["end"]] == record["answer"]  # type: ignore[misc]
    plain = llmkit("answer", "-q", "which food", text)
    assert plain.out == ("no answer" if record["answer"] is None else " ".join(str(record["answer"]).split())) + "\n"


def test_a_file_has_a_question_and_a_passage_in_each_row(here: Path, tmp_path: Path) -> None:
    rows = [{"frage": f"which food {number}", "text": PASSAGE} for number in range(3)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    outcome = llmkit("answer", path, "--column", "text", "--question-column", "frage", "--json")
    assert outcome.code == 0, outcome.err
    assert [record["question"] for record in outcome.records] == [row["frage"] for row in rows]
    nested = llmkit("answer", "questions.json", "--json")
    assert len(nested.records) == 80


def test_one_question_goes_to_each_passage_of_a_file_with_columns(here: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"context": PASSAGE}, {"context": SPORT}])
    assert len(llmkit("answer", "-q", "which food", path).out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "stated"),
    [
        ((), 2, ['--question "..."']),
        (("-",), 2, ['--question "..."']),
        (("a passage of my own",), 2, ['--question "..."']),
        (("--question", " ", PASSAGE), 2, ["--question", "empty"]),
        (("--question", "who", " "), 3, ["row 1:", "context", "empty"]),
        (("--question", "who", "missing.txt"), 3, ["missing.txt", "file"]),
        (("missing.jsonl",), 3, ["missing.jsonl", "file"]),
        (("passage.txt",), 3, ["passage.txt", "columns"]),
        (("rows.jsonl",), 3, ["rows.jsonl", "'context'"]),
        (("broken.json",), 3, ["broken.json:", "'data'"]),
        (("--question", "who \udcff", PASSAGE), 3, ["row 1:", "surrogate"]),
    ],
)
def test_bad_input_is_one_line_with_its_exit_code(
    arguments: tuple[str, ...], code: int, stated: list[str], here: Path
) -> None:
    Path("passage.txt").write_text(PASSAGE)
    Path("broken.json").write_text("{}")
    write_jsonl(Path("rows.jsonl"), [{"text": PASSAGE, "question": "who"}])
    outcome = llmkit("answer", *arguments)
    assert outcome.code == code, outcome.err
    says(outcome.err, "error[", *stated)
    assert "Traceback" not in outcome.err


def test_evaluate_measures_a_run_and_its_model_as_a_mere_folder(here: Path, tmp_path: Path) -> None:
    measured = llmkit("evaluate", "--json")
    assert measured.code == 0, measured.err
    [record] = measured.records
    assert set(record["scores"]) == {"loss", "exact_match", "answer_f1"}  # type: ignore[call-overload]
    lines = Path("runs/answer-001/evaluation/validation.predictions.jsonl").read_text().splitlines()
    assert all(isinstance(json.loads(line)["reference"], list) for line in lines)
    shutil.copytree("runs/answer-001/model", tmp_path / "model")
    folder = llmkit("evaluate", "--model", tmp_path / "model", "--data", "questions.json")
    assert folder.code == 0, folder.err
    assert "exact_match" in folder.out
    assert "no answer" in folder.out


def test_a_saved_model_is_told_where_the_passage_begins_by_plain_transformers_too(here: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("runs/answer-001/model")
    assert tokenizer("goal", "team")["token_type_ids"] == [0, 0, 0, 1, 1]
