"""The chat templates of the best-known families as functions: they need no jinja2, and can be read.

A template is known by the hash of its normal form (template_normal_form.py): one that differs in anything but layout is
another template. Each function returns what the template returns for messages by the system, the user and the
assistant, all text; templates do more with tools and pictures, which nothing here has.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tinygrad_llm.interop.template_normal_form import digest

Messages = Sequence[Mapping[str, str]]
Tokens = Mapping[str, str]  # such as {"bos_token": "<s>"}; a token that a tokenizer lacks is empty in a text
Family = Callable[[Messages, bool, Tokens], str]

LONGEST = 10_000  # characters of a known template, or more; a normal form takes quadratic time for hostile ones
ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."


class TemplateRefusal(Exception):
    """Messages that a template refuses, with the reason that it gives."""


def known_template(source: str) -> Family | None:
    """The function of a template, or None if it is not known."""
    return _known(source) if len(source) < LONGEST else None


@functools.lru_cache(maxsize=8)
def _known(source: str) -> Family | None:
    return KNOWN.get(digest(source))


# ChatML (OpenAI 2023), of many models: each turn between two markers.


def chatml(messages: Messages, add_generation_prompt: bool, tokens: Tokens, default_system: str | None = None) -> str:
    """`default_system` is the system prompt of a conversation that begins without one."""
    if default_system is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": default_system}, *messages]
    text = "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
    return text + "<|im_start|>assistant\n" * add_generation_prompt


def qwen3(messages: Messages, add_generation_prompt: bool, tokens: Tokens) -> str:
    """ChatML whose assistant thinks: thoughts are kept in answers after the last question, and removed from others."""
    last_question = max(
        (
            place
            for place, message in enumerate(messages)
            if message["role"] == "user"
            and not (
                message["content"].startswith("<tool_response>") and message["content"].endswith("</tool_response>")
            )
        ),
        default=len(messages) - 1,
    )
    written = []
    for place, message in enumerate(messages):
        content = message["content"]
        if message["role"] == "assistant":
            thought = ""
            if "</think>" in content:
                thought = content.split("</think>")[0].rstrip("\n").split("<think>")[-1].strip("\n")
                content = content.split("</think>")[-1].lstrip("\n")
            if place > last_question and (thought or place == len(messages) - 1):
                content = f"<think>\n{thought}\n</think>\n\n" + content.lstrip("\n")
        written.append({"role": message["role"], "content": content})
    return chatml(written, add_generation_prompt, tokens)


# Llama 3 (Grattafiori et al. 2024, arXiv:2407.21783): a header with the role, and one token that ends a turn.


def llama3(messages: Messages, add_generation_prompt: bool, tokens: Tokens, always_prompts: bool = False) -> str:
    turns = [_llama3_turn(message["role"], message["content"]) for message in messages]
    prompts = always_prompts or add_generation_prompt
    return tokens.get("bos_token", "") + "".join(turns) + "<|start_header_id|>assistant<|end_header_id|>\n\n" * prompts


def llama3_dated(messages: Messages, add_generation_prompt: bool, tokens: Tokens, date: str | None = None) -> str:
    """Llama 3.1 to 3.3: the system message always has two dates, that of today where no `date` is given."""
    system, rest = _split_system(messages)
    today = date or datetime.datetime.now().strftime("%d %b %Y")
    dates = f"Cutting Knowledge Date: December 2023\nToday Date: {today}\n\n{(system or '').strip()}"
    begun = tokens.get("bos_token", "") + f"<|start_header_id|>system<|end_header_id|>\n\n{dates}<|eot_id|>"
    return begun + llama3(rest, add_generation_prompt, {})


def _llama3_turn(role: str, content: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{content.strip()}<|eot_id|>"


# Gemma (Gemma Team 2024, arXiv:2403.08295): the assistant is called model, and has no system prompt.


def gemma(messages: Messages, add_generation_prompt: bool, tokens: Tokens) -> str:
    if messages[0]["role"] == "system":
        raise TemplateRefusal("System role not supported")
    return gemma3(messages, add_generation_prompt, tokens)


def gemma3(messages: Messages, add_generation_prompt: bool, tokens: Tokens) -> str:
    """The system prompt is the beginning of the first message."""
    system, rest = _split_system(messages)
    _expect_alternating(rest, ALTERNATE)
    text, before = tokens.get("bos_token", ""), "" if system is None else f"{system}\n\n"
    for message in rest:
        role = "model" if message["role"] == "assistant" else message["role"]
        text += f"<start_of_turn>{role}\n{before}{message['content'].strip()}<end_of_turn>\n"
        before = ""
    return text + "<start_of_turn>model\n" * add_generation_prompt


# Llama 2 and Mistral (Touvron et al. 2023, arXiv:2307.09288; Jiang et al. 2023, arXiv:2310.06825): instructions in
# brackets. There is no generation prompt: an answer follows the bracket.


def llama2(messages: Messages, add_generation_prompt: bool, tokens: Tokens, later_system: bool = False) -> str:
    """`later_system`: whether a system message after the first is written, as some of Llama 2's templates do."""
    system, rest = _split_system(messages)
    _expect_alternating(rest, ALTERNATE)
    text, before = "", "" if system is None else f"<<SYS>>\n{system}\n<</SYS>>\n\n"
    for message in rest:
        content = (before + message["content"]).strip()
        if message["role"] == "user":
            text += f"{tokens.get('bos_token', '')}[INST] {content} [/INST]"
        elif message["role"] == "assistant":
            text += f" {content} {tokens.get('eos_token', '')}"
        elif later_system:
            text += f"<<SYS>>\n{content}\n<</SYS>>\n\n"
        before = ""
    return text


