from __future__ import annotations

import pytest
import torch
from builders import tokenizer_of
from facts import facts

from llmkit.errors import UsageError
from llmkit.models.families import FAMILIES, Family, Head
from llmkit.models.families.lstm import LstmSize
from llmkit.recipe.blocks import ScratchModel

HEADS: dict[str, Head] = {"bert": "classification", "gpt2": "causal-lm", "t5": "seq2seq-lm", "bart": "seq2seq-lm"}
PUBLISHED_VOCABULARY: dict[str, int] = {"bert": 30522, "gpt2": 50257, "t5": 32128, "bart": 50265}


def parameters_of(family: str, size: str) -> int:
    """With the vocabulary of the published model; on the meta device, so that nothing is allocated."""
    block = ScratchModel(architecture=family, size=size)  # type: ignore[arg-type]  # from the table itself
    config = FAMILIES[family].scratch_config(block, tokenizer_of(family))
    config.vocab_size = PUBLISHED_VOCABULARY[family]
    with torch.device("meta"):
        model = FAMILIES[family].model_class(HEADS[family])(config)
    return sum(weight.numel() for weight in model.parameters())


# In millions. Turc et al. 2019, table 1; Devlin et al. 2019; the corrected figures of the GPT-2 repository; Raffel et
# al. 2020, section 3.7.
PUBLISHED: list[tuple[str, str, float]] = [
    ("bert", "tiny", 4.4),
    ("bert", "mini", 11.3),
    ("bert", "small", 29.1),
    ("bert", "medium", 41.7),
    ("bert", "base", 110.1),
    ("gpt2", "small", 124),
    ("gpt2", "medium", 355),
    ("gpt2", "large", 774),
    ("t5", "small", 60),
    ("t5", "base", 220),
    ("t5", "large", 738),
    ("bart", "base", 140),  # fairseq's examples/bart
    ("bart", "large", 400),
]


@pytest.mark.parametrize(("family", "size", "millions"), PUBLISHED)
def test_a_size_has_the_published_number_of_parameters(family: str, size: str, millions: float) -> None:
    assert parameters_of(family, size) == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_grow(family: str) -> None:
    counts = [size.layers * size.hidden * (size.embedding if isinstance(size, LstmSize) else
              4 * size.heads * size.head_dim + 2 * size.feed_forward)
              for size in FAMILIES[family].sizes.values()]  # fmt: skip
    assert counts == sorted(counts)


def test_the_tiny_lstm_has_the_published_number_of_parameters_in_each_direction() -> None:
    """315,840 in Tai et al. 2015, table 1; both directions share them there."""
    config = FAMILIES["lstm"].scratch_config(ScratchModel(architecture="lstm", size="tiny"), tokenizer_of("lstm"))
    with torch.device("meta"):
        model = FAMILIES["lstm"].model_class("classification")(config)
    own = [weight.numel() for name, weight in model.named_parameters() if name.startswith("lstm.0.")]
    assert sum(own) == 2 * 315_840


def test_a_size_that_the_family_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(UsageError, match=facts("bert", "'xl'", "tiny, mini, small, medium, base, large")):
        FAMILIES["bert"].scratch_config(ScratchModel(architecture="bert", size="xl"), tokenizer_of("bert"))


@pytest.mark.parametrize("family", HEADS)
def test_the_special_ids_are_the_tokenizers(family: str) -> None:
    tokenizer = tokenizer_of(family)
    config = FAMILIES[family].scratch_config(ScratchModel(architecture=family, size="tiny"), tokenizer)
    assert config.vocab_size == len(tokenizer)
    if family == "bert":
        assert config.pad_token_id == tokenizer.pad_token_id
    else:
        assert config.eos_token_id == tokenizer.eos_token_id
    if family == "t5":
        assert config.decoder_start_token_id == config.pad_token_id == tokenizer.pad_token_id
    if family == "bart":
        assert config.decoder_start_token_id == config.forced_eos_token_id == tokenizer.eos_token_id
        assert (config.pad_token_id, config.bos_token_id) == (tokenizer.pad_token_id, tokenizer.bos_token_id)


def test_dropout_is_the_recipes_and_attentions_its_own_where_given() -> None:
    block = ScratchModel(architecture="gpt2", size="tiny", dropout=0.2, attention_dropout=0.0)
    config = FAMILIES["gpt2"].scratch_config(block, tokenizer_of("gpt2"))
    assert (config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) == (0.2, 0.2, 0.0)
    same = FAMILIES["bert"].scratch_config(
        ScratchModel(architecture="bert", size="tiny", dropout=0.3), tokenizer_of("bert")
    )
    assert (same.hidden_dropout_prob, same.attention_probs_dropout_prob) == (0.3, 0.3)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_projection_starts_with_the_published_spread_at_every_width(family: str) -> None:
    """The published one: 0.02 at 768 units (Devlin et al. 2019; Radford et al. 2019), so 0.02 * sqrt(768) out of it."""
    for name in ("tiny", "mini", "small"):
        config = FAMILIES[family].scratch_config(ScratchModel(architecture=family, size=name), tokenizer_of(family))
        torch.manual_seed(0)
        layer = (
            FAMILIES[family]
            .model_class(HEADS[family])(config)
            .get_submodule(
                {"bert": "bert.encoder.layer.0.attention.self.query", "gpt2": "transformer.h.0.attn.c_attn"}[family]
            )
        )
        spread = float(layer.weight.detach().std()) * config.hidden_size**0.5
        assert spread == pytest.approx(0.02 * 768**0.5, rel=0.03)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_implements_what_has_no_default(family: str) -> None:
    kind = type(FAMILIES[family])
    assert kind.scratch_config is not Family.scratch_config
    assert ("masked-lm" in kind.heads) == (kind.masked_lm_head is not Family.masked_lm_head)
