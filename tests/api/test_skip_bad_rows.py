"""`data.skip_bad_rows` through the commands: what a run records, resumes and is evaluated on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from facts import facts, says
from tiny_recipes import CLASSIFY, rows, write_jsonl
from tiny_recipes import llmkit as command_line

import llmkit
from llmkit.errors import DataError, UsageError

BAD = [{"text": "a ball", "label": None}, {"text": "a goal", "label": 3}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad-rows")
    good = rows(60, seed=1)
    write_jsonl(folder / "rows.jsonl", [*good[:30], *BAD, *good[30:]])
    write_jsonl(folder / "new.jsonl", [*good[:9], {"text": "a ball", "label": "sports"}])
    (folder / "classify.yaml").write_text(CLASSIFY.replace("steps: 24", "steps: 4").replace("every: 12", "every: 4"))
    return folder


def test_a_run_records_the_rows_it_leaves_out_and_resumes_without_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    refused = command_line("finetune", "classify.yaml", "--run", "runs/refused")
    assert refused.code == 3
    says(refused.err, "rows.jsonl:31:", "label")
    says(refused.err, "rows.jsonl:32:", "label", 3)
    assert "tokenizer" not in refused.err
    assert not Path("runs/refused").exists()
    run = Path("runs/skipped")
    assert command_line("finetune", "classify.yaml", "--run", str(run), "--set", "data.skip_bad_rows=true").code == 0
    data = json.loads((run / "data.json").read_text())
    assert data["bad_rows"]["train"]["rows"] == 2
    assert data["sources"]["train"][0]["rows"] == 60
    listed = [json.loads(line) for line in (run / "bad_rows.jsonl").read_text().splitlines()]
    assert [(row["place"], row["row"]) for row in listed] == [("rows.jsonl:31", BAD[0]), ("rows.jsonl:32", BAD[1])]
    before = (run / "data.json").read_bytes(), (run / "bad_rows.jsonl").read_bytes()
    resumed = command_line(
        "finetune",
        "--resume",
        str(run),
        "--set",
        "train.steps=6",
        "--set",
        "train.warmup=1",
        "--set",
        "data.skip_bad_rows=false",
    )
    assert resumed.code == 2
    says(resumed.err, "data.skip_bad_rows")
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    assert command_line("finetune", "--resume", str(run)).code == 0
    assert ((run / "data.json").read_bytes(), (run / "bad_rows.jsonl").read_bytes()) == before


def test_evaluate_lists_bad_rows_or_leaves_them_out_as_the_run_or_the_option_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run = "runs/evaluated"
    assert command_line("finetune", "classify.yaml", "--run", run, "--set", "data.skip_bad_rows=true").code == 0
    assert llmkit.evaluate_model(run).rows > 0  # its own rows have not changed
    (record,) = command_line("evaluate", "--model", run, "--data", "new.jsonl", "--json").records
    assert (record["rows"], record["bad_rows"]["rows"]) == (9, 1)
    (line,) = Path(run, "evaluation", "data.bad_rows.jsonl").read_text().splitlines()
    says(json.loads(line)["fault"], "sports", "sport")
    refused = command_line("evaluate", "--model", run, "--data", "new.jsonl", "--no-skip-bad-rows")
    assert refused.code == 3
    says(refused.err, "new.jsonl:10:", "sports")
    with pytest.raises(DataError, match=facts("new.jsonl:10:", "sports")):
        llmkit.evaluate_model(run, data=["new.jsonl"], skip_bad_rows=False)
    with pytest.raises(UsageError, match=facts("--skip-bad-rows", "--data")):
        llmkit.evaluate_model(run, skip_bad_rows=True)
