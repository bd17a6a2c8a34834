"""Other decoders: texts, conversations and files that are transformers' own. What holds for all families is in tests/families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from adapted import disturbed, saved
from builders import (
    TaskName,
    recipe_of,
    rows,
    sentence,
    task_of,
    tokenizer_of,
)
from decoder_folders import CHATML, CONFIGS, LOCAL, decoder_folder
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny_recipes import WRITE, write_jsonl
from tiny_recipes import rows as written_rows
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

import llmkit
from llmkit.errors import ModelError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.inference.text import generate_texts, stream_text
from llmkit.models.adapters import add_adapter
from llmkit.models.chat import encode_chats, encode_prompts
from llmkit.models.families import FAMILIES, Head
from llmkit.models.layers import recompute_activations
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.models.target_scale import has_offset
from llmkit.recipe.blocks import LoraBlock, ScratchModel
from llmkit.recipe.generation import GenerationBlock
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES
from llmkit.tasks.base import Task
from llmkit.tasks.classification.inputs import TextInputs

CPU = torch.device("cpu")
AUTO: dict[Head, Any] = {
    "causal-lm": AutoModelForCausalLM,
    "classification": AutoModelForSequenceClassification,
}
QUICK = ("llama",)
each_head = pytest.mark.parametrize("head", AUTO)
each_family = pytest.mark.parametrize(
    "family", [family if family in QUICK else pytest.param(family, marks=pytest.mark.slow) for family in CONFIGS]
)
PROMPTS = [
    "the cat",
    "a dog walks under the old tree and finds small red stone over the river",
    "bird \u00e9 walks",
    "the",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder for each family and head, made once; change none."""
    root = tmp_path_factory.mktemp("decoders")

    def folder(family: str, head: Head = "causal-lm") -> Path:
        path = root / f"{family}-{head}"
        return path if path.exists() else decoder_folder(path, family, head=cast("Any", head))

    return folder


def decoder_task(folder: Path, task_name: TaskName) -> Task:
    return task_of(task_name, loaded=load_model(str(folder), head="causal-lm"))


@each_family
def test_recomputed_activations_give_the_same_gradient(family: str, folders: Any) -> None:
    gradients = []
    for recomputes in (False, True):
        task = decoder_task(folders(family), "instruction")
        task.loaded.model.train()
        if recomputes:
            recompute_activations(task.loaded.model)
        task.loss_sum(task.collate(task.encode(rows(10)), np.arange(4), epoch=0)).backward()
        gradients.append([weight.grad for weight in task.loaded.model.parameters()])
    torch.testing.assert_close(*gradients)


@each_family
@each_head
def test_a_saved_model_has_the_same_logits_and_names_in_plain_transformers(
    family: str, head: Head, folders: Any, tmp_path: Path
) -> None:
    folder = folders(family, head)
    loaded = load_model(str(folder), head=head)
    copy = saved(loaded, tmp_path / "model")
    ids = AutoTokenizer.from_pretrained(folder)(sentence(3), return_tensors="pt")["input_ids"]
    assert AutoTokenizer.from_pretrained(copy)(sentence(3), return_tensors="pt")["input_ids"].equal(ids)
    with torch.inference_mode():
        ours = loaded.model.eval()(input_ids=ids).logits
        assert torch.equal(AUTO[head].from_pretrained(copy).eval()(input_ids=ids).logits, ours)
        assert torch.equal(AUTO[head].from_pretrained(folder).eval()(input_ids=ids).logits, ours)
    files = [load_file(path / "model.safetensors") for path in (folder, copy)]
    assert files[0].keys() == files[1].keys()


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # peft asks transformers for it
@each_family
@each_head
def test_an_adapter_gives_the_same_beside_its_base_merged_and_in_peft(
    family: str, head: Head, folders: Any, tmp_path: Path
) -> None:
    folder = folders(family, head)
    loaded = disturbed(add_adapter(load_model(str(folder), head=head), LoraBlock(), head=head, seed=5))
    assert loaded.adapter is not None
    targets = {"query_key_value"} if family == "gpt_neox" else {"q_proj", "v_proj"}
    assert {target.rpartition(".")[2] for target in loaded.adapter.targets} == targets
    ids = torch.tensor([loaded.tokenizer(sentence(3))["input_ids"]])
    beside = loaded.model.eval()(input_ids=ids).logits
    adapter = saved(loaded, tmp_path / "adapter")
    merged = load_model(str(adapter), head=head).model.eval()(input_ids=ids).logits
    torch.testing.assert_close(beside, merged, rtol=1e-4, atol=1e-4)
    plain = PeftModel.from_pretrained(AUTO[head].from_pretrained(folder), str(adapter)).eval()(input_ids=ids).logits
    torch.testing.assert_close(beside, plain, rtol=1e-4, atol=1e-4)


