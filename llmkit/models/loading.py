"""Models from random weights or from a folder, with the tokenizer and the head that a task needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from llmkit.errors import ModelError
from llmkit.models.adapters import (
    ADAPTER_PREFIX,
    ADAPTER_WEIGHTS,
    MODEL_CONFIG,
    Adapter,
    base_hash,
    inject,
    merge_adapter,
    put_tensors,
)
from llmkit.models.first_token import read_first_token_only
from llmkit.models.loaded import LABELLED_HEADS, Family, Head, LoadedModel
from llmkit.models.places import ModelPlace, find_model
from llmkit.models.presets import scratch_config
from llmkit.models.tokenizers import train_tokenizer
from llmkit.recipe.blocks import ScratchModel, TokenizerBlock

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

_log = logging.getLogger("llmkit")
_NEEDED_TOKENS: dict[Family, tuple[str, ...]] = {
    "gpt2": ("eos", "pad"),
    "bert": ("cls", "sep", "pad"),
    "lstm": ("pad",),
    "t5": ("eos", "pad"),
}
_TRANSFORMER_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_SIZES: dict[Family, tuple[str, ...]] = {
    "gpt2": _TRANSFORMER_SIZES,
    "bert": _TRANSFORMER_SIZES,
    "lstm": ("embedding_size", "hidden_size", "num_hidden_layers", "vocab_size"),
    "t5": _TRANSFORMER_SIZES,
}
"""Keys of a config that must be whole numbers."""
_NEW_HEADS = ("classifier.", "score.", "qa_outputs.", "bert.pooler.", "cls.")
"""Weights that training may begin without."""
_ONE_SIDED = (
    "Each of its tokens has seen only what stands before it, so its states are no vectors of a text; "
    "`llmkit embed` takes BERT and T5"
)
_CLASSIFIERS = ("classifier.", "score.")
"""Weights of the outputs that have names."""
_VERBS: dict[Head, str] = {
    "causal-lm": "generate",
    "classification": "classify",
    "embedding": "embed",
    "masked-lm": "fill",
    "question-answering": "answer",
    "seq2seq-lm": "summarize",
    "token-classification": "tag",
}


def model_class(family: Family, head: Head) -> type[PreTrainedModel]:
    """The class of a family with a head: transformers' own, but for the LSTM, which it does not have.

    Raises:
        ModelError: the family has no such head here.
    """
    classes = _classes()
    if (family, head) == ("gpt2", "embedding"):
        raise ModelError(f"a {family} model has no {head} head. {_ONE_SIDED}.")
    if (family, head) not in classes:
        fits = [_VERBS[other] for (of, other) in classes if of == family]
        raise ModelError(f"a {family} model has no {head} head; `llmkit {fits[0]}` fits it.")
    return classes[family, head]


def _classes() -> dict[tuple[Family, Head], type[PreTrainedModel]]:
    from transformers import (
        BertForMaskedLM,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
        GPT2ForSequenceClassification,
        GPT2LMHeadModel,
        T5EncoderModel,
        T5ForConditionalGeneration,
        T5ForTokenClassification,
    )

    from llmkit.models.lstm import LstmForSequenceClassification

    return {
        ("bert", "classification"): BertForSequenceClassification,
        ("bert", "embedding"): BertModel,
        ("bert", "masked-lm"): BertForMaskedLM,
        ("bert", "question-answering"): BertForQuestionAnswering,
        ("bert", "token-classification"): BertForTokenClassification,
        ("gpt2", "causal-lm"): GPT2LMHeadModel,
        ("gpt2", "classification"): GPT2ForSequenceClassification,
        ("lstm", "classification"): LstmForSequenceClassification,
        ("t5", "seq2seq-lm"): T5ForConditionalGeneration,
        ("t5", "embedding"): T5EncoderModel,
        # The encoder with a linear head; what a text has is the mean over its tokens (models/text_logits.py).
        ("t5", "classification"): T5ForTokenClassification,
    }


def _class_of(place: ModelPlace, family: Family, head: Head) -> type[PreTrainedModel]:
    """As `model_class`; mT5 is a T5 to all of llmkit, but transformers has classes of its own for it."""
    cls = model_class(family, head)
    if place.config.get("model_type") == "mt5":
        from transformers import MT5EncoderModel, MT5ForConditionalGeneration, MT5ForTokenClassification

        by_head: dict[Head, type[PreTrainedModel]] = {
            "classification": MT5ForTokenClassification,
            "embedding": MT5EncoderModel,
            "seq2seq-lm": MT5ForConditionalGeneration,
        }
        return by_head[head]
    return cls


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
    """A model with random weights, fixed by `seed`; its tokenizer is trained on `texts()` or taken from elsewhere.

    Args:
        labels: names of the classes, for a classifier.
        max_tokens: the longest sequence of the recipe, written into the tokenizer where it is trained.
        cached_tokenizer: see `train_tokenizer`.
    """
    import torch

    if isinstance(block.tokenizer, TokenizerBlock):
        tokenizer = train_tokenizer(
            block.architecture, texts(), block=block.tokenizer, max_tokens=max_tokens, cached=cached_tokenizer
        )
    else:
        tokenizer = load_tokenizer(find_model(block.tokenizer))
    config = scratch_config(block, tokenizer)
    _name_labels(config, labels)
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU; no need to wake every GPU
        torch.manual_seed(seed)
        model = model_class(block.architecture, head)(config)
    _temper_t5_classifier(model)
    loaded = LoadedModel(
        model=_trimmed(model), tokenizer=tokenizer, family=block.architecture, name=f"{block.architecture}-{block.size}"
    )
    check_tokenizer(loaded)
    suit_head(loaded, head)
    return loaded


def load_model(
    name: str,
    *,
    head: Head,
    labels: tuple[str, ...] | None = None,
    revision: str | None = None,
    new_head: bool = False,
    keep_adapter: bool = False,
    seed: int = 0,
) -> LoadedModel:
    """Open a run, a folder or a hub model, in float32.

    An adapter is opened with its base, and merged into it.

    Args:
        labels: the classes that are wanted; compared with those of the checkpoint where it has a classifier.
        new_head: training may start from a body without this head, whose weights are then random, fixed by `seed`.
        keep_adapter: leave an adapter beside the weights, ready to be trained on.
    Raises:
        ModelError: unknown or unsafe; of another family or with another head; labels that differ; a tokenizer that
            does not fit; weights that are missing or not finite.
    """
    place = find_model(name, revision=revision)
    family = family_of(place)
    cls = _class_of(place, family, head)
    config = _checked_config(cls, place)
    if head in LABELLED_HEADS:
        _settle_labels(config, place, labels)
    elif head == "question-answering":
        config.num_labels = 2  # start and end, whatever the model was before
    weights = place.base or place
    model, new_weights = _load_weights(cls, config, weights, new_head=new_head or place.base is not None, seed=seed)
    adapter = None
    if place.adapter is not None:
        adapter = _put_adapter(model, place, new_weights=new_weights)
        new_weights = ()
        if not keep_adapter:
            _merge(model, name=place.name)
    elif new_weights:
        _log.info("%s: new weights for %s", place.name, ", ".join(new_weights))
    loaded = LoadedModel(
        model=_trimmed(model),
        tokenizer=load_tokenizer(place),
        family=family,
        name=name,
        revision=place.revision,
        base=_name_for_adapters(place),
        new_weights=new_weights,
        adapter=adapter if keep_adapter else None,
    )
    check_tokenizer(loaded)
    suit_head(loaded, head)
    return loaded


def _merge(model: PreTrainedModel, *, name: str) -> None:
    try:
        merge_adapter(model)
    except ValueError as error:  # peft looks at the sums
        raise ModelError(f"{name}: merged into its base it gives weights that are not finite numbers.") from error


def _name_for_adapters(place: ModelPlace) -> str | None:
    if place.base is not None:
        return None
    return str(place.folder.resolve()) if place.revision is None else place.name


def _put_adapter(model: PreTrainedModel, place: ModelPlace, *, new_weights: tuple[str, ...]) -> Adapter:
    """Put the adapter of a place into its base.

    Raises:
        ModelError: it is damaged, leaves weights random, or was trained on other weights.
    """
    from safetensors import SafetensorError, safe_open

    adapter = place.adapter
    assert adapter is not None, "the caller has looked"
    try:
        with safe_open(place.folder / ADAPTER_WEIGHTS, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except SafetensorError as error:
        raise ModelError(f"{place.name}: {ADAPTER_WEIGHTS} is damaged ({error}).") from error
    there = dict(model.named_modules())
    adapter = replace(adapter, whole=tuple(name for name in adapter.whole if name in there))
    try:
        inject(model, adapter, seed=0)
    except ValueError as error:
        raise ModelError(f"{place.name}: it does not fit {adapter.base} ({_first_line(error)}).") from error
    put_tensors(model, tensors, name=place.name)
    left = sorted(name for name in new_weights if not model.get_parameter(name).requires_grad)
    if left:
        raise ModelError(
            f"{place.name}: neither it nor {adapter.base} has weights for {', '.join(left[:5])}. To train it for "
            "another task, merge it first with `llmkit merge`."
        )
    if adapter.base_sha256 not in (None, base_hash(model)):
        raise ModelError(
            f"{place.name}: it was trained on other weights than {adapter.base} has now. Put the old ones back; "
            "the adapter is of no use without them."
        )
    return adapter


def suit_head(loaded: LoadedModel, head: Head) -> None:
    """Let transformers find the last token of a text, which a GPT-2 classifier reads, also in a batch."""
    if loaded.family == "gpt2" and head == "classification":
        loaded.tokenizer.padding_side = "right"  # on the left it would shift the positions
        loaded.model.config.pad_token_id = loaded.tokenizer.pad_token_id
        loaded.model.config.use_cache = False


def family_of(place: ModelPlace) -> Family:
    model_type = place.config.get("model_type")
    if model_type == "mt5":
        return "t5"
    for family in get_args(Family):
        if family == model_type:
            known: Family = family
            return known
    raise ModelError(f"{place.name}: its type is {model_type!r}; llmkit works with {', '.join(get_args(Family))}, mt5.")


def load_tokenizer(place: ModelPlace) -> PreTrainedTokenizerFast:
    """The folder's tokenizer; GPT-2's, which has no padding, is padded with its end of text, told by the mask."""
    from transformers import AutoTokenizer

    if place.config.get("model_type") == "lstm":
        from llmkit.models.lstm import register

        register()
    folder = place.folder
    if place.base is not None and not (folder / "tokenizer_config.json").exists():
        folder = place.base.folder  # an adapter that llmkit did not make
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever its parsers raise; the folder is at fault in every case
        raise ModelError(f"{place.name}: its tokenizer cannot be read ({_first_line(error)}).") from error
    if isinstance(tokenizer.chat_template, dict):  # several, by name: transformers takes this one, and so is it saved
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if place.config.get("model_type") == "gpt2":
        tokenizer.padding_side = "left"  # generation continues the right end of a prompt
    loaded: PreTrainedTokenizerFast = tokenizer
    return loaded


def check_tokenizer(loaded: LoadedModel) -> None:
    """Refuse a tokenizer whose ids do not all have an embedding, or without the tokens that its family works with.

    Found later, it is an index error or nonsense.
    """
    lacking = [name for name in _NEEDED_TOKENS[loaded.family] if getattr(loaded.tokenizer, f"{name}_token_id") is None]
    if lacking:
        raise ModelError(
            f"{loaded.name}: the tokenizer has no {lacking[0]} token, which {loaded.family} models need. "
            "Take a tokenizer of the same family."
        )
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    largest = max(loaded.tokenizer.get_vocab().values())
    if largest >= rows:
        raise ModelError(
            f"{loaded.name}: the tokenizer has ids up to {largest:,}, the model embeds {rows:,}. "
            "They do not belong together; use the tokenizer that the model was trained with."
        )


def _trimmed(model: PreTrainedModel) -> PreTrainedModel:
    """The same model, without the work whose results nothing reads."""
    from transformers import BertForSequenceClassification

    if isinstance(model, BertForSequenceClassification):
        read_first_token_only(model)
    return model


def _temper_t5_classifier(model: PreTrainedModel) -> None:
    """Scale a new linear head of T5 as transformers scales its other new heads.

    For this class it draws with a standard deviation of 1 (5.x), which gives logits in the tens before the first step.
    """
    import torch
    from transformers import T5ForTokenClassification

    if isinstance(model, T5ForTokenClassification):
        with torch.no_grad():
            model.classifier.weight.mul_(model.config.d_model**-0.5)


def _checked_config(cls: type[PreTrainedModel], place: ModelPlace) -> PreTrainedConfig:
    file = place.folder / MODEL_CONFIG if place.adapter is not None else place.folder / "config.json"
    if not file.exists():  # an adapter that llmkit did not make
        file = place.base.folder / "config.json" if place.base is not None else file
    try:
        with _quiet_transformers():
            config = cls.config_class.from_pretrained(file, local_files_only=True)
    except Exception as error:  # as for tokenizers: any fault here is the folder's
        raise ModelError(f"{place.name}: its config.json is not valid ({_first_line(error)}).") from error
    for key in _SIZES[family_of(place)]:
        value = getattr(config, key)
        if not isinstance(value, int) or not 1 <= value <= 10_000_000:
            raise ModelError(f"{place.name}: config.json says {key}: {value!r}, which no model has.")
    return config


def _name_labels(config: PreTrainedConfig, labels: tuple[str, ...] | None) -> None:
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}


def _settle_labels(config: PreTrainedConfig, place: ModelPlace, labels: tuple[str, ...] | None) -> None:
    """Compare the wanted labels with the checkpoint's where it has a classifier, else write them into the config."""
    if sorted(config.id2label) != list(range(len(config.id2label))):
        raise ModelError(f"{place.name}: config.json numbers its labels {sorted(config.id2label)}, not from 0 upwards.")
    if labels is None:
        return
    found = tuple(config.id2label[index] for index in sorted(config.id2label))
    if _has_weights(place, prefixes=_CLASSIFIERS) and found != labels:
        raise ModelError(
            f"{place.name}: the labels differ. The model has: {', '.join(found)}. The recipe or its data has: "
            f"{', '.join(labels)}. Write the model's labels, in its order, as `labels:` in the recipe, or start "
            "from a model without a classifier."
        )
    _name_labels(config, labels)


