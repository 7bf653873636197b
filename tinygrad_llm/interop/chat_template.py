"""A model's chat template: the messages of a conversation as the one text that the model was trained on.

The template is a small program in jinja2's language that comes with the model, in tokenizer_config.json,
chat_template.jinja or a GGUF file:

    [{"role": "user", "content": "Hi"}]   ->   <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n

The templates of the best-known families are recognised and rendered here (known_templates.py); any other is rendered by
jinja2, the extra `hub`, in a process with limits of time and memory (template_renderer.py).
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError, FormatError, MissingPackageError
from tinygrad_llm.interop.known_templates import TemplateRefusal, known_template

Message = Mapping[str, str]  # with "role" and "content"

ROLES = ("system", "user", "assistant")
MOST_CHARACTERS = 1 << 20  # of a template; real ones have up to 20,000
SECONDS = 10.0  # for rendering one text, and for starting the process
RENDERER = Path(__file__).with_name("template_renderer.py")


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template: its `source`, and the texts of the special `tokens` that it names, such as bos_token.

    Raises: FormatError for a source of more than MOST_CHARACTERS characters
    """

    source: str
    tokens: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.source) > MOST_CHARACTERS:
            raise FormatError(
                f"a chat template may have {MOST_CHARACTERS:,} characters; this one has {len(self.source):,}"
            )

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """The text of `messages`, equal to that of transformers' `apply_chat_template`.

        With `add_generation_prompt`, the beginning of the assistant's next answer follows.

        Raises: ConfigError for messages that the template refuses, such as two by the user in a row, or none;
                FormatError for a template that is no template, or takes too long; MissingPackageError where jinja2 is
                needed and missing
        """
        if not messages:
            raise ConfigError("a chat template needs at least one message; got none")
        known = known_template(self.source) if all(map(_is_plain, messages)) else None
        if known is not None:
            try:
                return known(messages, add_generation_prompt, self.tokens)
            except TemplateRefusal as refusal:
                raise ConfigError(f"the model's chat template refuses these messages: {refusal}") from None
        variables = {
            "messages": [dict(message) for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **self.tokens,
        }
        reply = _RENDERER.ask({"template": self.source, "variables": variables})
        if "text" in reply:
            return reply["text"]
        raise _error_of(reply)


def _is_plain(message: Message) -> bool:
    """Whether a message is one that the functions of known_templates.py read: a text by one of three."""
    return message.keys() == {"role", "content"} and message["role"] in ROLES and isinstance(message["content"], str)


def _error_of(reply: Mapping[str, str]) -> Exception:
    """Our error for that of the process that renders."""
    kind, reason = reply.get("error", ""), reply.get("reason", "")
    if kind == "ImportError":
        return MissingPackageError(
            "this model's chat template is none of those known here (ChatML, Llama 2 and 3, Mistral, Gemma, Qwen), and "
            f"is rendered by jinja2; {reason}: pip install '.[hub]'"
        )
    if kind == "TemplateError":  # raise_exception
        return ConfigError(f"the model's chat template refuses these messages: {reason}")
    return FormatError(f"the model's chat template must render its messages; {kind}: {reason or 'no reason given'}")


# The process.


class _Renderer:
    """A running template_renderer.py, started again when it has ended. Threads take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, str]:
        """The answer to a request; an error in place of the answer if the process ended, or was too slow."""
        with self._lock:
            process = self._started()
            late = threading.Timer(SECONDS, process.kill)
            late.start()
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                line = process.stdout.readline()  # type: ignore[union-attr]
            except BrokenPipeError:
                line = b""
            except BaseException:  # Ctrl-C: an answer that nobody has read must not answer the next request
                self.end()
                raise
            finally:
                late.cancel()
            if not line.endswith(b"\n"):
                self.end()
                return {"error": "no answer", "reason": f"it needs more than {SECONDS:g} s, or more than 1 GB"}
            reply: dict[str, str] = json.loads(line)
            return reply

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(RENDERER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C is for the command
            )
        return self._process

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


_RENDERER = _Renderer()
atexit.register(_RENDERER.end)