def texts_of(loaded: LoadedModel, prompts: list[str], **options: Any) -> list[str]:
    engine = TransformersEngine(loaded, device=CPU)
    block = GenerationBlock(max_new_tokens=12, **options)
    return [
        generation.texts[0] for generation in generate_texts(loaded, engine, prompts, options=block, overflow="error")
    ]


@each_family
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"beams": 3}, {"num_beams": 3}),
        ({"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},) * 2,
    ],
    ids=["greedy", "beams", "penalties"],
)
def test_a_batch_of_prompts_is_continued_as_transformers_continues_each(
    family: str, ours: dict[str, Any], theirs: dict[str, Any], folders: Any
) -> None:
    folder = folders(family)
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    wanted = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        output = plain.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
            pad_token_id=tokenizer.eos_token_id, **theirs,
        )  # fmt: skip
        before, whole = (tokenizer.decode(part[0], skip_special_tokens=True) for part in (ids, output))
        assert whole.startswith(before)
        wanted.append(whole[len(before) :].rstrip("\ufffd"))
    assert texts_of(load_model(str(folder), head="causal-lm"), PROMPTS, **ours) == wanted


@each_family
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.0, "seed": 5}, {"stop": ("a",)}], ids=["greedy", "sampled", "stop"]
)
def test_a_streamed_text_is_the_text_of_a_batch(family: str, options: dict[str, Any], folders: Any) -> None:
    loaded = load_model(str(folders(family)), head="causal-lm")
    [whole, *_] = texts_of(loaded, PROMPTS, **options)
    engine = TransformersEngine(loaded, device=CPU)
    block = GenerationBlock(max_new_tokens=12, **options)
    assert "".join(stream_text(loaded, engine, PROMPTS[0], options=block)) == whole


def test_invalid_bytes_of_sentencepiece_change_no_streamed_text(folders: Any) -> None:
    """Its decoder replaces a run of bytes as a whole, also those that were text before an invalid one followed."""
    loaded = load_model(str(folders("llama")), head="causal-lm")
    engine = TransformersEngine(loaded, device=CPU)
    for seed in range(4):
        block = GenerationBlock(max_new_tokens=12, temperature=5.0, seed=seed)
        [whole] = generate_texts(loaded, engine, ["the cat"], options=block, overflow="error")
        assert ["".join(stream_text(loaded, engine, "the cat", options=block))] == whole.texts


