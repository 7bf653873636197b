"""Parameters: what is accepted, what is refused, and by which name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_server import CHAT, COMPLETIONS, HELLO, chat_model

from tinygrad_llm.generate import Sampling
from tinygrad_llm.serve.api_error import ApiError
from tinygrad_llm.serve.parameters import Wanted, read_chat, read_completion


def read(path: str = CHAT, **fields: Any) -> Wanted:
    if path == CHAT:
        return read_chat({"messages": HELLO, **fields}, chat_model())
    return read_completion({"prompt": "Hello", **fields}, chat_model())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temprature": 1}, "temprature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": -0.5}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"stop": ""}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop"),
        ({"stop": list("abcde")}, "stop"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": 5}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 5}}, "stream_options"),
        ({"stream": True, "stream_options": {"other": True}}, "stream_options"),
        ({"repetition_penalty": 1e-300}, "repetition_penalty"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"260": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {"1": True}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"model": 5}, "model"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_the_parameter_that_is_wrong_is_named(path: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(path, **fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": None}, "messages"),
        (CHAT, {"messages": "Hello"}, "messages"),
        (CHAT, {"messages": ["Hello"]}, "messages"),
        (CHAT, {"messages": [{"role": "user"}, {"role": "tool", "content": "x"}]}, "messages"),
        (CHAT, {"messages": [*HELLO, {"role": "assistant", "content": "Hi"}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": 5}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": "\ud800"}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": "x" * 500}]}, "messages"),
        (CHAT, {"max_tokens": 0}, "max_tokens"),
        (CHAT, {"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        (CHAT, {"top_logprobs": 2}, "top_logprobs"),
        (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (CHAT, {"logprobs": 2}, "logprobs"),
        (CHAT, {"tools": [{}]}, "tools"),
        (CHAT, {"tool_choice": "required"}, "tool_choice"),
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {"modalities": ["audio"]}, "modalities"),
        (CHAT, {"prompt": "x"}, "prompt"),
        (COMPLETIONS, {"messages": HELLO}, "messages"),
        (COMPLETIONS, {"prompt": 5}, "prompt"),
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": [[]]}, "prompt"),
        (COMPLETIONS, {"prompt": [260]}, "prompt"),
        (COMPLETIONS, {"prompt": ["a", 5]}, "prompt"),
        (COMPLETIONS, {"prompt": [True]}, "prompt"),
        (COMPLETIONS, {"prompt": ["a"] * 65}, "prompt"),
        (COMPLETIONS, {"prompt": "x" * 128}, "prompt"),
        (COMPLETIONS, {"prompt": "\ud800"}, "prompt"),
        (COMPLETIONS, {"max_tokens": 0}, "max_tokens"),
        (COMPLETIONS, {"logprobs": True}, "logprobs"),
        (COMPLETIONS, {"best_of": 3}, "best_of"),
        (COMPLETIONS, {"suffix": "x"}, "suffix"),
        (COMPLETIONS, {"echo": 1}, "echo"),
    ],
)
def test_so_is_one_of_either_endpoint(path: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(path, **fields)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_another_model_is_not_found() -> None:
    with pytest.raises(ApiError, match="this server has 'tiny'") as caught:
        read(model="gpt-4")
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")


def test_the_parameters_arrive() -> None:
    wanted = read(
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=-1,
        frequency_penalty=0.5,
        logit_bias={"5": -100},
        seed=-1,
        n=2,
        stop="x",
        max_completion_tokens=7,
        logprobs=True,
        top_logprobs=3,
        stream=True,
        stream_options={"include_usage": True},
        user="somebody",
        metadata={},
    )
    choosing, job = wanted.job.choosing, wanted.job
    assert choosing.sampling == Sampling(0.5, 5, 0.9, 0.1, 1.1, vocab_size=260)
    assert (choosing.presence_penalty, choosing.frequency_penalty, choosing.top) == (-1.0, 0.5, 3)
    assert (dict(choosing.bias), job.max_tokens, [text.seed for text in job.texts]) == ({5: -100.0}, 7, [-1, 0])
    assert (list(wanted.stops), wanted.stream, wanted.include_usage) == (["x"], True, True)
    assert job.ends == {256, 258}


def test_nulls_are_defaults_and_words_for_text_only_are_accepted() -> None:
    nothing = dict.fromkeys(("temperature", "stop", "seed", "logprobs", "n", "tools", "max_tokens", "made_up"))
    plain = {"response_format": {"type": "text"}, "tools": [], "tool_choice": "none", "modalities": ["text"]}
    assert read(**nothing).job.choosing.sampling.temperature == 1.0
    assert read(**plain).job.choosing == read().job.choosing


def test_roles_and_parts_of_messages() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    several = [{"role": "developer", "content": "Be kind.", "name": "x"}, {"role": "user", "content": parts}]
    ids = chat_model().chat_ids([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hel\nlo"}])
    assert read(messages=several).job.texts[0].prompt == ids


def test_prompts_are_a_text_ids_or_lists_of_them() -> None:
    for prompt, expected in (
        ("ab", [[97, 98]]),
        ([97, 98], [[97, 98]]),
        (["a", "b"], [[97], [98]]),
        ([[97], [98, 99]], [[97], [98, 99]]),
        ("", [[258]]),  # the token that ends texts also begins them
    ):
        assert [list(text.prompt) for text in read(COMPLETIONS, prompt=prompt).job.texts] == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["messages", "prompt", "n", "stop", "temperature", "logit_bias", "stream_options", "max_tokens", "logprobs"]


@given(st.sampled_from([CHAT, COMPLETIONS]), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3))
def test_any_fields_are_understood_or_refused(path: str, fields: dict[str, Any]) -> None:
    try:
        read(path, **fields)
    except ApiError as error:
        assert error.status in (400, 404) and 5 < len(str(error)) < 1_000


def test_any_value_instead_of_fields_is_refused() -> None:
    for value in (None, [], "x", 5):
        with pytest.raises(ApiError, match="must be a JSON object"):
            read_chat(value, chat_model())
