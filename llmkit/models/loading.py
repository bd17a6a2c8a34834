"""Models from random weights or from a folder, with the tokenizer and the head that a task needs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from tokenizers import Regex, decoders
from tokenizers.normalizers import Lowercase, Sequence
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from llmkit.errors import ModelError
from llmkit.models.configs import check_ids, read_config
from llmkit.models.families import (
    FAMILIES,
    LABELLED_HEADS,
    SPAN_HEADS,
    VERBS,
    Family,
    Head,
    family_of,
    verb_of_class,
)
from llmkit.models.generator import read_generator
from llmkit.models.integrity import check_saved_weights, unless_replaced
from llmkit.models.loaded import LoadedModel
from llmkit.models.resolve import ResolvedModel, find_model
from llmkit.models.sentence_modules import SentenceModules
from llmkit.models.sentence_reading import check_modules, read_sentence_modules
from llmkit.models.threads import one_load_at_a_time
from llmkit.models.tokenizer_check import check_tokenizer
from llmkit.models.tokenizer_files import TOKENIZER_CONFIG, read_tokenizer
from llmkit.models.tokenizers import train_tokenizer
from llmkit.models.weights import (
    embedding_rows,
    has_weights,
    load_weights,
    merge_into_base,
    put_adapter,
)
from llmkit.recipe.blocks import ScratchModel, TokenizerBlock

logger = logging.getLogger("llmkit")
_UNNAMED = ("LABEL_0",)
"""transformers' name for the output of a regression."""
_CHINESE = "\u2e80-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff65\U00020000-\U0002fa1f"
"""Ranges of Chinese characters and signs, for a character class of a regular expression."""


@one_load_at_a_time
def create_model(
    block: ScratchModel,
    *,
    head: Head,
    labels: tuple[str, ...] | None,
    texts: Callable[[], Iterable[str]],
    max_tokens: int | None,
    seed: int,
    cached_tokenizer: Path | None = None,
) -> LoadedModel:
    """A model with random weights, fixed by `seed`; its tokenizer is trained on `texts()` or that of another model.

    Args:
        labels: names of the classes, for a classifier.
        max_tokens: maximum sequence length of the recipe, stored in a trained tokenizer.
        cached_tokenizer: see `train_tokenizer`.
    """
    family = FAMILIES[block.architecture]
    if isinstance(block.tokenizer, TokenizerBlock):
        tokenizer = train_tokenizer(
            family, texts(), block=block.tokenizer, max_tokens=max_tokens, cached=cached_tokenizer
        )
    else:
        tokenizer = load_tokenizer(find_model(block.tokenizer))
    config = family.scratch_config(block, tokenizer)
    _name_labels(config, labels)
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU; no GPU state to save
        torch.manual_seed(seed)
        model = family.model_class(head)(config)
    family.scale_new_head(model)
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        family=family,
        name=f"{block.architecture}-{block.size}",
        new_weights=tuple(name for name, _ in model.named_parameters()),
    )
    check_tokenizer(loaded)
    family.prepare(model, tokenizer, head)
    return loaded


@unless_replaced
@one_load_at_a_time
def load_model(
    name: str,
    *,
    head: Head,
    labels: tuple[str, ...] | None = None,
    any_order: bool = False,
    revision: str | None = None,
    new_head: bool = False,
    keep_adapter: bool = False,
    seed: int = 0,
) -> LoadedModel:
    """Open a run, a folder or a hub model, in float32.

    An adapter is opened with its base, and merged into it.

    Args:
        labels: the expected classes; compared with those of the checkpoint if it has a classifier.
        any_order: a checkpoint with the same classes in another order keeps its order.
        new_head: training may start from a body without this head, whose weights are then random, fixed by `seed`.
        keep_adapter: do not merge an adapter, so that its training can continue.
    Raises:
        ModelError: unknown or unsafe; of another family or with another head; labels that differ; a tokenizer that
            does not fit; weights that are missing or not finite.
    """
    resolved = find_model(name, revision=revision)
    _check_saved_weights(resolved)
    if head == "embedding" and resolved.sentence is not None:
        check_modules(resolved.sentence, name=resolved.name)  # a model that llmkit does not have may be due to these
    model_type = resolved.config.get("model_type")
    family = family_of_model(resolved)
    cls = family.model_class(head, model_type=str(model_type))
    config = config_for(cls, resolved, head=head, labels=labels, any_order=any_order, new_head=new_head)
    sentence = _sentence_modules(resolved, config) if head == "embedding" else None
    model, new_weights = load_weights(family, head, config, resolved, new_head=new_head, seed=seed)
    family.check_config(config, name=resolved.name)
    adapter = None if resolved.adapter is None else put_adapter(model, resolved)
    if adapter is not None and not keep_adapter:
        merge_into_base(model, name=resolved.name)
    elif adapter is None and new_weights:
        logger.info("%s: new weights for %s", resolved.name, ", ".join(new_weights))
    tokenizer = load_tokenizer(resolved)
    if sentence is not None and sentence.lowercase:
        _put_in_lower_case(tokenizer)
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        family=family,
        name=name,
        revision=resolved.revision,
        base=name_for_adapters(resolved),
        new_weights=new_weights,
        adapter=adapter if keep_adapter else None,
        sentence=sentence,
    )
    check_tokenizer(loaded)
    family.prepare(model, tokenizer, head)
    if head == "replaced-token-detection":
        read_generator(loaded, resolved.folder)
    return loaded


def family_of_model(resolved: ResolvedModel) -> Family:
    """
    Raises:
        ModelError: llmkit has no such family.
    """
    config = resolved.config
    return family_of(config.get("model_type"), name=resolved.name, architectures=config.get("architectures"))


