"""Tags of words: schemes of prefixes, the entities they mean, and their conversion to BIO (IOB2).

BIO: `B-` begins an entity, `I-` continues an entity of the same type, `O` is outside. IOB1 writes `B-` only between two
entities of one type (Ramshaw and Marcus 1995); IOBES, BILOU and BMES mark ends and single words too. One rule reads them
all: an `I-` that continues no entity begins one, as in conlleval. Tags of other notations than `B-PER` are converted
before, see `notations.py`.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from llmkit.data.labels import in_order
from llmkit.tasks.token_classification.notations import OUTSIDE

_PREFIXED = re.compile(r"([BIESLUMW])-(.+)", re.DOTALL)
_INSIDE, _OPEN = "IELM", "BIM"
ENDING = "ESLUMW"
"""Prefixes that BIO does not have."""
_TAGS_SHOWN = 20

logger = logging.getLogger("llmkit")


class EntityWords(NamedTuple):
    """Words `start` to `end`, the end exclusive."""

    start: int
    end: int
    label: str


def has_prefixes(tags: Iterable[str]) -> bool:
    """Whether these are tags of entities: `O` and others such as `B-PER`, and nothing else."""
    inside = set(tags) - {OUTSIDE}
    return all(_PREFIXED.fullmatch(tag) for tag in inside) and any(tag[0] not in "MW" for tag in inside)


@lru_cache(maxsize=1024)
def split_tag(tag: str) -> tuple[str, str]:
    """`B-PER` as B and PER; `O`, or a tag without prefix, as O and the empty string."""
    match = _PREFIXED.fullmatch(tag)
    return (match[1], match[2]) if match else (OUTSIDE, "")


def bio_labels(types: Iterable[str]) -> tuple[str, ...]:
    """`O` first, then `B-` and `I-` of each type, in order: even where no training row has an `I-` of the type."""
    in_types = in_order(types)
    return (OUTSIDE, *(f"{prefix}-{label}" for prefix in "BI" for label in in_types))


def to_bio(tags: Sequence[str]) -> list[str]:
    """The same entities in BIO, whatever scheme of prefixes the tags are in."""
    bio_tags = []
    open_type = ""
    for tag in tags:
        prefix, label = split_tag(tag)
        if prefix == OUTSIDE:
            bio_tags.append(OUTSIDE)
            open_type = ""
            continue
        continues = prefix in _INSIDE and label == open_type
        bio_tags.append(_bio_tag("I" if continues else "B", label))
        open_type = label if prefix in _OPEN else ""
    return bio_tags


@lru_cache(maxsize=1024)
def _bio_tag(prefix: str, label: str) -> str:
    """One string for all words of a long text with this tag."""
    return f"{prefix}-{label}"


def tags_of_same_word(tag: str, parts: int) -> list[str]:
    """The BIO tags of the parts of a word."""
    prefix, label = split_tag(tag)
    return [tag, *[tag if prefix == OUTSIDE else _bio_tag("I", label)] * (parts - 1)]


def entities_of(tags: Sequence[str]) -> list[EntityWords]:
    """The entities that tags of any scheme mean, in order."""
    entities: list[EntityWords] = []
    for index, tag in enumerate(to_bio(tags)):
        prefix, label = split_tag(tag)
        if prefix == "B":
            entities.append(EntityWords(index, index + 1, label))
        elif prefix == "I":
            entities[-1] = entities[-1]._replace(end=index + 1)
    return entities


@dataclass
class TagCount:
    """Counts of the tags of rows, for one report at the end."""

    tags: Counter[str] = field(default_factory=Counter)
    """As the model learns them."""
    _prefixes: Counter[str] = field(default_factory=Counter)
    _opened_by_inside: int = 0
    _first_place: str = ""
    _needless_begins: int = 0
    """`B-` where IOB1 would write `I-`."""

    def plain(self, tags: Sequence[str]) -> list[str]:
        self.tags.update(tags)
        return list(tags)

    def bio(self, tags: Sequence[str], *, place: str) -> list[str]:
        """The tags in BIO, counted, with the prefixes that they had before."""
        bio_tags = to_bio(tags)
        self.tags.update(bio_tags)
        previous_type = ""
        for tag, bio in zip(tags, bio_tags, strict=True):
            prefix, label = split_tag(tag)
            self._prefixes[prefix] += 1
            if prefix == "I" and bio.startswith("B-"):
                self._opened_by_inside += 1
                self._first_place = self._first_place or place
            if prefix == "B" and label != previous_type:
                self._needless_begins += 1
            previous_type = label
        return bio_tags

    def report(self) -> None:
        """Log the scheme, where it was not BIO, and how often each tag occurs."""
        words = self.tags.total()
        if not words:
            return
        entities = sum(count for tag, count in self.tags.items() if split_tag(tag)[0] == "B")
        if set(ENDING).intersection(self._prefixes):
            scheme = "BMES" if set("MW").intersection(self._prefixes) else "IOBES"
            scheme = "BILOU" if set("LU").intersection(self._prefixes) else scheme
            logger.info("tags: %s, converted to BIO", scheme)
        elif self._opened_by_inside and not self._needless_begins:
            logger.info("tags: IOB1 (%s entities begin with I-), converted to BIO", f"{self._opened_by_inside:,}")
        elif self._opened_by_inside:
            logger.warning(
                "tags: %s of %s entities begin with I- in place of B-, the first at %s; taken as B-",
                f"{self._opened_by_inside:,}",
                f"{entities:,}",
                self._first_place,
            )
        listed = ", ".join(f"{tag} {count:,}" for tag, count in self.tags.most_common(_TAGS_SHOWN))
        more = f" and {len(self.tags) - _TAGS_SHOWN} more" if len(self.tags) > _TAGS_SHOWN else ""
        logger.info("tags of %s words: %s%s", f"{words:,}", listed, more)
