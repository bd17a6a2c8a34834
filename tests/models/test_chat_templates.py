"""Chat templates are programs of strangers: rendered as transformers renders them, but with limits, and never trusted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import tiny_model
from facts import facts
from repetitions import quick_if

from llmkit.errors import ModelError
from llmkit.models.chat import TEMPLATE, encode_chats, encode_prompts
from llmkit.models.loaded import LoadedModel

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'a "red" <stone>\n'},
    {"role": "assistant", "content": "  é\ud83d\ude00 yes"},
]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role }}\n{{ message['content'] | trim }}<|im_end|>\n"
    "{% endfor %}\n{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
    "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
OTHER_PARTS = (
    "   {%- set ns = namespace(count=0) %}\n"
    "   {%- for message in messages %}\n"
    "      {%- if loop.index > 9 %}{% break %}{% endif %}\n"
    "      {%- set ns.count = ns.count + 1 %}\n"
    "   {{ ns.count }} {{ message | tojson }} {{ dict(a=1) | tojson(indent=2) }}\n"
    "      {% generation %}{{ message.content }}{% endgeneration %}\n"
    "   {% endfor %}\n"
    "   {% if tools is none and documents is none %}{{ eos_token }}{{ strftime_now('%%') }}{% endif %}\n"
)


def with_template(template: str) -> LoadedModel:
    loaded = tiny_model("gpt2")
    loaded.tokenizer.chat_template = template
    return replace(loaded, name="theirs")


@pytest.mark.parametrize("template", [TEMPLATE, CHATML, LLAMA, OTHER_PARTS])
def test_a_prompt_has_the_ids_of_the_text_that_transformers_renders(template: str) -> None:
    loaded = with_template(template)
    text = loaded.tokenizer.apply_chat_template(CHAT[:2], tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    plain: Any = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert encode_prompts(loaded, [CHAT[:2]]) == [plain]


def test_many_conversations_are_answered_in_their_order() -> None:
    loaded = with_template(CHATML)
    chats = [[{"role": "user", "content": f"number {number}"}] for number in range(200)]
    assert encode_prompts(loaded, chats) == [encode_prompts(loaded, [chat])[0] for chat in chats]


FAULTS = [
    "{% if %}",
    "{{ 1/0 }}",
    "{{ nothing.of.it }}",
    "{{ raise_exception('roles must alternate') }}",
    "{{ raise_exception('two\nlines \x1b[2J') }}",
    "{% include '/etc/hostname' %}",
    "{% import 'os' as os %}",
    "{% extends 'base' %}",
    "{{ ''.__class__.__mro__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{% set ns = namespace(__class__=1) %}",
    "{{ messages.append(1) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ messages | attr('__class__') }}",
    "{{ '\ud800' }}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "",
    "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "{{ " + "(" * 4000 + "1" + ")" * 4000 + " }}",
]
TOO_LARGE = [
    "{{ (['a' * 10**8] * 60) | join }}",
    "{{ 'a' | center(10**10) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000d}'.format(1) }}",
    "{% set ns = namespace(s='ab') %}{% for _ in range(50) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "{{ [0] * 10**10 }}",
    "{{ messages | tojson(indent=10**9) }}",
    "{{ strftime_now('%Y' * 10**7) }}",
    "{% for _ in range(99999) %}a long text {% endfor %}",
]
TOO_LONG = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    pytest.param("{{ 9 ** (10 ** 9) }}", marks=pytest.mark.slow),  # computed where the template is compiled
]
QUICK = {*FAULTS[:10], *TOO_LARGE[:2], TOO_LONG[0]}


@pytest.mark.parametrize("template", quick_if(QUICK.__contains__, [*FAULTS, *TOO_LARGE, *TOO_LONG]))
def test_a_template_that_fails_or_never_ends_is_refused_as_the_models(template: str) -> None:
    loaded = with_template(template)
    with pytest.raises(ModelError, match=facts("theirs:", "chat template")) as caught:
        encode_prompts(loaded, [CHAT[:2]])
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 4


def test_a_template_that_failed_once_answers_the_next_conversation() -> None:
    loaded = with_template(
        "{% if messages | length > 1 %}{{ messages[0].content * 10**10 }}{% endif %}{{ messages[0].content }}{{ eos_token }}"
    )
    short = [{"role": "user", "content": "hi"}]
    before = encode_prompts(loaded, [short])
    with pytest.raises(ModelError):
        encode_prompts(loaded, [CHAT])
    assert encode_prompts(loaded, [short]) == before


def test_answers_of_a_strangers_template_are_found_in_the_conversation() -> None:
    loaded = with_template(LLAMA)
    chat = [*CHAT, {"role": "user", "content": "and?"}, {"role": "assistant", "content": "no"}]
    (encoded,) = encode_chats(loaded, [chat])
    texts = [loaded.tokenizer.decode(encoded.ids[start:end]) for start, end in encoded.answers]
    assert [text.removesuffix(loaded.tokenizer.eos_token).strip() for text in texts][1:] == ["no"]
    assert len(texts) == 2
