"""The smallest real things: rows of uneven length, tiny models of the three families, and a training of a few steps."""

from __future__ import annotations

import copy
import random
import re
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import (
    BartConfig,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DistilBertConfig,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5ForTokenClassification,
)

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.evaluation.measure import Measured
from llmkit.evaluation.row_losses import RowLosses
from llmkit.models.export import unique_tensors
from llmkit.models.families import FAMILIES, Head
from llmkit.models.families.lstm_network import LstmConfig, LstmForSequenceClassification
from llmkit.models.loaded import LoadedModel
from llmkit.models.tokenizers import train_tokenizer
from llmkit.recipe.blocks import ScratchModel, TokenizerBlock, TrainBlock
from llmkit.tasks.base import Scores, Task
from llmkit.tasks.build import build_task
from llmkit.tasks.classification.recipe import ClassificationRecipe
from llmkit.tasks.instruction.recipe import InstructionRecipe
from llmkit.tasks.multiple_choice.recipe import MultipleChoiceRecipe
from llmkit.tasks.pretraining.recipe import (
    CausalLMRecipe,
    DenoisingRecipe,
    MaskedLMRecipe,
    ReplacedTokenRecipe,
    SpanCorruptionRecipe,
)
from llmkit.tasks.question_answering.recipe import QuestionAnsweringRecipe
from llmkit.tasks.seq2seq.summarization import SummarizationRecipe
from llmkit.tasks.seq2seq.text_to_text import TextToTextRecipe
from llmkit.tasks.seq2seq.translation import TranslationRecipe
from llmkit.tasks.target_counts import count_targets
from llmkit.tasks.token_classification.recipe import TokenClassificationRecipe
from llmkit.training.checkpoints import Checkpoint, CheckpointStore
from llmkit.training.loop import Validation, fit
from llmkit.training.progress import Event, StepResult
from llmkit.training.schedule import Plan

TaskName = Literal[
    "classification",
    "causal-lm",
    "denoising",
    "instruction",
    "masked-lm",
    "multiple-choice",
    "question-answering",
    "replaced-token-detection",
    "span-corruption",
    "summarization",
    "text-to-text",
    "token-classification",
    "translation",
]
TASK_NAMES: tuple[TaskName, ...] = (
    "classification",
    "causal-lm",
    "denoising",
    "instruction",
    "masked-lm",
    "multiple-choice",
    "question-answering",
    "replaced-token-detection",
    "span-corruption",
    "summarization",
    "token-classification",
    "translation",
)
"""text-to-text is left out of what is done with every task: it runs the very code of the two beside it."""
ONE_OF_EACH_FAMILY: tuple[TaskName, ...] = ("classification", "causal-lm", "summarization")
"""For what depends on the model alone."""
FAMILY_OF: Mapping[TaskName, str] = {
    "classification": "bert",
    "causal-lm": "gpt2",
    "denoising": "bart",
    "instruction": "gpt2",
    "masked-lm": "bert",
    "multiple-choice": "bert",
    "question-answering": "bert",
    "replaced-token-detection": "electra",
    "span-corruption": "t5",
    "summarization": "t5",
    "token-classification": "bert",
    "translation": "t5",
    "text-to-text": "t5",
}
LABELS = ("bad", "fair", "good")
TAGS = ("O", "B-ANIMAL", "B-PLACE", "I-ANIMAL", "I-PLACE")
TAGGER_WINDOW = 10
"""Shorter than the longest sentences, so that every test of all tasks meets windows."""
BATCH_SIZE = 32
ROW_COUNT = 45
"""Not a multiple of the batch size: the last batch of an epoch is short."""
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "tree",
    "river",
    "stone",
    "walks",
    "sees",
    "finds",
    "under",
    "over",
    "red",
    "green",
    "small",
    "old",
    "quiet",
    "morning",
    "light",
]


def sentence(number: int, *, most_words: int = 12) -> str:
    """A text of 1 to `most_words` words, fixed by its number."""
    rng = random.Random(number)
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, most_words)))


