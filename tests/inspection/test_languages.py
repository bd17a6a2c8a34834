"""Languages and scripts of the texts: what is counted in each column, and which rows are in another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import CLASSIFY, SUMMARIZE, TAG, write_jsonl

from llmkit.inspection.findings import Finding
from llmkit.inspection.languages import languages, scripts
from llmkit.inspection.reading import read_rows
from llmkit.inspection.rows import Inspection
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES
from llmkit.training.splits import open_splits

ENGLISH = [
    "The cat sat on the mat and looked out of the window",
    "We went to the market early in the morning to buy bread",
    "Nobody knows why the train was late again yesterday",
    "She reads a book about the history of her town",
]
GERMAN = [
    "Die Katze sitzt auf der Matte und schaut aus dem Fenster",
    "Wir gingen am frühen Morgen auf den Markt, um Brot zu kaufen",
    "Niemand weiß, warum der Zug gestern schon wieder Verspätung hatte",
    "Sie liest ein Buch über die Geschichte ihrer Stadt",
]
OTHERS = {
    "fr": "Le chat est assis sur le tapis et regarde par la fenêtre",
    "ru": "Вчера мы ходили на рынок, чтобы купить свежий хлеб и молоко",
    "el": "Η γάτα κάθεται στο χαλί και κοιτάζει έξω από το παράθυρο",
    "ar": "جلست القطة على السجادة ونظرت من النافذة إلى الشارع",
    "hi": "बिल्ली चटाई पर बैठी है और खिड़की से बाहर देख रही है",
    "th": "แมวนั่งอยู่บนเสื่อและมองออกไปนอกหน้าต่าง",
    "ja": "猫がマットの上に座って、窓の外を見ています。",
    "zh": "我们昨天早上去市场买了新鲜的面包和牛奶。",
    "ko": "고양이가 매트 위에 앉아서 창밖을 보고 있습니다.",
}
TRANSLATE = SUMMARIZE.replace("task: summarization", "task: translation\nsource_language: en\ntarget_language: de")


def numbered(sentences: list[str], count: int) -> list[str]:
    return [f"{sentences[index % len(sentences)]}, {index}" for index in range(count)]


def findings(
    check: Callable[[Inspection], Iterator[Finding]], records: list[dict[str, object]], *, recipe: str, folder: Path
) -> dict[tuple[str, str], Finding]:
    """(name of the check, column) -> the finding."""
    write_jsonl(folder / "rows.jsonl", records)  # type: ignore[arg-type]
    (folder / "recipe.yaml").write_text(recipe.replace(", validation: 20%", ""))
    loaded = load_recipe(folder / "recipe.yaml", kinds=RECIPES).recipe
    inspection, _, _ = read_rows(loaded, open_splits(loaded))
    return {(finding.check, finding.message.split(":")[0]): finding for finding in check(inspection)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_swapped_row_is_in_another_language_in_both_columns(here: Path) -> None:
    pairs = list(zip(numbered(ENGLISH, 40), numbered(GERMAN, 40), strict=True))
    pairs[7] = pairs[7][::-1]
    records: list[dict[str, object]] = [{"source": source, "target": target} for source, target in pairs]
    result = findings(languages, records, recipe=TRANSLATE, folder=here)
    says(result["languages", "source"].message, "en 39 (97.5%)", "de 1 (2.5%)")
    for column, language in (("source", "de"), ("target", "en")):
        finding = result["rare-languages", column]
        assert [(row.place, row.note) for row in finding.rows] == [("rows.jsonl:8", language)]
        assert (finding.severity, finding.count) == ("info", 1)


def test_every_language_of_a_mixed_column_is_counted_and_none_is_rare(here: Path) -> None:
    texts = [text for text in [ENGLISH[0], GERMAN[0], *OTHERS.values()] for _ in range(3)]
    records: list[dict[str, object]] = [{"text": text, "label": str(index % 2)} for index, text in enumerate(texts)]
    result = findings(languages, records, recipe=CLASSIFY, folder=here)
    says(result["languages", "text"].message, "en 3", "de 3")
    # The tenth and the last are not listed by name.
    assert sum(f"{language} 3 (9.1%)" in result["languages", "text"].message for language in OTHERS) == 8
    assert ("rare-languages", "text") not in result
    by_script = findings(scripts, records, recipe=CLASSIFY, folder=here)
    says(by_script["scripts", "text"].message, "Latin 9", "Han 3", "Hangul 3", "Thai 3")


def test_languages_of_short_texts_are_not_guessed(here: Path) -> None:
    texts = [
        "ok",
        "gut",
        "bonjour",
        "Zeitgeist",
        "12 + 3 = 15",
        "John Smith",
        "你好",
        "!" * 40,
        "https://example.org/a/b",
    ]
    records: list[dict[str, object]] = [{"text": text, "label": str(index % 2)} for index, text in enumerate(texts)]
    assert findings(languages, records, recipe=CLASSIFY, folder=here) == {}


def test_names_and_code_among_sentences_are_in_no_other_language(here: Path) -> None:
    odd = [
        "Gwyddion is a modular program",
        "Vorbis comment editor",
        "for (int i = 0; i < n; i++) { a[i] = b[i] * 2; }",
        '{"id": 17, "key": [1, 2, 3], "href": "a.b.c"}',
        "SELECT name FROM users WHERE id = 3 ORDER BY name;",
    ]
    texts = [*numbered(ENGLISH, 120), *odd]
    records: list[dict[str, object]] = [{"text": text, "label": str(index % 2)} for index, text in enumerate(texts)]
    result = findings(languages, records, recipe=CLASSIFY, folder=here)
    assert list(result) == [("languages", "text")]


def test_words_of_tagged_rows_are_read_as_one_text(here: Path) -> None:
    texts = [*numbered(ENGLISH, 30), GERMAN[2]]
    records: list[dict[str, object]] = [
        {"words": text.split(), "tags": [("O", "B-X")[index % 2] for index, _ in enumerate(text.split())]}
        for text in texts
    ]
    result = findings(languages, records, recipe=TAG.replace("rows.conll", "rows.jsonl"), folder=here)
    assert [row.place for row in result["rare-languages", "words"].rows] == ["rows.jsonl:31"]


def test_one_row_in_another_script_is_found(here: Path) -> None:
    texts = [*numbered(ENGLISH, 30), "привет"]
    records: list[dict[str, object]] = [{"text": text, "label": str(index % 2)} for index, text in enumerate(texts)]
    finding = findings(scripts, records, recipe=CLASSIFY, folder=here)["rare-scripts", "text"]
    assert [(row.place, row.note) for row in finding.rows] == [("rows.jsonl:31", "Cyrillic")]