def _has_weights(place: ModelPlace, *, prefixes: tuple[str, ...]) -> bool:
    from safetensors import SafetensorError, safe_open

    pattern = "model*.safetensors" if place.adapter is None else ADAPTER_WEIGHTS
    for file in sorted(place.folder.glob(pattern)):
        try:
            with safe_open(file, framework="pt") as tensors:
                names = [name.removeprefix(ADAPTER_PREFIX) for name in tensors.keys()]  # noqa: SIM118  # not a mapping
        except SafetensorError as error:
            raise ModelError(f"{place.name}: {file.name} is damaged ({error}).") from error
        if any(name.startswith(prefixes) for name in names):
            return True
    return False


def _load_weights(
    cls: type[PreTrainedModel], config: PreTrainedConfig, place: ModelPlace, *, new_head: bool, seed: int
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model, and its parameters that the checkpoint lacks."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]), _quiet_transformers():
            torch.manual_seed(seed)
            model, report = cls.from_pretrained(
                place.folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **_without_pooler(cls),
            )
    except Exception as error:  # damaged headers, shapes that differ, truncated files: all the folder's
        raise ModelError(f"{place.name}: its weights cannot be loaded ({_first_line(error)}).") from error
    return model, _check_weights(model, report, place, new_head=new_head)


def _without_pooler(cls: type[PreTrainedModel]) -> dict[str, bool]:
    """BERT's bare encoder: many checkpoints have no pooler, and its random weights must not be of any use."""
    from transformers import BertModel

    return {"add_pooling_layer": False} if cls is BertModel else {}


def _check_weights(
    model: PreTrainedModel, report: dict[str, Any], place: ModelPlace, *, new_head: bool
) -> tuple[str, ...]:
    import torch

    missing = sorted(report["missing_keys"])
    if missing and not (new_head and all(key.startswith(_NEW_HEADS) for key in missing)):
        kind = ", ".join(place.config.get("architectures") or ["of an unknown kind"])
        others = {cls.__name__: _VERBS[head] for (_, head), cls in _classes().items() if cls is not type(model)}
        other = f"; as it is, `llmkit {others[kind]}` fits it" if kind in others else ""
        lacking = ", ".join(missing[:5])
        raise ModelError(f"{place.name}: it was saved as {kind} and lacks {lacking}. Finetune it first{other}.")
    if "classifier.weight" in missing:
        _temper_t5_classifier(model)
    damaged = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if damaged:
        raise ModelError(f"{place.name}: weights that are not finite numbers: {', '.join(damaged[:5])}.")
    return tuple(missing)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """What matters of its loading report is checked and said by us; its progress bar and tables are not for users."""
    from transformers.utils import logging as theirs

    verbosity = theirs.get_verbosity()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(verbosity)
        theirs.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