def mistral(messages: Messages, add_generation_prompt: bool, tokens: Tokens, after_answer: str = "") -> str:
    """Mistral 7B Instruct 0.1, with a space `after_answer`, and 0.2; Mixtral 8x7B."""
    _expect_alternating(messages, ALTERNATE)
    text = tokens.get("bos_token", "")
    for message in messages:
        if message["role"] == "user":
            text += f"[INST] {message['content']} [/INST]"
        elif message["role"] == "assistant":
            text += message["content"] + tokens.get("eos_token", "") + after_answer
        else:
            raise TemplateRefusal("Only user and assistant roles are supported!")
    return text


def mistral_v3(messages: Messages, add_generation_prompt: bool, tokens: Tokens, spaces: bool = True) -> str:
    """Mistral 7B Instruct 0.3, and Mistral Nemo without `spaces`: the last question has the system prompt before it."""
    system, rest = _split_system(messages)
    _expect_alternating(rest, f"After the optional system message, conversation roles{ALTERNATE[18:]}")
    text, eos = tokens.get("bos_token", ""), tokens.get("eos_token", "")
    for place, message in enumerate(rest):
        content = message["content"]
        if message["role"] == "user":
            before = f"{system}\n\n" if system is not None and place == len(rest) - 1 else ""
            text += f"[INST]{' ' * spaces}{before}{content}[/INST]"
        elif message["role"] == "assistant":
            text += f" {content.strip()}{eos}" if spaces else content + eos
        else:
            raise TemplateRefusal(
                "Only user and assistant roles are supported, with the exception of an initial system"
            )
    return text


def _split_system(messages: Messages) -> tuple[str | None, Messages]:
    """The system prompt at the beginning, if there is one, and the other messages."""
    return (messages[0]["content"], messages[1:]) if messages[0]["role"] == "system" else (None, messages)


def _expect_alternating(messages: Messages, reason: str) -> None:
    """Raises: TemplateRefusal unless every second message, from the first, is the user's"""
    if any((message["role"] == "user") != (place % 2 == 0) for place, message in enumerate(messages)):
        raise TemplateRefusal(reason)


# The hashes of the templates' normal forms.
KNOWN: dict[str, Family] = {
    "caa38f463f2c95a9": chatml,
    "fe2f246e904fbc84": chatml,  # with a default for add_generation_prompt
    "555a49ea955ab032": chatml,  # with a branch for each role
    "478d4a4ab184d1e5": chatml,  # Qwen3 Instruct 2507
    "7385bad76f1524c8": partial(
        chatml, default_system="You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    ),
    "dde9beea9050bb0b": partial(chatml, default_system="You are a helpful assistant."),  # Qwen1.5 and Qwen2
    "50fb4f94ebd26765": partial(
        chatml, default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    ),  # Qwen2.5
    "f4f7470e6ac3c2f5": qwen3,
    "9fc47d37170c7c30": qwen3,  # that looks whether a content is text
    "7f87f4fc62044bde": llama3,
    "c6f7dbf19bf62a58": partial(llama3, always_prompts=True),
    "9718b341ec15ffc1": partial(llama3_dated, date="26 Jul 2024"),  # Llama 3.1 and 3.3
    "8be95264538c5f04": llama3_dated,  # Llama 3.2
    "fd3f1fd9873079d7": gemma,  # Gemma 1 and 2
    "53161bd671105756": gemma3,
    "9654188399296756": llama2,
    "058e7cb594965b68": partial(llama2, later_system=True),
    "b8903a4d401d76a3": partial(mistral, after_answer=" "),  # 0.1
    "8f551347d1b03ab2": mistral,  # 0.2, Mixtral
    "52e5b3356505547c": mistral_v3,
    "25582afb7f630b70": partial(mistral_v3, spaces=False),
}