def tags_of(words: Sequence[str]) -> list[str]:
    """Animals and places; the second of two in a row goes on with the first."""
    types = {"cat": "ANIMAL", "dog": "ANIMAL", "bird": "ANIMAL", "tree": "PLACE", "river": "PLACE", "stone": "PLACE"}
    found = [types.get(word) for word in words]
    before = [None, *found]
    return [f"{'I' if one == last else 'B'}-{one}" if one else "O" for one, last in zip(found, before, strict=False)]


def rows(count: int = ROW_COUNT) -> list[Row]:
    return [
        Row(
            {
                "text": sentence(number),
                "label": LABELS[number % 3],
                "summary": sentence(1000 + number, most_words=4),
                "words": sentence(number).split(),
                "tags": tags_of(sentence(number).split()),
                **asked(number),
                **offered(number),
                "messages": conversation(number),
                "source": sentence(number),
                "target": sentence(2000 + number, most_words=8),
            },
            f"rows.jsonl:{number + 1}",
        )
        for number in range(count)
    ]


def asked(number: int) -> dict[str, Any]:
    """A passage that may be longer than a tiny model's window, a question, and one of its words; every fourth has none."""
    context = " ".join(sentence(2000 + number + part, most_words=30) for part in range(3))
    word = random.Random(number).choice(list(re.finditer(r"\w+", context)))
    answers = {"text": [word[0]], "answer_start": [word.start()]} if number % 4 else {"text": [], "answer_start": []}
    return {"context": context, "question": sentence(3000 + number, most_words=6), "answers": answers}


def offered(number: int) -> dict[str, Any]:
    """Two to four different choices, the right one anywhere among them."""
    choices = [f"{sentence(4000 + 10 * number + place, most_words=5)} {place}" for place in range(2 + number % 3)]
    return {"choices": choices, "answer": str(number % len(choices))}


def conversation(number: int, *, exchanges: int | None = None, system: bool | None = None) -> list[dict[str, str]]:
    """One or two short questions with answers; a system message in front of every fourth."""
    turns = [{"role": "system", "content": "old"}] if (number % 4 == 0 if system is None else system) else []
    for turn in range(1 + number % 2 if exchanges is None else exchanges):
        seed = 7919 * number + 2 * turn
        turns.append({"role": "user", "content": sentence(seed, most_words=2)})
        turns.append({"role": "assistant", "content": sentence(seed + 1, most_words=4)})
    return turns


@cache
def _trained_tokenizer(family: str) -> PreTrainedTokenizerFast:
    texts = ["summarize: ", *(sentence(number) for number in range(60))]
    vocab_size = {
        "bert": 120,
        "distilbert": 120,
        "gpt2": 300,
        "llama": 300,
        "lstm": 120,
        "roberta": 300,
        "modernbert": 300,
        "bart": 300,
        "t5": 420,
    }.get(family, 120)
    return train_tokenizer(FAMILIES[family], texts, block=TokenizerBlock(vocab_size=vocab_size), max_tokens=None)


def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """A tokenizer of its own for each caller, since a task may change it."""
    return copy.deepcopy(_trained_tokenizer(family))