@each_family
def test_classes_of_a_batch_are_those_of_each_text_in_transformers(family: str, folders: Any) -> None:
    folder = folders(family, "classification")
    plain, tokenizer = AUTO["classification"].from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    sequences = [tokenizer(sentence(number))["input_ids"] for number in range(8)]
    loaded = load_model(str(folder), head="classification")
    logits = TransformersEngine(loaded, device=CPU).class_logits(sequences)
    with torch.inference_mode():
        wanted = [plain(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in sequences]
    assert logits == pytest.approx(np.stack(wanted), rel=1e-4, abs=1e-4)


@each_family
def test_only_the_head_of_a_new_classifier_is_new(family: str, folders: Any) -> None:
    loaded = load_model(str(folders(family)), head="classification", labels=("a", "b"), new_head=True)
    assert loaded.new_weights == ("score.weight",)


@pytest.mark.parametrize("family", ["llama", "opt", "gpt_neox"])
def test_a_text_or_a_pair_to_classify_is_encoded_as_its_tokenizer_does(family: str, folders: Any) -> None:
    loaded = load_model(str(folders(family, "classification")), head="classification")
    tokenizer = AutoTokenizer.from_pretrained(folders(family))
    inputs = TextInputs(loaded, pairs=False)
    assert inputs.whole(inputs.read(["the stone"])[0]) == tokenizer("the stone")["input_ids"]
    pairs = TextInputs(loaded, pairs=True)
    [pair] = pairs.read(["the stone"], ["old river"])
    if family == "gpt_neox":  # its tokenizer puts nothing between them
        end = tokenizer.eos_token_id
        assert pairs.whole(pair) == [*tokenizer("the stone")["input_ids"], end, *tokenizer("old river")["input_ids"]]
    else:
        assert pairs.whole(pair) == tokenizer("the stone", "old river")["input_ids"]


def test_each_document_begins_with_the_beginning_of_text_which_is_no_target(folders: Any) -> None:
    task = decoder_task(folders("llama"), "causal-lm")
    batch = task.collate(task.encode(rows(3)), np.arange(2), epoch=0)
    tokenizer = task.loaded.tokenizer
    ids = [tokenizer.eos_token_id]
    for number in range(3):
        ids += [*tokenizer(sentence(number))["input_ids"], tokenizer.eos_token_id]
    assert batch["input_ids"][0].tolist() == ids[: len(batch["input_ids"][0])]
    assert tokenizer.bos_token_id in ids[1:12]
    assert tokenizer.bos_token_id not in batch["labels"]
    assert tokenizer.eos_token_id in batch["labels"]


def test_the_beginning_of_text_of_opt_is_the_end_of_the_document_before(folders: Any) -> None:
    task = decoder_task(folders("opt"), "causal-lm")
    examples = task.encode(rows(3))
    ids = task.collate(examples, np.arange(1), epoch=0)["input_ids"][0]
    end = task.loaded.tokenizer.eos_token_id
    assert ids[0] == end
    assert not ((ids[:-1] == end) & (ids[1:] == end)).any()


@pytest.mark.parametrize("family", ["llama", "mistral", "opt", "smollm2"])
def test_a_conversation_has_one_beginning_of_text(family: str, folders: Any) -> None:
    """llmkit's template writes it, since nothing else adds it; a template of the model's own is left as it is."""
    task = decoder_task(folders(family), "instruction")
    loaded = task.loaded
    chat = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "old"}]
    [encoded] = encode_chats(loaded, [chat])
    assert encoded.ids == loaded.tokenizer.apply_chat_template(chat, return_dict=False)
    bos = loaded.tokenizer.bos_token_id
    starts = family != "smollm2"
    assert (encoded.ids[0] == bos) == starts
    assert encode_prompts(loaded, [chat[:1]])[0].count(bos) == starts


