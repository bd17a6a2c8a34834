"""How fast near-duplicates are found, and how many of the labels that look wrong are.

    python benchmarks/data_check.py                          # near-duplicates among 100,000 random texts
    python benchmarks/data_check.py --labels reviews.csv     # 3 % of its labels flipped, for several seeds

The file has the columns `text` and `label`.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from pathlib import Path

from llmkit.inspection.near import near_pairs
from llmkit.inspection.suspects import suspects_of

_CHANGED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--share", type=float, default=0.03, help="share of the labels to flip")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    if options.labels is None:
        _near_duplicates(options.rows)
    else:
        _flipped_labels(options.labels, share=options.share, seeds=options.seeds)


def _near_duplicates(rows: int) -> None:
    texts = _texts(rows)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    pairs = near_pairs(texts)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    characters = sum(map(len, texts)) / 1e6
    print(f"{rows:,} texts, {characters:.0f} M characters: {seconds:.1f} s, {cpu:.1f} s of a processor")
    first = rows - _CHANGED
    found = {(pair.first, pair.second) for pair in pairs} & {(index, first + index) for index in range(_CHANGED)}
    print(
        f"{len(found):,} of {_CHANGED:,} texts with one word changed were found; {len(pairs) - len(found):,} other pairs"
    )


def _texts(rows: int) -> list[str]:
    """Texts of 20 to 100 random words; the last thousand are copies of the first with one word changed."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]
    texts = [rng.choices(words, k=rng.randint(20, 100)) for _ in range(rows - _CHANGED)]
    for text in texts[:_CHANGED]:
        copy = list(text)
        copy[rng.randrange(len(copy))] = rng.choice(words)
        texts.append(copy)
    return [" ".join(text) for text in texts]


def _flipped_labels(path: Path, *, share: float, seeds: int) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    names = sorted(set(labels))
    precisions = []
    for seed in range(seeds):
        rng = random.Random(seed)
        flipped = rng.sample(range(len(rows)), round(share * len(rows)))
        changed = list(labels)
        for index in flipped:
            changed[index] = rng.choice([name for name in names if name != labels[index]])
        begin = time.process_time()
        suspects = suspects_of(texts, changed)
        cpu = time.process_time() - begin
        first = [suspect.row for suspect in suspects[: len(flipped)]]
        precisions.append(len(set(first) & set(flipped)) / len(first))
        print(
            f"seed {seed}: {len(flipped)} of {len(rows):,} labels flipped; precision {precisions[-1]:.1%} among the first "
            f"{len(first)} of {len(suspects)} suspects; {cpu:.1f} s of a processor"
        )
    print(f"mean precision {sum(precisions) / len(precisions):.1%}")


if __name__ == "__main__":
    main()
