"""Tagged words and spans as they are found: CoNLL-U, comments, a word per row, class numbers, offsets of other programs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import facts, logged

from llmkit.data.fields import Fields
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.tasks.classification.recipe import ClassificationRecipe
from llmkit.tasks.token_classification.recipe import TokenClassificationRecipe


def tagged_rows(path: Path, *, offsets: Any = "auto", **columns: str) -> list[Row]:
    recipe = TokenClassificationRecipe
    return list(
        open_rows(
            [str(path)],
            Fields(
                column_types=recipe.COLUMN_TYPES,
                groups=recipe.FIELD_GROUPS,
                optional=recipe.OPTIONAL_FIELDS,
                columns=columns,
            ),
            offsets=offsets,
        )
    )


def written(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


# ---- CoNLL

UD = """# newdoc id = a
# text = vámonos ya
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_
2.1\tya\tya\tADV\t_\t_\t_\t_\t_\t_
3\t#\t#\tSYM\t_\t_\t1\tpunct\t_\t_

# text = no
1\tno\tno\tADV\t_\t_\t0\troot\t_\t_
"""


@pytest.mark.parametrize("name", ["a.conllu", "a.conll"])
def test_conll_u_has_forms_as_words_without_multiword_tokens_and_empty_nodes(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, UD)
    assert tagged_rows(path) == [
        Row({"words": ["vamos", "nos", "#"], "tags": ["VERB", "PRON", "SYM"]}, f"{path.as_posix()}:4"),
        Row({"words": ["no"], "tags": ["ADV"]}, f"{path.as_posix()}:10"),
    ]
    assert tagged_rows(path, words="2", tags="4") == tagged_rows(path)
    assert tagged_rows(path, tags="deprel")[0].fields["tags"] == ["root", "obj", "punct"]


def test_the_header_of_conll_u_plus_names_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "a.conllu", "# global.columns = ID FORM NE\n# id 1\n1\tAda\tB-PER\n2\truns\tO\n")
    assert tagged_rows(path, tags="ne")[0].fields == {"words": ["Ada", "runs"], "tags": ["B-PER", "O"]}


@pytest.mark.parametrize(
    "comment", ["# id 0000\tdomain=train", "# id 5", "# 12", "# sent_id = s1", "#", "# a b c d", "#id=3"]
)
def test_a_comment_in_front_of_a_sentence_is_no_word(comment: str, tmp_path: Path) -> None:
    content = f"{comment}\nAda _ _ B-PER\nruns _ _ O\n\n{comment}\nHello _ _ O\n"
    rows = tagged_rows(written(tmp_path / "a.conll", content))
    assert [row.fields["words"] for row in rows] == [["Ada", "runs"], ["Hello"]]


def test_a_sentence_may_begin_with_a_number_sign(tmp_path: Path) -> None:
    rows = tagged_rows(written(tmp_path / "a.conll", "# O\n1 O\n\n#ai B-X\nis O\n\nNLP B-X\n"))
    assert [row.fields["words"] for row in rows] == [["#", "1"], ["#ai", "is"], ["NLP"]]


def test_a_file_of_comments_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=facts("a.conll", "rows")):
        tagged_rows(written(tmp_path / "a.conll", "# id 1\n\n# id 2\n"))


def test_a_line_of_conll_u_without_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=facts("a.conllu:3:", "'x'", "number")):
        tagged_rows(written(tmp_path / "a.conllu", UD.split("\n", 2)[2].replace("2\tnos", "x\tnos")))


# ---- a word in each row


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("sentence_id,words,tags", {}),
        ("Sentence #,Word,Tag", {"words": "Word", "tags": "Tag"}),
        ("doc,words,tags", {"sentence": "doc"}),
    ],
)
def test_words_in_rows_become_sentences_by_their_column(header: str, columns: dict[str, str], tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", f'{header}\n0,Ada,B-PER\n,runs,O\n1,"a,b",O\n1,null,O\n')
    assert tagged_rows(path, **columns) == [
        Row({"words": ["Ada", "runs"], "tags": ["B-PER", "O"]}, f"{path.as_posix()}:2"),
        Row({"words": ["a,b", "null"], "tags": ["O", "O"]}, f"{path.as_posix()}:4"),
    ]


def test_words_in_rows_of_json_lines_become_sentences(tmp_path: Path) -> None:
    records = [{"sent_id": 1, "words": "Ada", "tags": "O"}, {"sent_id": 2, "words": "runs", "tags": "O"}]
    path = written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, records)))
    assert [row.fields["words"] for row in tagged_rows(path)] == [["Ada"], ["runs"]]


@pytest.mark.parametrize(
    ("content", "stated"),
    [
        ("words,tags\nAda,O\n", ["a.csv:2:", "'words'", "sentence", "data.columns"]),
        ("sentence,words,tags\n1,Ada,O\n2,b,O\n1,c,O\n", ["a.csv:4:", "'sentence'", "'1'", "Sort"]),
        ("sentence,words,tags\n,Ada,O\n", ["a.csv:2:", "'sentence'", "empty"]),
        ("sentence,words,tags\n1,Ada,O\n1,,O\n", ["a.csv:2:", "'words'", "empty"]),
    ],
)
def test_words_in_rows_that_are_in_no_sentence_are_refused(content: str, stated: list[object], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=facts(*stated)):
        tagged_rows(written(tmp_path / "a.csv", content))


# ---- class numbers


def write_classes(path: Path, table: dict[str, list[Any]], features: dict[str, Any]) -> Path:
    metadata = json.dumps({"info": {"features": features}})
    pq.write_table(pa.table(table).replace_schema_metadata({"huggingface": metadata}), path)
    return path


CLASSES = {"names": ["O", "B-PER"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    "feature", [{"feature": CLASSES, "_type": "List"}, {"feature": CLASSES, "_type": "Sequence"}, [CLASSES]]
)
def test_class_numbers_of_tags_in_parquet_become_their_names(feature: Any, tmp_path: Path) -> None:
    table = {"tokens": [["Ada", "runs"]], "ner_tags": [[1, 0]]}
    path = write_classes(tmp_path / "a.parquet", table, {"ner_tags": feature})
    assert tagged_rows(path, words="tokens", tags="ner_tags")[0].fields["tags"] == ["B-PER", "O"]


def labelled(path: Path) -> list[str]:
    rows = open_rows([str(path)], Fields(column_types={"text": "text", "label": "label"}))
    assert ClassificationRecipe.COLUMN_TYPES["label"] == "label"
    return [row.fields["label"] for row in rows]


def test_class_numbers_of_labels_in_parquet_become_their_names(tmp_path: Path) -> None:
    feature = {"names": ["neg", "pos"], "_type": "ClassLabel"}
    table = {"text": ["a", "b"], "label": [1, 0]}
    assert labelled(write_classes(tmp_path / "a.parquet", table, {"label": feature})) == ["pos", "neg"]
    assert labelled(write_classes(tmp_path / "b.parquet", table, {"label": {"_type": "Value"}})) == ["1", "0"]
    with pytest.raises(DataError, match=facts("c.parquet[1]", "'label'", "null")):
        labelled(write_classes(tmp_path / "c.parquet", {**table, "label": [1, -1]}, {"label": feature}))
    with pytest.raises(DataError, match=facts("d.parquet[1]", "'label'", 2, "0 to 1")):
        labelled(write_classes(tmp_path / "d.parquet", {**table, "label": [1, 2]}, {"label": feature}))


def test_broken_metadata_name_no_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": ["a"], "label": [1]})
    for metadata in ("no JSON", "[]", '{"info": []}', '{"info": {"features": {"label": {"_type": "ClassLabel"}}}}'):
        pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
        assert labelled(path) == ["1"]


# ---- spans

TEXT = "👍🏽 Ada lives in Málaga 🙂 with Bob"
UNITS: dict[str, Callable[[int], int]] = {
    "characters": lambda place: place,
    "utf-16": lambda place: len(TEXT[:place].encode("utf-16-le")) // 2,
    "bytes": lambda place: len(TEXT[:place].encode()),
}


def marked(unit: str, *, own_texts: bool) -> list[dict[str, Any]]:
    spans = []
    for word in ("Ada", "Málaga", "Bob"):
        start = TEXT.index(word)
        place = UNITS[unit]
        spans.append({"start": place(start), "end": place(start + len(word)), "label": "X"})
        if own_texts:
            spans[-1]["text"] = word
    return spans


def spans_of(tmp_path: Path, spans: Any, *, text: str = TEXT, **keys: Any) -> list[str]:
    path = written(tmp_path / "a.jsonl", json.dumps({"text": text, "spans": spans}))
    [row] = tagged_rows(path, **keys)
    assert all(list(span) == ["start", "end", "label"] for span in row.fields["spans"])
    return [text[span["start"] : span["end"]] for span in row.fields["spans"]]


@pytest.mark.parametrize("unit", UNITS)
def test_the_text_of_spans_shows_what_their_offsets_count(
    unit: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="llmkit"):
        assert spans_of(tmp_path, marked(unit, own_texts=True)) == ["Ada", "Málaga", "Bob"]
    assert len(logged(caplog, "INFO", "a.jsonl", "3 spans", unit)) == (unit != "characters")


@pytest.mark.parametrize("unit", UNITS)
def test_offsets_without_texts_are_refused_where_only_another_unit_fits_the_words(unit: str, tmp_path: Path) -> None:
    spans = marked(unit, own_texts=False)
    assert spans_of(tmp_path, spans, offsets=unit) == ["Ada", "Málaga", "Bob"]
    if unit == "characters":
        assert spans_of(tmp_path, spans) == ["Ada", "Málaga", "Bob"]
    else:
        with pytest.raises(DataError, match=facts("a.jsonl:1:", f"data.offsets: {unit}")):
            spans_of(tmp_path, spans)


def test_a_span_whose_text_stands_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=facts("a.jsonl:1:", "0..3", "'Bob'", "'Ada'")):
        spans_of(tmp_path, [{"start": 0, "end": 3, "label": "X", "text": "Bob"}], text="Ada and Bob")


@pytest.mark.parametrize(
    "span",
    [
        [0, 3, "PER"],
        {"start_offset": 0, "end_offset": 3, "label": "PER", "id": 7},
        {"start": 0, "end": 3, "labels": ["PER"], "text": "Ada"},
        {"value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}, "type": "labels", "from_name": "label"},
    ],
)
def test_spans_of_doccano_spacy_and_label_studio_are_read(span: Any, tmp_path: Path) -> None:
    assert spans_of(tmp_path, [span], text="Ada runs") == ["Ada"]
    if isinstance(span, dict) and "value" in span:
        assert spans_of(tmp_path, [{"id": 1, "result": [span]}], text="Ada runs") == ["Ada"]


@pytest.mark.parametrize(
    "span", [[0, 3], [0, 3, "PER", 1], {"start": 0, "end": 3, "labels": ["PER", "LOC"]}, [0, "3", "X"]]
)
def test_spans_that_are_no_spans_are_refused(span: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=facts("a.jsonl:1:", "'spans'", "list")):
        spans_of(tmp_path, [span], text="Ada runs")