INST = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
"""As Llama 2 and Mistral have it."""
ROLES = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""As TinyLlama has it."""


@pytest.mark.parametrize(
    ("family", "template"),
    [("smollm2", CHATML), ("qwen2", CHATML), ("llama", INST), ("llama", ROLES), ("mistral", INST), ("mistral", ROLES)],
)
def test_a_conversation_is_encoded_as_apply_chat_template_does(family: str, template: str, tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path, family, chat_template=template)
    loaded, tokenizer = load_model(str(folder), head="causal-lm"), AutoTokenizer.from_pretrained(folder)
    end, name = tokenizer.eos_token_id, tokenizer.eos_token
    chat = [
        {"role": "user", "content": "the cat"},
        {"role": "assistant", "content": "old stone"},
        {"role": "user", "content": f"red {name} dog"},
        {"role": "assistant", "content": "tree"},
    ]
    plain = [{**message, "content": message["content"].replace(name, "stone")} for message in chat]
    [encoded] = encode_chats(loaded, [plain])
    assert encoded.ids == tokenizer.apply_chat_template(plain, return_dict=False)
    [prompt] = encode_prompts(loaded, [plain[:3]])
    assert prompt == tokenizer.apply_chat_template(plain[:3], return_dict=False, add_generation_prompt=True)
    assert encoded.ids[: len(prompt)] == prompt
    [with_name] = encode_chats(loaded, [chat])
    assert with_name.ids.count(end) == encoded.ids.count(end)  # what the user writes is text
    assert [with_name.ids[stop - 1] for _, stop in with_name.answers] == [end, end]


def test_any_special_end_of_the_generation_config_ends_an_answer(tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path, "qwen2", chat_template=CHATML)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ends = [tokenizer.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|endoftext|>")]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "pad_token_id": ends[1]}))
    loaded = load_model(str(folder), head="causal-lm")
    weight = loaded.model.get_input_embeddings().weight
    with torch.no_grad():  # the head is tied: the end of text is the most probable from the start
        weight[ends[1]] = 100 * weight[5]
        weight[ends[0]] = -100 * weight[5]
    ids = torch.tensor([tokenizer("the cat")["input_ids"]])
    best = int(loaded.model.eval()(input_ids=ids).logits[0, -1].argmax())
    assert best in ends
    assert texts_of(loaded, ["the cat"]) == [""]


def test_a_prompt_that_is_cut_keeps_its_beginning_of_text(folders: Any) -> None:
    loaded = load_model(str(folders("llama")), head="causal-lm")
    sequences: list[list[int]] = []

    class Engine:
        def generate(self, prompts: Any, options: GenerationBlock) -> list[list[list[int]]]:
            sequences.extend(prompts)
            return [[[5]] for _ in prompts]

    block = GenerationBlock(max_new_tokens=40)
    list(generate_texts(loaded, cast("Any", Engine()), ["the cat " * 40, ""], options=block, overflow="truncate"))
    by_length = sorted(sequences, key=len)
    assert by_length[0] == [loaded.tokenizer.bos_token_id]
    assert len(by_length[1]) == 24
    assert by_length[1][0] == loaded.tokenizer.bos_token_id
    assert by_length[1].count(by_length[1][0]) == 1


@pytest.mark.parametrize("family", ["gpt_neo", "qwen2", "mistral"])
def test_a_token_out_of_reach_of_near_attention_changes_nothing(family: str, tmp_path: Path) -> None:
    """Of one layer with near attention only."""
    near: dict[str, Any] = {
        "gpt_neo": {"num_layers": 1, "attention_types": [[["local"], 1]]},
        "qwen2": {"num_hidden_layers": 1, "max_window_layers": 0},
        "mistral": {"num_hidden_layers": 1},
    }[family]
    loaded = load_model(str(decoder_folder(tmp_path, family, **near)), head="causal-lm")
    texts = torch.randint(20, 250, (1, 12), generator=torch.Generator().manual_seed(2)).repeat(2, 1)
    texts[1, 0] += 1
    with torch.inference_mode():
        first, second = loaded.model.eval()(input_ids=texts).logits
    torch.testing.assert_close(first[LOCAL:], second[LOCAL:])
    assert not torch.allclose(first[LOCAL - 1], second[LOCAL - 1])


@pytest.mark.parametrize(
    ("family", "leftovers"),
    [
        ("gpt_neo", ("transformer.h.0.attn.attention.bias", "transformer.h.1.attn.attention.masked_bias")),
        ("gpt_neox", ("gpt_neox.layers.0.attention.bias", "gpt_neox.layers.1.attention.rotary_emb.inv_freq")),
        ("llama", ("model.layers.0.self_attn.rotary_emb.inv_freq",)),
    ],
)
def test_folders_of_older_versions_open(family: str, leftovers: tuple[str, ...], tmp_path: Path) -> None:
    """bf16 weights, buffers that were saved then, and a config without the keys of newer versions."""
    folder = decoder_folder(tmp_path, family, dtype=torch.bfloat16)
    before = load_model(str(folder), head="causal-lm")
    assert before.model.dtype == torch.float32
    file = folder / "model.safetensors"
    save_file({**load_file(file), **{name: torch.ones(4) for name in leftovers}}, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    if rotary := config.pop("rope_parameters", None):
        config["rotary_emb_base" if family == "gpt_neox" else "rope_theta"] = rotary["rope_theta"]
        if family == "gpt_neox":
            config["rotary_pct"] = rotary["partial_rotary_factor"]
    for key in ("dtype", "transformers_version", "attention_layers", "layer_types", "attention_bias", "mlp_bias"):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps({**config, "torch_dtype": "bfloat16"}))
    after = load_model(str(folder), head="causal-lm")
    ids = torch.tensor([[20, 21, 22, 23, 24, 25, 26, 27, 28]])
    assert torch.equal(before.model.eval()(input_ids=ids).logits, after.model.eval()(input_ids=ids).logits)


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("llama", {"num_hidden_layers": 3}),
        ("llama", {"num_hidden_layers": 1}),
        ("llama", {"num_key_value_heads": 1}),
        ("llama", {"vocab_size": 77}),
        ("llama", {"head_dim": 5}),
        ("llama", {"rope_parameters": {"rope_type": "x", "rope_theta": 1e4}}),
        ("llama", {"rope_theta": 0}),
        ("qwen2", {"num_attention_heads": 3}),
        ("qwen2", {"layer_types": ["sliding_attention"] * 2, "use_sliding_window": False}),
        ("qwen3", {"layer_types": ["x"] * 2}),
        ("qwen3", {"num_hidden_layers": 3}),
        ("mistral", {"sliding_window": 0}),
        ("gpt_neo", {"attention_types": [[["global"], 10**9]]}),
        ("gpt_neo", {"num_layers": 3}),
        ("gpt_neo", {"max_position_embeddings": 65}),
        ("gpt_neox", {"num_attention_heads": 3}),
        ("opt", {"max_position_embeddings": 66}),
        ("opt", {"word_embed_proj_dim": 8}),
        ("opt-350m", {"do_layer_norm_before": True}),
    ],
)
def test_a_config_that_does_not_fit_its_weights_is_refused(family: str, keys: dict[str, Any], tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path, family)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_model(str(folder), head="causal-lm")


def test_keys_of_other_classes_do_not_change_a_llama(folders: Any, tmp_path: Path) -> None:
    """transformers would shorten the cache of any model whose config has a sliding_window."""
    folder = decoder_folder(tmp_path / "changed", "llama")
    config = json.loads((folder / "config.json").read_text())
    keys = {"sliding_window": 3, "layer_types": ["sliding_attention"] * 2}
    (folder / "config.json").write_text(json.dumps({**config, **keys}))
    usual, changed = (load_model(str(path), head="causal-lm") for path in (folders("llama"), folder))
    assert texts_of(usual, PROMPTS) == texts_of(changed, PROMPTS)


def test_only_a_head_or_a_norm_directly_before_it_can_shift_numbers(folders: Any) -> None:
    shifted = {
        family: has_offset(load_model(str(folders(family, "classification")), head="classification"))
        for family in CONFIGS
    }
    assert {family for family, has in shifted.items() if has} == {"gpt_neo", "gpt_neox", "opt"}


def test_a_llama_from_random_weights_has_no_dropout_that_it_cannot_have() -> None:
    block = {"architecture": "llama", "size": "tiny"}
    assert recipe_of("causal-lm", model=block).model.dropout == 0
    assert recipe_of("causal-lm", model={**block, "attention_dropout": 0.1}).model.attention_dropout == 0.1
    with pytest.raises(ValidationError, match="attention_dropout"):
        recipe_of("causal-lm", model={**block, "dropout": 0.1})


@pytest.mark.parametrize(("size", "millions"), [("small", 134.5), ("medium", 361.8), ("large", 1100.0), ("xl", 1711.4)])
def test_a_llama_of_a_published_size_has_the_published_number_of_parameters(size: str, millions: float) -> None:
    """With the vocabulary that it was published with: 49,152 tokens of SmolLM2, 32,000 of TinyLlama, whose head is not tied."""
    block = ScratchModel(architecture="llama", size=cast("Any", size))
    config = FAMILIES["llama"].scratch_config(block, tokenizer_of("gpt2"))
    config.vocab_size, config.tie_word_embeddings = (32_000, False) if size == "large" else (49_152, True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(millions, rel=1e-3)


@pytest.mark.slow
def test_a_llama_from_random_weights_opens_in_transformers_and_its_recipe_loads_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "rows.jsonl", written_rows())
    Path("recipe.yaml").write_text(WRITE.replace("architecture: gpt2", "architecture: llama"))
    result = llmkit.finetune("recipe.yaml", run="runs/llama")
    assert result is not None
    model = load_recipe(Path("runs/llama/recipe.yaml"), kinds=RECIPES).recipe.model
    assert isinstance(model, ScratchModel)
    assert model.dropout == 0
    plain = AutoModelForCausalLM.from_pretrained("runs/llama/model")
    assert type(plain).__name__ == "LlamaForCausalLM"
    tokenizer = AutoTokenizer.from_pretrained("runs/llama/model")
    ids = tokenizer("goal", return_tensors="pt")["input_ids"]
    wanted = plain.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False)
    [written] = llmkit.load("runs/llama").generate(["goal"], max_new_tokens=5)
    assert "goal" + written.texts[0] == tokenizer.decode(wanted[0], skip_special_tokens=True)
