"""Rows as questions with choices: the texts that the model reads, and the correct choice. Knows no tokens."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal

from llmkit.data.labels import AnswersOfInputs, alike
from llmkit.errors import DataError, RowError

if TYPE_CHECKING:
    from llmkit.data.rows import Row

logger = logging.getLogger("llmkit")
FEWEST_CHOICES, MOST_CHOICES = 2, 10
AnswerSpelling = Literal["auto", "index", "letter", "text"]
_BLANK = re.compile(r"(?<!\w)_+(?!\w)")


@dataclass(frozen=True)
class Question:
    """A question, a context or both, with the choices."""

    choices: tuple[str, ...]
    context: str = ""
    question: str = ""

    @classmethod
    def of(cls, mapping: Mapping[str, Any] | Question, *, place: str) -> Question:
        """A question as a mapping: `choices`, and `context`, `question` or both.

        Raises:
            DataError: no mapping, another key, or a value that is not text.
        """
        if isinstance(mapping, Question):
            return mapping
        if not isinstance(mapping, Mapping):
            raise DataError(
                f"{place}: found a {type(mapping).__name__}, expected a mapping with choices, and context, question or both."
            )
        unknown = next((key for key in mapping if key not in ("choices", "context", "question")), None)
        choices = mapping.get("choices")
        texts = {key: mapping.get(key) or "" for key in ("context", "question")}
        if unknown is not None:
            raise DataError(f"{place}: unknown key {unknown!r}. Give choices, and context, question or both.")
        if isinstance(choices, str) or not isinstance(choices, Iterable):
            raise DataError(f"{place}: choices are a list of texts, found a {type(choices).__name__}.")
        choices = tuple(choices)
        if not all(isinstance(text, str) for text in (*choices, *texts.values())):
            raise DataError(f"{place}: choices are a list of texts, context and question a text each.")
        return cls(choices, **texts)

    def texts(self) -> list[tuple[str, str]]:
        """The two texts that are scored together, for each choice.

        With a context and a question, the context is the first and the question with a choice is the second, as SWAG
        and RACE are read; with only one, the second is the choice. A blank (`_`) in a question is filled.
        """
        if not (self.context.strip() and self.question.strip()):
            first = self.context.strip() or self.question.strip()
            return [(first, choice) for choice in self.choices]
        around_blank = _BLANK.split(self.question)
        if len(around_blank) == 2:
            return [(self.context, choice.join(around_blank)) for choice in self.choices]
        return [(self.context, f"{self.question.rstrip()} {choice}") for choice in self.choices]

    def check(self, place: str) -> None:
        """
        Raises:
            DataError: too few or too many choices, two that are equal, or neither context nor question.
        """
        if not FEWEST_CHOICES <= len(self.choices) <= MOST_CHOICES:
            fault = f"{len(self.choices)} choices; a question has {FEWEST_CHOICES} to {MOST_CHOICES} of them."
            raise RowError(place, fault, reason="too few or too many choices")
        if not (self.context.strip() or self.question.strip()):
            fault = "neither a context nor a question. Give one of them, or both."
            raise RowError(place, fault, reason="neither a context nor a question")
        blank = next((number for number, choice in enumerate(self.choices) if not choice.strip()), None)
        if blank is not None:
            raise RowError(place, f"choice {blank} is empty. Fill it in or remove it.", reason="an empty choice")
        repeated = next((choice for choice in self.choices if self.choices.count(choice) > 1), None)
        if repeated is not None:
            raise RowError(place, f"two choices are {repeated!r:.60}. Keep one.", reason="equal choices")


def question_of(row: Row) -> Question:
    """A row of either layout: `choices` as a list, or `ending0`, `ending1` and so on, without the empty last ones.

    Raises:
        DataError: as `Question.check`, with the place.
    """
    fields = row.fields
    choices = fields.get("choices")
    if choices is None:
        endings = [fields.get(f"ending{number}", "") for number in range(MOST_CHOICES)]
        while endings and not endings[-1].strip():
            endings.pop()
        choices = endings
    question = Question(tuple(choices), fields.get("context", ""), fields.get("question", ""))
    question.check(row.place)
    return question


class OddQuestions:
    """Questions with choices that are hardly different, and equal questions with different answers."""

    def __init__(self) -> None:
        self._answers = AnswersOfInputs()
        self._alike = 0
        self._first_alike = ""

    def add(self, question: Question, answer: int, *, place: str) -> None:
        read = (question.context, question.question, frozenset(question.choices))
        self._answers.add(read, repr(question.choices[answer]), place=place)
        if group := next(iter(alike(question.choices)), None):
            self._alike += 1
            self._first_alike = self._first_alike or f"{' and '.join(map(repr, group))} at {place}"

    def warn(self) -> None:
        if self._alike:
            logger.warning(
                "%s questions have choices that differ only in case, white space or Unicode form, such as %s",
                *(f"{self._alike:,}", self._first_alike),
            )
        self._answers.warn(inputs="questions", answers="answers")


def rows_with_questions(
    rows: Iterable[Row], *, distractors: int | None, answer_as: AnswerSpelling, seed: int
) -> Iterator[tuple[Row, Question, int]]:
    """Each row with its question and the index of the correct choice, by the keys of a recipe.

    Raises:
        DataError: a row that is not a valid question, with its place.
    """
    if distractors is not None:
        yield from _with_distractors(rows, count=distractors, seed=seed)
        return
    for row in rows:
        question = question_of(row)
        yield row, question, correct_choice(row.fields["answer"], question.choices, spelling=answer_as, place=row.place)


def check_question(row: Row, *, distractors: int | None, answer_as: AnswerSpelling) -> None:
    """
    Raises:
        RowError: a row that is not a valid question, with its answer.
    """
    if distractors is None:
        question = question_of(row)
        correct_choice(row.fields["answer"], question.choices, spelling=answer_as, place=row.place)
    elif not any(row.fields.get(field, "").strip() for field in ("context", "question")):
        fault = "neither a context nor a question. Give one of them, or both."
        raise RowError(row.place, fault, reason="neither a context nor a question")


def _with_distractors(rows: Iterable[Row], *, count: int, seed: int) -> Iterator[tuple[Row, Question, int]]:
    """Rows with a correct answer as text, each with its question and the index of the correct choice.

    The distractors are different answers of other rows, and all choices are shuffled: a function of the rows, the seed
    and the number of the row.

    Raises:
        DataError: there are fewer different answers than choices.
    """
    all_rows = list(rows)
    answers = list(dict.fromkeys(row.fields["answer"] for row in all_rows))
    if all_rows and len(answers) <= count:
        raise DataError(
            f"{all_rows[0].place}: distractors: {count}, but the rows have {len(answers)} different answers. Use "
            f"{len(answers) - 1} or fewer."
        )
    for number, row in enumerate(all_rows):
        rng = random.Random(f"{seed} {number}")
        answer: str = row.fields["answer"]
        distractors = [text for text in rng.sample(answers, count + 1) if text != answer][:count]
        choices = [answer, *distractors]
        rng.shuffle(choices)
        question = Question(tuple(choices), row.fields.get("context", ""), row.fields.get("question", ""))
        question.check(row.place)
        yield row, question, choices.index(answer)


def correct_choice(answer: str, choices: Sequence[str], *, spelling: AnswerSpelling, place: str) -> int:
    """The index of the choice that a row names.

    Raises:
        DataError: it names none, or `auto` fits two.
    """
    readings = {
        "index": int(answer) if answer.isascii() and answer.isdigit() and len(answer) < 3 else None,
        "letter": ascii_uppercase.find(answer) if len(answer) == 1 and answer in ascii_uppercase else None,
        "text": choices.index(answer) if answer in choices else None,
    }
    allowed = readings if spelling == "auto" else {spelling: readings[spelling]}
    matches = {
        spelling_name: index for spelling_name, index in allowed.items() if index is not None and index < len(choices)
    }
    if len(set(matches.values())) == 1:
        return next(iter(matches.values()))
    if matches:
        listed = " and ".join(f"choice {index} by its {spelling_name}" for spelling_name, index in matches.items())
        fault = f"the answer {answer!r} means {listed}. Say which with answer_as."
        raise RowError(place, fault, reason="an answer that means two choices")
    last = len(choices) - 1
    fault = (
        f"the answer {answer!r:.60} is none of its {len(choices)} choices. Write its index (0 to {last}), its letter (A "
        f"to {ascii_uppercase[last]}) or its text."
    )
    raise RowError(place, fault, reason="an answer that is none of the choices")
