"""Hub data sets against a hub on loopback: pinned to a commit, usable offline, and told apart when they fail."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from facts import says
from fake_hub import COMMITS, FakeHub, serving

import llmkit
from llmkit.data.hub_names import HubSource, parse_hub_source

OFFLINE = {"HF_HUB_OFFLINE": "1"}

# huggingface_hub reads its settings when it is imported, so each client is a process; several sources save imports.
CLIENT = """
import sys
from llmkit.data.fields import Fields
from llmkit.data.sources import open_rows
from llmkit.errors import LlmkitError
for source in sys.argv[1:]:
    try:
        rows = open_rows([source], Fields(column_types={"text": "text", "label": "label", "tags": "labels"}))
        print(repr(([(row.fields, row.place) for row in rows], rows.fingerprint())))
    except LlmkitError as error:
        print(repr((error.exit_code, str(error))))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    rows = b'{"text": "good", "stars": 1, "tags": [0, 1]}\n{"text": "bad", "stars": 0, "tags": []}\n'
    card = b"---\nconfigs:\n- config_name: default\n  data_files: train.jsonl\n"
    card += b"dataset_info:\n  features:\n  - {name: text, dtype: string}\n"
    card += b"  - name: label\n    dtype: {class_label: {names: {'0': neg, '1': pos}}}\n"
    card += b"  - name: tags\n    list: {class_label: {names: {'0': O, '1': B-X}}}\n---\n"
    files = {"README.md": card, "train.jsonl": rows.replace(b"stars", b"label")}
    with serving(FakeHub(files)) as running:
        yield running


@pytest.fixture(scope="module")
def home(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the data set at the first commit."""
    folder = tmp_path_factory.mktemp("hf")
    [found] = ask(hub, folder, "hub:owner/reviews")
    assert found[0] == ROWS
    assert found[1] == FINGERPRINT
    return folder


ROWS = [
    ({"text": "good", "label": "pos", "tags": ["O", "B-X"]}, "hub:owner/reviews#train[0]"),
    ({"text": "bad", "label": "neg", "tags": []}, "hub:owner/reviews#train[1]"),
]
FINGERPRINT = [
    {
        "name": "hub:owner/reviews#train",
        "revision": COMMITS[0],
        "config": "default",
        "split": "train",
        "rows": 2,
        "columns": ["text", "label", "tags"],
    }
]


def ask(hub: FakeHub, home: Path, *sources: str, environment: dict[str, str] | None = None) -> list[Any]:
    root = Path(llmkit.__file__).parents[1]
    settings = {"PYTHONPATH": str(root), "HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    settings.update(environment or {})
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *sources],
        env={**os.environ, **settings},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]


def test_the_cache_serves_the_same_rows_offline_and_refuses_what_it_lacks(hub: FakeHub, home: Path) -> None:
    sources = ["hub:owner/reviews", f"hub:owner/reviews@{COMMITS[1]}", "hub:owner/unknown"]
    cached, other_commit, unknown = ask(hub, home, *sources, environment=OFFLINE)
    assert cached == (ROWS, FINGERPRINT)
    assert other_commit[0] == unknown[0] == 5
    assert COMMITS[0] in other_commit[1]
    says(unknown[1], "hub:owner/unknown:", "cache")


def test_what_the_hub_does_not_have_is_an_error_of_the_data(hub: FakeHub, home: Path) -> None:
    sources = [
        "hub:owner/unknown",
        "hub:owner/reviews@v9",
        "hub:owner/reviews:french",
        "hub:owner/reviews#test",
    ]
    answers = ask(hub, home, *sources)
    assert [code for code, _ in answers] == [3, 3, 3, 3]
    named = ["hub:owner/unknown:", "'v9'", "'french'", '"test"']
    for fact, (_, message) in zip(named, answers, strict=True):
        says(message, "hub:owner/", fact)


def test_a_pinned_commit_is_used_again_after_the_branch_has_moved(hub: FakeHub, home: Path) -> None:
    hub.commit = COMMITS[1]
    try:
        pinned, moved = ask(hub, home, f"hub:owner/reviews@{COMMITS[0]}", "hub:owner/reviews")
    finally:
        hub.commit = COMMITS[0]
    assert [pinned[1][0]["revision"], moved[1][0]["revision"]] == list(COMMITS)


def test_a_local_folder_of_the_same_name_is_not_taken_for_the_hub(hub: FakeHub, home: Path) -> None:
    local = home / "owner" / "reviews"  # below the client's current directory
    local.mkdir(parents=True)
    (local / "train.csv").write_text("text,label\nlocal,x\n")
    [found] = ask(hub, home, "hub:owner/reviews")
    assert found == (ROWS, FINGERPRINT)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hub:imdb", HubSource("imdb", "main", None, "train")),
        ("hub:a/b#test", HubSource("a/b", "main", None, "test")),
        ("hub:a/b:en#train[:100]", HubSource("a/b", "main", "en", "train[:100]")),
        ("hub:a/b.c@refs/pr/3:en", HubSource("a/b.c", "refs/pr/3", "en", "train")),
        ("hub:a/b@v1.0#test", HubSource("a/b", "v1.0", None, "test")),
    ],
)
def test_a_hub_source_has_a_revision_a_configuration_and_a_split(source: str, parts: HubSource) -> None:
    assert parse_hub_source(source, default_split="train") == parts
