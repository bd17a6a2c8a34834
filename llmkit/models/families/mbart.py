"""mBART (Liu et al. 2020) and mBART-50 (Tang et al. 2020): BART with norms in front, in many languages.

mBART writes the language behind a text, and its decoder starts from that of the target; mBART-50 writes it in front, and
its decoder starts from `</s>`. Not from random weights: its languages are those of its tokenizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.families.encoder_decoder import EncoderDecoder
from llmkit.models.families.seq2seq_parts import shifted_right

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast


class Mbart(EncoderDecoder):
    name = "mbart"
    article = "an"
    model_types = ("mbart",)
    heads = {"seq2seq-lm": "MBartForConditionalGeneration"}
    config_class = "MBartConfig"
    norm_first = True
    first_position = 2

    def decoder_inputs(self, labels: Tensor, *, config: Any) -> Tensor:
        """The last token of each target in front: the language, or `</s>`."""
        last = (labels >= 0).sum(dim=1).sub(1).clamp(min=0)  # (B,)
        start = labels.gather(1, last[:, None]).squeeze(1)
        return shifted_right(labels, start=start, pad=config.pad_token_id)

    def target_language_keys(self, tokenizer: PreTrainedTokenizerFast, language: int) -> dict[str, int]:
        in_front = bool(getattr(tokenizer, "prefix_tokens", ()))  # mBART-50
        return {"forced_bos_token_id": language} if in_front else {"decoder_start_token_id": language}
