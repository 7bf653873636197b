"""The parameters of a request: OpenAI's, three more of ours, and a refusal by name for every other."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate import Sampling
from tinygrad_llm.runs.chat_model import ROLES, Message
from tinygrad_llm.serve.api_error import ApiError
from tinygrad_llm.serve.engine import Job, Text
from tinygrad_llm.serve.served_model import ServedModel
from tinygrad_llm.serve.token_choice import Choosing
from tinygrad_llm.settings import SettingError
from tinygrad_llm.web.body import Body, FieldError

MAX_TEXT = 1 << 20  # characters of a prompt or a message
MOST_TEXTS, MOST_CHOICES, MOST_STOPS, MOST_MESSAGES, MOST_BIASES = 64, 8, 4, 1_000, 1_000
LONGEST_STOP = 1_000  # characters
HIGHEST_SEED = (1 << 63) - 1
MOST_LOG_PROBS = 20
USUAL_COMPLETION = 16  # tokens of a completion, as in OpenAI's reference
FULL_CONTEXT = 1_000_000_000  # tokens: an answer ends with the context in any case

SAMPLING = ("temperature", "top_p", "seed", "n", "stop", "presence_penalty", "frequency_penalty", "logit_bias")
SHARED = ("model", "stream", "stream_options", "max_tokens", *SAMPLING, "logprobs")
OURS = ("top_k", "min_p", "repetition_penalty")
WITHOUT_EFFECT = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")
COMPLETION = (*SHARED, "prompt", "echo", "best_of", "suffix")
TEXT_ONLY = ("response_format", "tools", "tool_choice", "modalities")  # accepted if they ask for text
CHAT = (*SHARED, "messages", "max_completion_tokens", "top_logprobs", *TEXT_ONLY)


@dataclass(frozen=True)
class Wanted:
    """A request that was understood: the job for the engine, and how its answer is written."""

    job: Job
    stops: Sequence[str]
    stream: bool
    include_usage: bool
    echo: Sequence[str] | None  # by prompt, the text that comes before each choice
    num_choices: int  # per prompt


def read_completion(fields: Any, served: ServedModel) -> Wanted:
    """Raises: ApiError"""
    return _read(fields, COMPLETION, served, _completion)


def read_chat(fields: Any, served: ServedModel) -> Wanted:
    """Raises: ApiError"""
    return _read(fields, CHAT, served, _chat)


def _read(
    fields: Any, known: Sequence[str], served: ServedModel, read: Callable[[Body, ServedModel], Wanted]
) -> Wanted:
    """`read`, with every error as an ApiError that names the parameter."""
    if isinstance(fields, dict):
        given = {name: value for name, value in fields.items() if value is not None}  # null is the default
        for name in given.keys() - {*known, *OURS, *WITHOUT_EFFECT}:
            message = f"{name[:100]} is not supported; known parameters are {', '.join((*known, *OURS))}"
            raise ApiError(400, message, name[:100], "unknown_parameter")
        fields = given
    try:
        body = Body("request", (*known, *OURS, *WITHOUT_EFFECT), fields)
        _expect_model(body, served)
        return read(body, served)
    except FieldError as error:
        raise ApiError(400, str(error), error.field or None) from error
    except SettingError as error:
        raise ApiError(400, error.with_names(str), _first_name(error)) from error
    except ConfigError as error:
        raise ApiError(400, str(error)) from error


def _first_name(error: SettingError) -> str | None:
    """The setting that an error is about: it is named as {name}."""
    return error.message.partition("{")[2].partition("}")[0] or None


def _expect_model(body: Body, served: ServedModel) -> None:
    name = body.text("model", served.name)
    if name != served.name:
        message = f"the model {name[:100]!r} does not exist here; this server has {served.name!r}"
        raise ApiError(404, message, "model", "model_not_found")


def _completion(body: Body, served: ServedModel) -> Wanted:
    prompts = [_prompt_ids(served, body, prompt) for prompt in _prompts(body)]
    limit = body.integer("max_tokens", USUAL_COMPLETION, high=FULL_CONTEXT)
    count = body.integer("n", 1, low=1, high=MOST_CHOICES)
    if body.integer("best_of", count, high=FULL_CONTEXT) != count:
        raise body.wrong("best_of", f"n, {count}: no choice is left out", body.integer("best_of", count))
    if body.text("suffix", ""):
        raise ApiError(400, "suffix is not supported: the model reads from left to right", "suffix")
    echo = body.flag("echo")
    top = body.integer("logprobs", 0, high=MOST_LOG_PROBS) if body.has("logprobs") else None
    if not limit and not echo:
        raise body.wrong("max_tokens", "at least 1, or 0 with echo", limit)
    _expect_room(prompts, served, "prompt", limit)
    echoed = [one if isinstance(one, str) else served.tokenizer.decode(one) for one in _prompts(body)] if echo else None
    return _wanted(body, prompts, count, limit, _choosing(body, served, top), served.ends, echoed)


def _chat(body: Body, served: ServedModel) -> Wanted:
    _expect_text_only(body)
    prompt = served.chat_ids(_messages(body, served))
    if body.has("max_tokens") and body.has("max_completion_tokens"):
        raise ApiError(400, "give max_completion_tokens or max_tokens, not both", "max_tokens")
    name = "max_completion_tokens" if body.has("max_completion_tokens") else "max_tokens"
    limit = body.integer(name, FULL_CONTEXT, low=1, high=FULL_CONTEXT)
    count = body.integer("n", 1, low=1, high=MOST_CHOICES)
    top = body.integer("top_logprobs", 0, high=MOST_LOG_PROBS)
    if not body.flag("logprobs"):
        if body.has("top_logprobs"):
            raise ApiError(400, "top_logprobs needs logprobs: true", "top_logprobs")
        return _chat_wanted(body, served, prompt, count, limit, None)
    return _chat_wanted(body, served, prompt, count, limit, top)


def _chat_wanted(body: Body, served: ServedModel, prompt: list[int], count: int, limit: int, top: int | None) -> Wanted:
    _expect_room([prompt], served, "messages", limit)
    return _wanted(body, [prompt], count, limit, _choosing(body, served, top), served.chat_ends())


def _wanted(
    body: Body,
    prompts: Sequence[list[int]],
    count: int,
    limit: int,
    choosing: Choosing,
    ends: Sequence[int],
    echo: Sequence[str] | None = None,
) -> Wanted:
    stream = body.flag("stream")
    if body.has("stream_options") and not stream:
        raise ApiError(400, "stream_options needs stream: true", "stream_options")
    seed = body.integer("seed", low=-HIGHEST_SEED, high=HIGHEST_SEED) if body.has("seed") else secrets.randbits(32)
    texts = [
        Text(place * count + choice, prompt, seed + choice)
        for place, prompt in enumerate(prompts)
        for choice in range(count)
    ]
    job = Job(texts, choosing, limit, frozenset(ends), echo is not None and choosing.top is not None)
    return Wanted(job, _stops(body), stream, _include_usage(body), echo, count)


def _include_usage(body: Body) -> bool:
    known = ("include_usage", "include_obfuscation")
    try:
        return Body("stream_options", known, body.mapping("stream_options")).flag("include_usage")
    except FieldError as error:
        raise ApiError(400, str(error), "stream_options") from error


def _choosing(body: Body, served: ServedModel, top: int | None) -> Choosing:
    temperature, top_p = body.number("temperature", 1.0), body.number("top_p", 1.0)
    if temperature > 2:
        raise body.wrong("temperature", "a number in [0, 2]", temperature)
    penalty = body.number("repetition_penalty") if body.has("repetition_penalty") else None
    if penalty is not None and not 0.01 <= penalty <= 100:  # others make logits infinite
        raise body.wrong("repetition_penalty", "a number in [0.01, 100]", penalty)
    sampling = Sampling(
        temperature=temperature,
        top_p=top_p or 1e-9,  # 0: the most likely token alone
        top_k=body.integer("top_k") or None if body.has("top_k") else None,
        min_p=body.number("min_p") if body.has("min_p") else None,
        repetition_penalty=penalty,
        vocab_size=served.vocab_size,
    )
    penalties = {name: body.number(name, 0.0) for name in ("presence_penalty", "frequency_penalty")}
    for name, value in penalties.items():
        if not -2 <= value <= 2:
            raise body.wrong(name, "a number in [-2, 2]", value)
    return Choosing(sampling, **penalties, bias=_bias(body, served), top=top)


def _bias(body: Body, served: ServedModel) -> Mapping[int, float]:
    """The bias of each id. Raises: FieldError"""
    given, bias, size = body.mapping("logit_bias"), {}, served.vocab_size
    for name, value in given.items():
        is_id = name.isascii() and name.isdigit() and len(name) < 10 and int(name) < size
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and -100 <= value <= 100
        if not (is_id and is_number) or len(given) > MOST_BIASES:
            kind = f"an object of at most {MOST_BIASES:,} token ids below {size:,}, each with a number in [-100, 100]"
            raise body.wrong("logit_bias", kind, {name: value})
        bias[int(name)] = float(value)
    return bias


def _stops(body: Body) -> list[str]:
    given = body.value("stop", [])
    stops = [given] if isinstance(given, str) else given
    if (
        not isinstance(stops, list)
        or len(stops) > MOST_STOPS
        or not all(isinstance(stop, str) and 0 < len(stop) <= LONGEST_STOP for stop in stops)
    ):
        raise body.wrong("stop", f"a non-empty text, or a list of at most {MOST_STOPS}", given)
    return stops


def _expect_room(prompts: Sequence[Sequence[int]], served: ServedModel, param: str, limit: int) -> None:
    """Refuse a prompt that leaves no room for a token in the context."""
    longest, context = max(map(len, prompts)), served.context_length
    if longest + min(limit, 1) > context:
        raise ApiError(
            400,
            f"{param}: must be shorter than the context, {context:,} tokens; got {longest:,}: shorten it",
            param,
            "context_length_exceeded",
        )


# -- prompts


def _prompts(body: Body) -> list[Any]:
    """A text, a list of texts, ids, or a list of them, as a list of texts or ids."""
    given = body.value("prompt", "")
    if isinstance(given, str) or (isinstance(given, list) and given and all(map(_is_integer, given))):
        return [given]
    if not isinstance(given, list) or not 0 < len(given) <= MOST_TEXTS:
        raise body.wrong("prompt", f"a text, token ids, or a list of 1 to {MOST_TEXTS} of them", given)
    return given


def _prompt_ids(served: ServedModel, body: Body, prompt: Any) -> list[int]:
    if isinstance(prompt, str) and len(prompt) <= MAX_TEXT:
        return served.text_ids(Body("request", ["prompt"], {"prompt": prompt}).text("prompt", longest=MAX_TEXT))
    size = served.vocab_size
    if isinstance(prompt, list) and prompt and all(_is_integer(one) and 0 <= one < size for one in prompt):
        return prompt
    raise body.wrong("prompt", f"a text, or token ids from 0 to {size - 1:,}", prompt)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# -- conversations


def _messages(body: Body, served: ServedModel) -> list[Message]:
    given = body.list("messages", longest=MOST_MESSAGES)
    if not given:
        raise body.wrong("messages", "a list of at least one message", given)
    messages = [_message(body, place, entry) for place, entry in enumerate(given)]
    if messages[-1]["role"] == "assistant":
        raise ApiError(400, "messages: the last one must be the user's, which is answered", "messages")
    has_system = any(message["role"] == "system" for message in messages)
    if has_system and served.chat is not None and not served.takes_system:
        message = "messages: this model knows no system message; give its text in the user's"
        raise ApiError(400, message, "messages", "no_system_message")
    return messages


def _message(body: Body, place: int, entry: Any) -> Message:
    name = f"messages[{place}]"
    if not isinstance(entry, dict):
        raise ApiError(400, f"{name}: must be an object with role and content", "messages")
    known = ("role", "content", "name", "refusal", "annotations", "audio", "tool_calls", "function_call")
    try:
        message = Body(name, known, {key: value for key, value in entry.items() if value not in (None, [])})
        for field in ("refusal", "audio", "tool_calls", "function_call"):
            if message.has(field):
                raise ApiError(400, f"{name}: {field} is not supported; a message is a text", "messages")
        role, content = message.text("role"), message.value("content", "")
        if isinstance(content, list):
            content = "\n".join(_part(name, part) for part in content)
        content = Body(name, ["content"], {"content": content}).text("content", longest=MAX_TEXT)
    except FieldError as error:
        raise ApiError(400, str(error), "messages") from error
    role = "system" if role == "developer" else role
    if role not in ROLES:
        raise ApiError(400, f"{name}: role must be one of {', '.join(ROLES)}; got {role[:50]!r}", "messages")
    return {"role": role, "content": content}


def _part(name: str, part: Any) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise ApiError(400, f"{name}: content must be a text, or a list of parts of the type text", "messages")


def _expect_text_only(body: Body) -> None:
    """Accept parameters that ask for text without tools, which is the default; refuse other values."""
    if body.value("response_format", {"type": "text"}) != {"type": "text"}:
        raise ApiError(400, 'response_format must be {"type": "text"}: answers are free text', "response_format")
    if body.value("tools", []) != []:
        raise ApiError(400, "tools are not supported", "tools")
    if body.value("tool_choice", "none") not in ("none", "auto"):
        raise ApiError(400, "tool_choice must be none: tools are not supported", "tool_choice")
    if body.value("modalities", ["text"]) != ["text"]:
        raise ApiError(400, 'modalities must be ["text"]', "modalities")
