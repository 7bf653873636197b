"""Conventions of a model that its weights and its tokenizer do not state: which ids end a text, and its chat template.

They come with the model, in any of several files:

    chat template   chat_template.jinja, tokenizer_config.json (chat_template), chat_template.json
    end of a text   config.json and generation_config.json (eos_token_id, one id or a list), tokenizer_config.json and
                    special_tokens_map.json (eos_token)

A run folder keeps them in conventions.json.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import read_json_object, read_optional_json_object, read_utf8, write_json
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.chat_template import ChatTemplate
from tinygrad_llm.interop.huggingface_weights import CONFIG
from tinygrad_llm.interop.named_token import token_text
from tinygrad_llm.text import Tokenizer

CONVENTIONS = "conventions.json"
GENERATION, TOKENIZER, TOKENS = "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"
TEMPLATE, OLD_TEMPLATE = "chat_template.jinja", "chat_template.json"
VERSION = 1


@dataclass(frozen=True)
class Conventions:
    """`end_ids`, each of which ends a text, the usual one first; and the chat template, if the model has one."""

    end_ids: tuple[int, ...] = ()
    template: ChatTemplate | None = None

    @classmethod
    def of_tokenizer(cls, tokenizer: Tokenizer) -> Conventions:
        """Those of a model of this package: its texts end with `<|endoftext|>`, if the tokenizer has it."""
        return cls(() if tokenizer.end_of_text is None else (tokenizer.end_of_text,))

    def to_dict(self) -> dict[str, Any]:
        template = self.template
        written = None if template is None else {"source": template.source, "tokens": dict(template.tokens)}
        return {"end_ids": list(self.end_ids), "chat_template": written}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], where: str) -> Conventions:
        """The conventions that `to_dict` gave; `where` names their file. Raises: FormatError"""
        written = content.get("chat_template")
        if written is None:
            return cls(_ids(content.get("end_ids"), f"{where}: end_ids"))
        if not isinstance(written, dict) or not isinstance(written.get("source"), str):
            raise FormatError(f"{where}: chat_template must have a source, a text; got {shown(written)}")
        tokens = written.get("tokens")
        if not isinstance(tokens, dict) or not all(isinstance(text, str) for text in tokens.values()):
            raise FormatError(f"{where}: the chat_template's tokens must be texts by their names; got {shown(tokens)}")
        return cls(_ids(content.get("end_ids"), f"{where}: end_ids"), ChatTemplate(written["source"], tokens))


# The file of a run folder.


def write_conventions(folder: str | os.PathLike[str], conventions: Conventions) -> None:
    """Write conventions.json. Raises: CheckpointError"""
    write_json(Path(folder) / CONVENTIONS, {"version": VERSION, **conventions.to_dict()})


def read_conventions(folder: str | os.PathLike[str]) -> Conventions | None:
    """The conventions in a run folder; None if it holds none, as a model trained from scratch. Raises: FormatError"""
    path = Path(folder) / CONVENTIONS
    return Conventions.from_dict(read_json_object(path), os.fspath(path)) if os.path.lexists(path) else None


# The files of a Hugging Face folder.


def huggingface_conventions(folder: str | os.PathLike[str], tokenizer: Tokenizer) -> Conventions:
    """The conventions in a Hugging Face folder. Raises: FormatError, naming file and setting"""
    folder = Path(folder)
    eos, special = _named_tokens(folder).get("eos_token"), tokenizer.special_tokens
    ends = [special[eos]] if eos in special else []
    for path in (folder / GENERATION, folder / CONFIG):
        ends += _ids(read_optional_json_object(path).get("eos_token_id"), f"{path}: eos_token_id")
    ends += Conventions.of_tokenizer(tokenizer).end_ids
    return Conventions(tuple(dict.fromkeys(ends)), huggingface_template(folder))


def huggingface_template(folder: str | os.PathLike[str]) -> ChatTemplate | None:
    """The chat template in a Hugging Face folder, if it has one. Raises: FormatError, naming file and setting"""
    source = _template_source(Path(folder))
    return None if source is None else ChatTemplate(source, _named_tokens(Path(folder)))


def write_huggingface_conventions(folder: str | os.PathLike[str], conventions: Conventions) -> None:
    """Write chat_template.jinja, generation_config.json and the tokens of tokenizer_config.json as transformers reads
    them. Raises: CheckpointError, FormatError
    """
    folder, template = Path(folder), conventions.template
    if conventions.end_ids:
        ends = list(conventions.end_ids)
        write_json(folder / GENERATION, {"eos_token_id": ends[0] if len(ends) == 1 else ends})
    if template is not None:
        if os.path.lexists(folder / TOKENIZER):
            write_json(folder / TOKENIZER, {**read_optional_json_object(folder / TOKENIZER), **template.tokens})
        (folder / TEMPLATE).write_text(template.source, encoding="utf-8", newline="")


def _ids(value: Any, where: str) -> tuple[int, ...]:
    """One id, a list of ids, or null. Raises: FormatError"""
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(one) is int and one >= 0 for one in ids):
        raise FormatError(f"{where} must be an id or a list of ids; got {shown(value)}")
    return tuple(ids)


def _named_tokens(folder: Path) -> dict[str, str]:
    """The texts of the tokens that a template may name: bos_token, eos_token, and others of this form."""
    tokens = {}
    for path in (folder / TOKENS, folder / TOKENIZER):  # the older file first
        for name, value in read_optional_json_object(path).items():
            text = token_text(value, f"{path}: {name}") if name.endswith("_token") else None
            if text is not None:
                tokens[name] = text
    return tokens


def _template_source(folder: Path) -> str | None:
    """The source of the chat template, from the file that transformers would take it from."""
    if os.path.lexists(folder / TEMPLATE):
        return read_utf8(folder / TEMPLATE)
    where, found = folder / TOKENIZER, read_optional_json_object(folder / TOKENIZER).get("chat_template")
    if found is None:
        where, found = folder / OLD_TEMPLATE, read_optional_json_object(folder / OLD_TEMPLATE).get("chat_template")
    if isinstance(found, list):  # several templates, each with a name
        named = {one["name"]: one.get("template") for one in found if isinstance(one, dict) and "name" in one}
        if "default" not in named:
            raise FormatError(
                f"{where}: of several templates in chat_template one must be named default; got "
                f"{', '.join(map(shown, named)) or 'none with a name'}"
            )
        found = named["default"]
    if found is not None and not isinstance(found, str):
        raise FormatError(f"{where}: chat_template must be a text, or a list of named ones; got {shown(found)}")
    return found