def _check_saved_weights(resolved: ResolvedModel) -> None:
    for source in (resolved, resolved.base):
        if source is not None:
            check_saved_weights(source.folder, name=source.name)


def _sentence_modules(resolved: ResolvedModel, config: PreTrainedConfig) -> SentenceModules | None:
    if resolved.sentence is None:
        return None
    sentence = read_sentence_modules(resolved.sentence, hidden=config.hidden_size, name=resolved.name)
    logger.info("%s: embedding with its sentence-transformers modules: %s", resolved.name, sentence)
    return sentence


def config_for(
    cls: type[PreTrainedModel],
    resolved: ResolvedModel,
    *,
    head: Head,
    labels: tuple[str, ...] | None = None,
    any_order: bool = False,
    new_head: bool,
) -> PreTrainedConfig:
    """The checkpoint's config, with the size of its vocabulary and the classes of the head; see `load_model`."""
    config = read_config(cls, resolved)
    config.vocab_size = embedding_rows(resolved) or config.vocab_size
    check_ids(config, resolved)
    if str((config.architectures or [""])[0]).endswith("ForMultipleChoice"):
        _name_labels(config, _UNNAMED)  # its classifier has one output, even if the config has more labels
    if head in LABELLED_HEADS:
        if not new_head:
            _refuse_other_labels(config, cls, resolved)
        _check_labels(config, resolved, labels, any_order=any_order)
    elif head in SPAN_HEADS:
        config.num_labels = 2  # start and end
    return config


def _put_in_lower_case(tokenizer: PreTrainedTokenizerFast) -> None:
    backend = tokenizer.backend_tokenizer
    backend.normalizer = Sequence([Lowercase(), *([] if backend.normalizer is None else [backend.normalizer])])


def name_for_adapters(resolved: ResolvedModel) -> str | None:
    """`LoadedModel.base` of a model."""
    if resolved.base is not None:
        return None
    root = resolved.folder if resolved.sentence is None else resolved.sentence.root
    return str(root.resolve()) if resolved.revision is None else resolved.name


def load_tokenizer(resolved: ResolvedModel) -> PreTrainedTokenizerFast:
    """The folder's tokenizer; GPT-2's, which has no padding token, pads with its end of text, which the mask hides."""
    family = family_of_model(resolved)
    family.register()
    folder = resolved.folder
    if resolved.base is not None and not (folder / TOKENIZER_CONFIG).exists():
        folder = resolved.base.folder  # an adapter that llmkit did not make
    tokenizer = read_tokenizer(folder, resolved.config, name=resolved.name)
    # A published tokenizer.json may truncate and pad all texts; llmkit truncates and pads itself, and counts it.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    if "eos" in family.needed_tokens:
        _adapt_bert_vocabulary(tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if family.padding_side == "left":
        tokenizer.padding_side = "left"
    return tokenizer


def _adapt_bert_vocabulary(tokenizer: PreTrainedTokenizerFast) -> None:
    """Let a model that writes use BERT's vocabulary, as Chinese GPT-2 and T5 models do: [SEP] ends a text.

    BERT puts spaces around each Chinese character and sign before it encodes them; decoding takes them out again.
    """
    if tokenizer.eos_token_id is None and tokenizer.sep_token_id is not None:
        tokenizer.eos_token = tokenizer.sep_token
    backend = tokenizer.backend_tokenizer
    if isinstance(backend.decoder, decoders.WordPiece):
        spaces = Regex(f"(?<=[{_CHINESE}]) +(?=[{_CHINESE}])")
        backend.decoder = decoders.Sequence([backend.decoder, decoders.Fuse(), decoders.Replace(spaces, "")])


def _name_labels(config: PreTrainedConfig, labels: tuple[str, ...] | None) -> None:
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}


def _refuse_other_labels(config: PreTrainedConfig, cls: type[PreTrainedModel], resolved: ResolvedModel) -> None:
    """Labels of texts and labels of tokens have weights of the same names and shapes: the config tells them apart."""
    kind = (config.architectures or [""])[0]
    verb = verb_of_class(kind)
    if kind != cls.__name__ and verb in {VERBS[head] for head in LABELLED_HEADS}:
        raise ModelError(f"{resolved.name}: it was saved as {kind}; use `llmkit {verb}`.")


def _check_labels(
    config: PreTrainedConfig, resolved: ResolvedModel, labels: tuple[str, ...] | None, *, any_order: bool
) -> None:
    """Compare the expected labels with the checkpoint's if it has a classifier, else write them into the config."""
    if sorted(config.id2label) != list(range(len(config.id2label))):
        raise ModelError(
            f"{resolved.name}: config.json numbers its labels {sorted(config.id2label)}, not from 0 upwards."
        )
    names = tuple(config.id2label[index] for index in sorted(config.id2label))
    if labels is None:
        if repeated := [label for label, count in Counter(names).items() if count > 1]:
            raise ModelError(
                f"{resolved.name}: config.json has the label {repeated[0]!r} for several classes in id2label. Name each "
                "class differently."
            )
        return
    if labels == _UNNAMED and len(names) == 1:
        return  # the only output of a regression may have any name
    classifier = family_of(config.model_type, name=resolved.name).output_modules[0].partition(".")[0]
    if has_weights(resolved, prefixes=(f"{classifier}.",)) and names != labels:
        if any_order and len(names) == len(labels) and set(names) == set(labels):
            return
        raise ModelError(
            f"{resolved.name}: the labels differ. The model has: {', '.join(names)}. The recipe or its data has: "
            f"{', '.join(labels)}. Write the model's labels, in its order, as `labels:` in the recipe, or start "
            "from a model without a classifier."
        )
    _name_labels(config, labels)
