"""A T5 of the size of t5-small with random weights, which ends its texts at uneven lengths."""

from __future__ import annotations

from pathlib import Path

VOCABULARY = 32128
LOGIT_SPREAD = 5.0
"""Standard deviation of the logits: the likeliest token then has about a half of the probability, as after training."""
END_SPREAD = 2.2
"""That of the end of text, over the other tokens': once in some twenty steps it is the likeliest token."""


def write_t5(folder: Path) -> None:
    """A model folder whose tokenizer has one token a word, `w3` to `w32127`.

    A random T5 never ends a text: its head has the embeddings' own weights, and says the last token again and again.
    So the head gets weights of its own, as in T5 1.1, and the row of the end of text larger ones.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    torch.manual_seed(17)
    special = ["<pad>", "</s>", "<unk>"]
    vocabulary = {token: index for index, token in enumerate(special)}
    vocabulary |= {f"w{index}": index for index in range(len(special), VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = dict(zip(("pad_token", "eos_token", "unk_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)
    model = T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0))
    head = torch.randn(VOCABULARY, model.config.d_model) * LOGIT_SPREAD
    head[1] *= END_SPREAD
    head[0] = head[2] = 0  # padding and unknown words are never written
    model.lm_head.weight = torch.nn.Parameter(head)
    model.all_tied_weights_keys.pop("lm_head.weight")
    model.save_pretrained(folder)
