"""`--style`: how a command writes a question to a model: in a prompt style, or in the model's own chat form."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tinygrad_llm.data import PROMPT_STYLES, PromptForm, fitting_records, prompt_style
from tinygrad_llm.data.instructions import Record
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.interop.chat_form import ChatForm
from tinygrad_llm.interop.chat_template import ChatTemplate
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.runs.open_model import chat_template_of, recorded_config
from tinygrad_llm.runs.progress import StatusLine
from tinygrad_llm.text import END_OF_TEXT, Tokenizer

CHAT = "chat"
STYLES = (*PROMPT_STYLES, CHAT)
WITH_A_STYLE = ("instruct", "prefer", "reward", "reinforce")  # commands whose runs were trained with one
LONG_ANSWER = 512  # tokens of an answer by a model that was trained to chat
SYSTEM_HELP = "system prompt, for a model with a chat template (default: that of the template, if it has one)"


def style_of(folder: Path, template: ChatTemplate | None) -> str | None:
    """The style that a model was trained with: the one that its run records, or `chat` for a model that came with a
    chat template; None for any other.
    """
    config = recorded_config(folder)
    options = config.get("options")
    style = options.get("style") if config.get("task") in WITH_A_STYLE and isinstance(options, dict) else None
    if isinstance(style, str) and style in STYLES:
        return style
    return None if template is None else CHAT


def style_that_suits(base: Path) -> dict[str, str]:
    """The style of a base that was trained with one, as an option."""
    style = style_of(base, chat_template_of(base))
    return {} if style is None else {"style": style}


def form_of(style: str, tokenizer: Tokenizer, conventions: Conventions, system: str | None = None) -> PromptForm:
    """The form of this style. Raises: ConfigError for a style, or a system prompt, that the model lacks"""
    if style == CHAT:
        return ChatForm.of(conventions, tokenizer, system)
    if system is not None:
        raise ConfigError(
            f"--system needs the form of a chat template, --style {CHAT}; this model is asked in the style {style}"
        )
    return prompt_style(style)


def end_id(tokenizer: Tokenizer, conventions: Conventions, form: PromptForm | None = None) -> int:
    """The id that ends an answer. Raises: ConfigError for a model that has none"""
    end = form.end_id if isinstance(form, ChatForm) else tokenizer.end_of_text
    if end is None and conventions.end_ids:
        end = conventions.end_ids[0]
    if end is None:
        raise ConfigError(
            f"--model must have a tokenizer with {END_OF_TEXT}, which ends an answer; this one has none: train the "
            "base with `--tokenizer bpe`"
        )
    return end


def add_answer_length(parser: argparse.ArgumentParser, usual: int) -> None:
    """`--max-new-tokens`, whose default is longer for a model with a chat template."""
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        metavar="N",
        help=f"maximum tokens of an answer (default: {usual}; with a chat template {LONG_ANSWER}, at most a quarter of "
        "the context)",
    )


def answer_length(given: int | None, form: PromptForm | None, context_length: int, usual: int) -> int:
    """The value of `--max-new-tokens`, or its default. Units: tokens"""
    if given is not None:
        return given
    return max(1, min(LONG_ANSWER, context_length // 4)) if isinstance(form, ChatForm) else usual


def ends_of(conventions: Conventions, form: PromptForm | None = None) -> tuple[int, ...]:
    """All ids that end an answer, the usual one first."""
    return form.ends if isinstance(form, ChatForm) else conventions.end_ids


def fitting_of(
    name: str,
    records: Sequence[Record],
    tokenizer: Tokenizer,
    form: PromptForm,
    context: int,
    status: StatusLine,
    noun: str = "record",
) -> Sequence[Record]:
    """The records whose prompt fits the context; `noun` is what messages call one. Raises: DataError if none is left"""
    fitting = fitting_records(records, tokenizer, form, context)
    skipped = len(records) - len(fitting)
    status.say(
        f"{len(fitting):,} {noun}s for {name}"
        + (f"; {skipped:,} skipped, whose prompt does not fit the context of {context} tokens" if skipped else "")
    )
    if not fitting:
        raise DataError(
            f"at least one {noun} must be left for {name}; got {len(records)}, of which {skipped} do not fit the "
            f"context of {context} tokens: give more {noun}s, --style phi3, or a model with a longer context"
        )
    return fitting
