"""Small published models that new recipes start from. Imports no model library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_MOST_OTHER = 0.005
"""Share of other letters in texts that a model reads, from names and borrowed words."""
_ENGLISH: frozenset[str] = frozenset()
_OF_T5 = frozenset("äöüßàâçéèêëîïôûùœæășțşţ")
"""Letters of German, French and Romanian besides ASCII, which T5 was trained on (Raffel et al. 2020, section 3.1.3)."""


@dataclass(frozen=True)
class Published:
    """A model of the hub, and why it is a good start."""

    name: str
    reason: str
    letters: frozenset[str] | None
    """Letters besides ASCII in the texts that it was trained on; None for those of many alphabets."""

    def reads(self, texts: Iterable[str]) -> bool:
        """Whether it was trained on the letters of the texts; signs and digits do not count."""
        if self.letters is None:
            return True
        letters = [char for text in texts for char in text if char.isalpha()]
        others = sum(not char.isascii() and char.casefold() not in self.letters for char in letters)
        return others <= _MOST_OTHER * len(letters)


BERT = Published("google-bert/bert-base-uncased", "110 million parameters, English", _ENGLISH)
BERT_CASED = Published(
    "google-bert/bert-base-cased", "110 million parameters, English; capital letters mark names", _ENGLISH
)
DISTILBERT = Published(
    "distilbert/distilbert-base-uncased", "66 million parameters, English; half the time of BERT", _ENGLISH
)
XLM_ROBERTA = Published("FacebookAI/xlm-roberta-base", "278 million parameters, 100 languages", None)
GPT2 = Published("openai-community/gpt2", "124 million parameters, English", _ENGLISH)
SMOLLM2 = Published("HuggingFaceTB/SmolLM2-135M", "135 million parameters, English; newer than GPT-2", _ENGLISH)
QWEN = Published("Qwen/Qwen2.5-0.5B", "494 million parameters, 29 languages", None)
T5_SMALL = Published("google-t5/t5-small", "60 million parameters; English, German, French and Romanian", _OF_T5)
BART = Published("facebook/bart-base", "139 million parameters, English", _ENGLISH)