def tiny_model(
    family: str,
    *,
    head: Head | None = None,
    dropout: float = 0.0,
    layers: int = 1,
    width: int = 16,
    seed: int = 3,
    labels: Sequence[str] = LABELS,
    model_type: str | None = None,
) -> LoadedModel:
    """Random weights, spread wide enough for gradients that differ; BERT is a classifier unless `head` says else.

    Args:
        model_type: one of the family's, where several have classes of their own.
    """
    tokenizer = tokenizer_of(family)
    labels = TAGS if head == "token-classification" else labels
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    torch.manual_seed(seed)
    model: Any
    match family:
        case "bert":
            config = BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=2,
                intermediate_size=2 * width,
                max_position_embeddings=64,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
                initializer_range=0.2,
                pad_token_id=tokenizer.pad_token_id,
                **named,
            )
            if head == "masked-lm":
                model = BertForMaskedLM(config)
            elif head == "token-classification":
                model = BertForTokenClassification(config)
                tokenizer.model_max_length = TAGGER_WINDOW
            elif head == "question-answering":
                config.num_labels = 2
                model = BertForQuestionAnswering(config)
            elif head == "embedding":
                model = BertModel(config, add_pooling_layer=False)
            else:
                model = BertForSequenceClassification(config)
        case "distilbert":
            config = DistilBertConfig(
                vocab_size=len(tokenizer),
                dim=width,
                n_layers=layers,
                n_heads=2,
                hidden_dim=2 * width,
                max_position_embeddings=64,
                dropout=dropout,
                attention_dropout=dropout,
                seq_classif_dropout=dropout,
                qa_dropout=dropout,
                initializer_range=0.2,
                pad_token_id=tokenizer.pad_token_id,
                **named,
            )
            if head == "token-classification":
                tokenizer.model_max_length = TAGGER_WINDOW
            elif head == "question-answering":
                config.num_labels = 2
            model = FAMILIES[family].model_class(head or "classification")(config)
        case "roberta" | "electra" | "albert" | "deberta" | "mpnet" | "modernbert":
            cls = FAMILIES[family].model_class(head or "classification", model_type=model_type)
            keys = {"layers": layers, "width": width, "dropout": dropout, **named}
            config = _encoder_config(family, cls.config_class, tokenizer, **keys)
            if head == "token-classification":
                tokenizer.model_max_length = TAGGER_WINDOW
            elif head == "question-answering":
                config.num_labels = 2
            model = cls(config)
        case "gpt2":
            model = (GPT2ForSequenceClassification if head == "classification" else GPT2LMHeadModel)(
                GPT2Config(
                    vocab_size=len(tokenizer),
                    n_embd=width,
                    n_layer=layers,
                    n_head=2,
                    n_positions=64,
                    resid_pdrop=dropout,
                    embd_pdrop=dropout,
                    attn_pdrop=dropout,
                    initializer_range=0.2,
                    bos_token_id=tokenizer.eos_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    **named,
                )
            )
        case "lstm":
            model = LstmForSequenceClassification(
                LstmConfig(
                    vocab_size=len(tokenizer),
                    embedding_size=width,
                    hidden_size=width // 2,
                    num_hidden_layers=layers,
                    dropout=dropout,
                    initializer_range=0.5,
                    pad_token_id=tokenizer.pad_token_id,
                    id2label=dict(enumerate(LABELS)),
                    label2id={label: index for index, label in enumerate(LABELS)},
                )
            )
        case "bart":
            model = FAMILIES[family].model_class(head or "seq2seq-lm")(
                BartConfig(
                    vocab_size=len(tokenizer),
                    d_model=width,
                    encoder_layers=layers,
                    decoder_layers=layers,
                    encoder_attention_heads=2,
                    decoder_attention_heads=2,
                    encoder_ffn_dim=2 * width,
                    decoder_ffn_dim=2 * width,
                    max_position_embeddings=64,
                    dropout=dropout,
                    activation_dropout=dropout,
                    attention_dropout=dropout,
                    init_std=0.2,
                    pad_token_id=tokenizer.pad_token_id,
                    bos_token_id=tokenizer.bos_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    decoder_start_token_id=tokenizer.eos_token_id,
                    forced_eos_token_id=tokenizer.eos_token_id,
                    **named,
                )
            )
        case "t5":
            model = (T5ForTokenClassification if head == "classification" else T5ForConditionalGeneration)(
                T5Config(
                    vocab_size=len(tokenizer),
                    d_model=width,
                    d_kv=width // 2,
                    d_ff=2 * width,
                    num_layers=layers,
                    num_heads=2,
                    dropout_rate=dropout,
                    pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=tokenizer.eos_token_id,
                    decoder_start_token_id=tokenizer.pad_token_id,
                    **named,
                )
            )
    loaded = LoadedModel(model=model, tokenizer=tokenizer, family=FAMILIES[family], name=f"tiny-{family}")
    loaded.family.prepare(
        model, tokenizer, head or ("classification" if "question-answering" in FAMILIES[family].heads else "causal-lm")
    )
    return loaded


