"""The LSTM classifier: padding is never read, and what holds for trainings, folders and FLOPs of the others holds here."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import LABELS, largest_difference, recipe_of, rows, same_bits, store_in, task_of, tiny_model, train
from facts import facts
from pydantic import ValidationError
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.flop_counter import FlopCounterMode

from llmkit.errors import ModelError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.export import model_files, unique_tensors
from llmkit.models.families import FAMILIES
from llmkit.models.families.lstm_network import BidirectionalLSTM, LstmConfig, LstmForSequenceClassification
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import create_model, load_model
from llmkit.recipe.blocks import ScratchModel, TokenizerBlock
from llmkit.tasks.base import Task
from llmkit.training.flops import matrix_sizes, train_flops_per_token


def tiny(*, dropout: float = 0.0) -> LoadedModel:
    return tiny_model("lstm", dropout=dropout, layers=2)


def lstm_task(*, dropout: float = 0.0, loaded: LoadedModel | None = None) -> Task:
    return task_of("classification", loaded=loaded or tiny(dropout=dropout))


def saved(folder: Path, loaded: LoadedModel) -> Path:
    folder.mkdir(parents=True)
    for name, content in model_files(loaded).items():
        (folder / name).write_bytes(content)
    return folder


# ---- padding


def test_padding_is_never_read_in_any_layer_or_direction() -> None:
    model = tiny().model.eval()
    ids = torch.arange(5, 17).reshape(2, 6)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    padded = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(padded[0], model(ids[:1]).logits[0])
    torch.testing.assert_close(padded[1], model(ids[1:, :4]).logits[0])
    other = torch.where(mask.bool(), ids, 99)
    assert torch.equal(model(other, attention_mask=mask).logits, padded)


def test_both_directions_are_those_of_torchs_packed_bidirectional_lstm() -> None:
    torch.manual_seed(1)
    packed = torch.nn.LSTM(6, 4, batch_first=True, bidirectional=True)
    ours = BidirectionalLSTM(6, units=4)
    weights = packed.state_dict()
    ours.forwards.load_state_dict({name: weights[name] for name in ours.forwards.state_dict()})
    ours.backwards.load_state_dict({name: weights[f"{name}_reverse"] for name in ours.backwards.state_dict()})
    hidden, lengths = torch.randn(3, 5, 6), torch.tensor([5, 2, 4])
    wanted, _ = packed(pack_padded_sequence(hidden, lengths, batch_first=True, enforce_sorted=False))
    back = torch.tensor([[4, 3, 2, 1, 0], [1, 0, 2, 3, 4], [3, 2, 1, 0, 4]])
    found = ours(hidden, back)  # (B, T, 2H)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, :length], pad_packed_sequence(wanted, batch_first=True)[0][row, :length])


def test_every_token_up_to_the_last_has_a_say() -> None:
    model = tiny().model.eval()
    ids = torch.arange(5, 17)[None]
    before = model(ids).logits
    for place in (0, 6, 11):
        changed = ids.clone()
        changed[0, place] = 50
        assert not torch.allclose(model(changed).logits, before)


def test_a_row_of_nothing_but_padding_gives_finite_numbers() -> None:
    model = tiny().model.eval()
    logits = model(torch.zeros(2, 3, dtype=torch.long), attention_mask=torch.tensor([[0] * 3, [1] * 3])).logits
    assert torch.isfinite(logits).all()


def test_the_engine_gives_each_text_what_it_has_alone() -> None:
    loaded = tiny()
    engine = TransformersEngine(loaded, device=torch.device("cpu"), max_batch_tokens=60)
    ids = [loaded.tokenizer(row.fields["text"])["input_ids"] for row in rows(20)]
    alone = np.concatenate([engine.class_logits([one]) for one in ids])
    np.testing.assert_allclose(engine.class_logits(ids), alone, atol=1e-6)


# ---- training


def test_four_steps_of_1x32_and_of_many_parts_give_the_same_weights() -> None:
    whole, cut = train(lstm_task(), steps=4), train(lstm_task(), steps=4, micro_batch_tokens=40)
    assert largest_difference(cut.weights, whole.weights) < 2e-5
    assert largest_difference(whole.weights, unique_tensors(tiny().model)) > 1e-3


@pytest.mark.parametrize("at", [2, 5])
def test_resumed_is_uninterrupted_bit_for_bit_dropout_included(at: int, tmp_path: Path) -> None:
    whole = train(lstm_task(dropout=0.3), steps=8, batch_size=12, micro_batch_tokens=50)
    store = store_in(tmp_path / "checkpoints")
    left = {"steps": at + 1, "total_steps": 8, "save_every": at}
    train(lstm_task(dropout=0.3), **left, batch_size=12, micro_batch_tokens=50, store=store)  # type: ignore[arg-type]
    checkpoint = store.newest()
    assert checkpoint is not None
    assert checkpoint.step == at
    loaded = load_model(str(checkpoint.folder), head="classification")
    resumed = train(
        lstm_task(loaded=loaded), steps=8, batch_size=12, micro_batch_tokens=50, store=store, resume=checkpoint
    )
    assert [step.loss for step in resumed.steps] == [step.loss for step in whole.steps[at:]]
    assert same_bits(resumed.weights, whole.weights)


def test_dropout_changes_a_training_and_not_an_answer() -> None:
    assert largest_difference(train(lstm_task(dropout=0.5), steps=2).weights, train(lstm_task(), steps=2).weights) > 0
    model = tiny(dropout=0.5).model.eval()
    ids = torch.arange(5, 17)[None]
    assert torch.equal(model(ids).logits, model(ids).logits)


# ---- folders


def test_a_saved_lstm_is_opened_with_the_same_answers_and_nothing_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = tiny()
    folder = saved(tmp_path / "model", loaded)
    logger = logging.getLogger("transformers")
    before, logger.propagate = logger.propagate, True
    try:
        again = load_model(str(folder), head="classification")
    finally:
        logger.propagate = before
    assert caplog.messages == []
    assert json.loads((folder / "config.json").read_text())["model_type"] == "lstm"
    assert (again.family.name, again.labels) == ("lstm", LABELS)
    ids = loaded.tokenizer("the cat sees a stone")["input_ids"]
    assert again.tokenizer("the cat sees a stone")["input_ids"] == ids
    tokens = torch.tensor([ids])
    assert torch.equal(again.model.eval()(tokens).logits, loaded.model.eval()(tokens).logits)


def test_a_new_lstm_is_fixed_by_its_seed_and_begins_with_open_forget_gates() -> None:
    block = ScratchModel(architecture="lstm", size="tiny", tokenizer=TokenizerBlock(vocab_size=100))

    def made(seed: int) -> LoadedModel:
        texts = lambda: iter(["the cat sees a stone"])  # noqa: E731
        return create_model(block, head="classification", labels=LABELS, texts=texts, max_tokens=24, seed=seed)

    first, again, other = made(1), made(1), made(2)
    assert same_bits(unique_tensors(first.model), unique_tensors(again.model))
    assert not same_bits(unique_tensors(first.model), unique_tensors(other.model))
    units = first.model.config.hidden_size
    gates = first.model.lstm[0].forwards.bias_hh_l0.detach().reshape(4, units).mean(dim=1)
    assert gates[1] > 0.9
    assert gates[[0, 2, 3]].abs().max() < 0.1
    assert float(first.model.embeddings.weight.detach()[0].abs().sum()) == 0  # of padding
    assert first.window == 24


@pytest.mark.parametrize("head", ["masked-lm", "causal-lm"])
def test_a_head_that_an_lstm_has_not_is_refused_with_the_verb_that_fits(head: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny())
    with pytest.raises(ModelError, match=facts("lstm", head, "`llmkit classify`")):
        load_model(str(folder), head=head)  # type: ignore[arg-type]  # from the table above


def test_a_config_with_a_size_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "embedding_size": 0}))
    with pytest.raises(ModelError, match=facts("embedding_size", 0)):
        load_model(str(folder), head="classification")


def test_what_an_lstm_has_not_is_refused_in_a_recipe() -> None:
    with pytest.raises(ValidationError, match=facts("model.attention_dropout", "LSTM")):
        recipe_of("classification", model={"architecture": "lstm", "size": "tiny", "attention_dropout": 0.1})
    with pytest.raises(UsageError, match=facts("lstm", "'base'", "tiny, small")):
        FAMILIES["lstm"].scratch_config(ScratchModel(architecture="lstm", size="base"), tiny().tokenizer)


# ---- FLOPs


def test_flops_are_the_products_of_each_token_in_both_directions() -> None:
    """torch counts no fused LSTM, so its products are written out here."""
    config = LstmConfig(vocab_size=50, embedding_size=7, hidden_size=5, num_hidden_layers=2, num_labels=3)
    model = LstmForSequenceClassification(config)
    sizes = matrix_sizes({name: tuple(weight.shape) for name, weight in model.named_parameters()}, config=config)
    assert sizes.source == 2 * 4 * 5 * ((7 + 5) + (10 + 5))
    with FlopCounterMode(display=False) as counter:
        model.classifier(torch.ones(1, 10))
    each = train_flops_per_token(config, sizes, source_tokens=11, targets=1)
    assert each * 11 == pytest.approx(6 * sizes.source * 11 + 3 * counter.get_total_flops())
