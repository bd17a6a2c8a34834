"""Tags of words without a model: each word gets its most frequent tag. Knows no tasks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

OUTSIDE = "O"


def most_frequent_tags(
    words: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], new_words: Sequence[Sequence[str]]
) -> list[list[str]]:
    """For each word of each row, its most frequent tag in the rows of `words` and `tags`.

    An unknown word gets `O` if that is one of the tags, else the most frequent tag of all. Of equally frequent tags,
    the first one is used.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for row, row_tags in zip(words, tags, strict=True):
        total.update(row_tags)
        for word, tag in zip(row, row_tags, strict=True):
            counts[word][tag] += 1
    default = OUTSIDE if OUTSIDE in total else total.most_common(1)[0][0]
    known = {word: word_tags.most_common(1)[0][0] for word, word_tags in counts.items()}
    return [[known.get(word, default) for word in row] for row in new_words]