def _encoder_config(
    family: str,
    config_class: type[PreTrainedConfig],
    tokenizer: PreTrainedTokenizerFast,
    *,
    layers: int,
    width: int,
    dropout: float,
    **keys: Any,
) -> PreTrainedConfig:
    offset = tokenizer.pad_token_id + 1 if family in ("roberta", "mpnet") else 0
    own: dict[str, Any] = {
        "albert": {"embedding_size": width // 2, "classifier_dropout_prob": dropout},
        "deberta": {
            "relative_attention": True, "pos_att_type": "p2c|c2p", "position_buckets": 8, "norm_rel_ebd": "layer_norm",
            "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0, "pooler_dropout": dropout,
        },
        "electra": {"embedding_size": width // 2},
        "modernbert": {
            "embedding_dropout": dropout, "mlp_dropout": dropout, "attention_dropout": dropout, "local_attention": 8,
            "cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id,
            "initializer_cutoff_factor": 2.0,
        },
        "roberta": {"type_vocab_size": 1},
    }.get(family, {})  # fmt: skip
    return config_class(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64 + offset,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        **own,
        **keys,
    )


def recipe_of(name: TaskName, **keys: Any) -> Any:
    """A recipe of the task; its data and model are never opened, since the tests bring their own."""
    scratch = ScratchModel(architecture=FAMILY_OF[name], size="tiny")
    model = keys.pop("model", scratch)
    common: dict[str, Any] = {"recipe": 1, "task": name, "model": model, "data": {"train": "rows.jsonl"}}
    match name:
        case "classification":
            return ClassificationRecipe(**common, **keys)
        case "causal-lm":
            return CausalLMRecipe(**common, **{"block_tokens": 12, **keys})
        case "instruction":
            return InstructionRecipe(**common, **keys)
        case "denoising":
            return DenoisingRecipe(**common, **{"block_tokens": 24, **keys})
        case "masked-lm":
            return MaskedLMRecipe(**common, **{"block_tokens": 12, **keys})
        case "multiple-choice":
            return MultipleChoiceRecipe(**common, **keys)
        case "question-answering":
            return QuestionAnsweringRecipe(**common, **keys)
        case "replaced-token-detection":
            return ReplacedTokenRecipe(**common, **{"block_tokens": 12, "generator_size": 0.5, **keys})
        case "span-corruption":
            return SpanCorruptionRecipe(**common, **{"block_tokens": 24, "mask_rate": 0.2, **keys})
        case "summarization":
            return SummarizationRecipe(**common, **keys)
        case "token-classification":
            return TokenClassificationRecipe(**common, **keys)
        case "translation":
            return TranslationRecipe(**common, **{"source_language": "en", "target_language": "de", **keys})
        case "text-to-text":
            return TextToTextRecipe(**common, **keys)


def model_for(name: TaskName, *, family: str | None = None, dropout: float = 0.0, layers: int = 1) -> LoadedModel:
    """A tiny model with the head and the outputs of a task."""
    labels = ("LABEL_0",) if name == "multiple-choice" else LABELS
    head = recipe_of(name).HEAD
    return tiny_model(family or FAMILY_OF[name], head=head, dropout=dropout, layers=layers, labels=labels)


def task_of(name: TaskName, *, loaded: LoadedModel | None = None, dropout: float = 0.0, **keys: Any) -> Task:
    recipe = recipe_of(name, **keys)
    task: Task = build_task(recipe, loaded or model_for(name, dropout=dropout))
    return task


def without_key_biases(task: Task) -> Task:
    """Freeze the biases of attention keys, for comparing weights: they shift all scores of a query alike, so their
    true gradient is 0, and Adam blows its rounding up to whole steps. The same for what shifts all starts, ends or choices."""
    shifts: dict[str, tuple[str, ...]] = {
        "question-answering": (
            "qa_outputs.bias",
            "layer.0.output.LayerNorm.bias",
            "layer.0.output_layer_norm.bias",
            "full_layer_layer_norm.bias",
            "classifier.bias",
        ),
        "multiple-choice": ("classifier.bias",),
    }
    for name, weight in task.loaded.model.named_parameters():
        if name.endswith(
            ("key.bias", "k_lin.bias", "k_proj.bias", "attn.k.bias", "c_attn.bias", *shifts.get(task.recipe.task, ()))
        ):
            weight.requires_grad_(False)
    return task


def measured_loss(task: Task, examples: Examples) -> Callable[[], Measured]:
    """Nats per target of the model as it stands; consumes no random numbers of its own."""

    def measure() -> Measured:
        batch = task.collate(examples, np.arange(min(8, len(examples))))
        with torch.inference_mode():
            loss = float(task.loss_sum(batch)) / count_targets(batch)
        return Measured(Scores({"loss": loss}), [], RowLosses(np.zeros(0), np.zeros(0, dtype=np.int64)))

    return measure


@dataclass
class Trained:
    """What a training left behind."""

    task: Task
    events: list[Event] = field(default_factory=list)

    @property
    def steps(self) -> list[StepResult]:
        return [event for event in self.events if isinstance(event, StepResult)]

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in unique_tensors(self.task.loaded.model).items()}


def plan_of(steps: int, examples: Examples, *, batch_size: int, evaluate_every: int, save_every: int | None) -> Plan:
    return Plan(
        total_steps=steps,
        steps_per_epoch=-(-len(examples) // batch_size),
        warmup_steps=1,
        peak_learning_rate=1e-2,
        evaluate_every_steps=evaluate_every,
        save_every_steps=save_every,
    )


def train(
    task: Task,
    *,
    steps: int,
    batch_size: int = BATCH_SIZE,
    micro_batch_tokens: int = 1_000_000,
    max_grad_norm: float | None = 1.0,
    seed: int = 17,
    count: int = ROW_COUNT,
    evaluate_every: int = 1000,
    save_every: int | None = None,
    store: CheckpointStore | None = None,
    resume: Checkpoint | None = None,
    patience: int | None = None,
    stop_signal: Callable[[], int | None] = lambda: None,
    total_steps: int | None = None,
    keys: Mapping[str, Any] = MappingProxyType({}),
) -> Trained:
    """Run `fit` for `steps` steps; with `total_steps`, that many are planned and it is left after `steps`.

    `keys` are others of the block `train`.
    """
    trained = Trained(task)
    for event in events_of(
        task,
        steps=total_steps or steps,
        batch_size=batch_size,
        micro_batch_tokens=micro_batch_tokens,
        max_grad_norm=max_grad_norm,
        seed=seed,
        count=count,
        evaluate_every=evaluate_every,
        save_every=save_every,
        store=store,
        resume=resume,
        patience=patience,
        stop_signal=stop_signal,
        keys=keys,
    ):
        trained.events.append(event)
        if isinstance(event, StepResult) and event.step == steps and total_steps:
            break
    return trained


def events_of(
    task: Task,
    *,
    steps: int,
    batch_size: int = BATCH_SIZE,
    micro_batch_tokens: int = 1_000_000,
    max_grad_norm: float | None = 1.0,
    seed: int = 17,
    count: int = ROW_COUNT,
    evaluate_every: int = 1000,
    save_every: int | None = None,
    store: CheckpointStore | None = None,
    resume: Checkpoint | None = None,
    patience: int | None = None,
    stop_signal: Callable[[], int | None] = lambda: None,
    keys: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Event]:
    examples = task.encode(rows(count))
    yield from fit(
        task,
        examples=examples,
        plan=plan_of(steps, examples, batch_size=batch_size, evaluate_every=evaluate_every, save_every=save_every),
        train=TrainBlock(
            batch_size=batch_size,
            micro_batch_tokens=micro_batch_tokens,
            max_grad_norm=max_grad_norm,
            seed=seed,
            keep_checkpoints=2,
            **keys,
        ),
        accelerator=Accelerator(cpu=True),
        validation=Validation(measured_loss(task, examples), best="loss", patience=patience),
        store=store,
        resume=resume,
        stop_signal=stop_signal,
    )


def store_in(folder: Path, *, keep: int = 100, run_id: str = "a-run") -> CheckpointStore:
    folder.mkdir(exist_ok=True)
    return CheckpointStore(folder, run_id=run_id, keep=keep)


@contextmanager
def full_disk(*, file_bytes: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, for this process; the kernel refuses the write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def same_bits(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Equal names and bytes; NaN equals the same NaN."""
    return first.keys() == second.keys() and all(
        first[name].numpy().tobytes() == second[name].numpy().tobytes() for name in first
    )


def largest_difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)
