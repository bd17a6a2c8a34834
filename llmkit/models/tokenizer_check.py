"""Whether a tokenizer and a model belong together."""

from __future__ import annotations

from llmkit.errors import ModelError
from llmkit.models.ends import refuse_impossible_ids
from llmkit.models.loaded import LoadedModel
from llmkit.models.threads import locked_tokenizer

_PROBES = ("a text", ("a", "b"), "\u0001 \u4e00 \U0001f600 zq")
"""A text, a pair, and characters that few vocabularies have."""


def check_tokenizer(loaded: LoadedModel) -> None:
    """Reject a tokenizer whose ids do not all have an embedding, or that lacks tokens that its family needs.

    Later it would be an index error or bad results.
    """
    missing = [name for name in loaded.family.needed_tokens if getattr(loaded.tokenizer, f"{name}_token_id") is None]
    if missing:
        raise ModelError(
            f"{loaded.name}: the tokenizer has no {missing[0]} token, which {loaded.family.name} models need. "
            "Use a tokenizer of the same family."
        )
    config_pad, tokenizer_pad = loaded.model.config.pad_token_id, loaded.tokenizer.pad_token_id
    if loaded.family.pads_before_positions and config_pad != tokenizer_pad:
        raise ModelError(
            f"{loaded.name}: config.json has pad_token_id: {config_pad}, behind which its positions begin, and its tokenizer "
            f"pads with {tokenizer_pad} ({loaded.tokenizer.pad_token}). Both must be the same."
        )
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    largest = max(*loaded.tokenizer.get_vocab().values(), *_ids_of_probes(loaded))
    if largest >= rows:
        raise ModelError(
            f"{loaded.name}: the tokenizer has ids up to {largest:,}, the model embeds {rows:,}. "
            "They do not match; use the tokenizer that the model was trained with."
        )
    special = loaded.tokenizer.num_special_tokens_to_add()
    if loaded.window <= special:
        raise ModelError(
            f"{loaded.name}: model_max_length of its tokenizer_config.json leaves no room for text: {loaded.window} "
            f"tokens, of which {special} are special."
        )
    if loaded.model.can_generate():
        refuse_impossible_ids(loaded)


def _ids_of_probes(loaded: LoadedModel) -> list[int]:
    """Ids of some texts: a post-processor may add ids that the vocabulary does not have.

    Raises:
        ModelError: the tokenizer fails at one, such as a tokenizer without the unknown token that it uses.
    """
    with locked_tokenizer(loaded.tokenizer):
        encodings = loaded.tokenizer.backend_tokenizer.encode_batch(list(_PROBES))
    return [token for encoding in encodings for token in encoding.ids]
