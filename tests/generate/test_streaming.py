"""Streams: the tokens of `generate`, whole characters, and stop strings."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gpt import tiny

from tinygrad_llm import Generator
from tinygrad_llm.errors import ConfigError, IdRangeError
from tinygrad_llm.generate import generate, stream, stream_text, until_stop
from tinygrad_llm.graph import is_grad_enabled
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import BPETokenizer, SimpleTokenizerV1, build_vocabulary

SETTINGS = {"temperature": 1.3, "top_k": 6, "eos_id": 7}


@pytest.mark.parametrize("seed", range(6))
def test_a_stream_gives_the_new_ids_of_generate(seed: int) -> None:
    model, prompt = tiny(), [1, 2, 3]
    whole = generate(model, prompt, 20, generator=Generator(seed), **SETTINGS)
    got = list(stream(model, prompt, 20, generator=Generator(seed), **SETTINGS))
    assert all(type(token) is int for token in got)
    assert [*prompt, *got] == whole.tolist()


def test_a_stream_runs_the_model_per_token_and_restores_its_mode() -> None:
    model, calls = tiny(), []
    model.token_embedding.register_forward_hook(lambda module, args, output: calls.append(module.training))
    tokens = stream(model, np.array([[1, 2]]), 5)
    assert not calls
    for count in range(1, 4):
        next(tokens)
        assert calls == [False] * count
        assert model.training
        assert is_grad_enabled()
        assert all(module.training for module in model.modules())
    tokens.close()


def test_a_stream_checks_its_arguments_at_once() -> None:
    model = tiny()
    for settings in ({"temperature": -1}, {"top_k": 0}, {"eos_id": -2}):
        with pytest.raises(ConfigError):
            stream(model, [1], 3, **settings)
    with pytest.raises(ConfigError, match="stream: one prompt at a time; got 2"):
        stream(model, [[1], [2]], 3)
    with pytest.raises(IdRangeError):
        stream(model, [99], 3)
    with pytest.raises(ConfigError, match="stream: max_new_tokens"):
        stream(model, [1], -3)
    assert list(stream(model, [1], 0)) == []


# -- stop strings


def test_stop_strings_by_hand() -> None:
    assert list(until_stop(["one t", "w", "o th", "ree"], ["two"])) == ["one "]
    assert list(until_stop(["one t", "w", "in"], ["two"])) == ["one ", "twin"]
    assert "".join(until_stop(["one tw"], ["two"])) == "one tw"  # never completed: it was text
    assert list(until_stop(["two"], ["two"])) == []
    assert "".join(until_stop(["aa", "ab"], ["aab"])) == "a"  # begun twice
    assert list(until_stop(["a", "b"], [])) == ["a", "b"]
    assert "".join(until_stop(["x", "abc"], ["abcd", "b"])) == "xa"  # the one complete first


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_stops_do_not_depend_on_where_pieces_begin(text: str, stops: list[Any], data: Any) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    expected = text
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            expected = text[: end - max(map(len, complete))]
            break
    shown = list(until_stop(pieces, stops))
    assert "".join(shown) == expected
    assert all(shown)


def test_no_token_is_requested_after_the_stop() -> None:
    def pieces() -> Iterator[str]:
        yield "a stop"
        raise AssertionError("asked on")

    assert list(until_stop(pieces(), ["stop"])) == ["a "]


# -- text


def writing(text: str, tokenizer: BPETokenizer) -> tuple[Any, ...]:
    """A model whose greedy continuation of anything is `text`, whatever it reads."""
    ids = tokenizer.encode(text)
    model = tiny(vocab_size=tokenizer.vocab_size, context_length=64, num_layers=1)
    prompt_length = 2

    def write(module: Linear, args: tuple[Any, ...], output: Tensor) -> Tensor:
        place = min(module.asked, len(ids) - 1)
        module.asked += 1
        output.data[..., ids[place]] = 1e3
        return output

    model.head.asked = 0
    model.head.register_forward_hook(write)
    return model, list(range(prompt_length)), len(ids)


@pytest.mark.parametrize("text", ["naïve café – 日本語 🎉 done", "plain", "é"])
def test_text_comes_in_whole_characters(text: str) -> None:
    tokenizer = BPETokenizer.train("", vocab_size=257)
    model, prompt, size = writing(text, tokenizer)
    assert size == len(text.encode())
    pieces = list(stream_text(model, tokenizer, prompt, size))
    assert "".join(pieces) == text
    assert pieces == list(text)


def test_the_first_word_is_separated_from_the_prompt() -> None:
    tokenizer = SimpleTokenizerV1(build_vocabulary("is this a test ?"))
    model = tiny(vocab_size=tokenizer.vocab_size)
    for first in range(tokenizer.vocab_size):
        new = "".join(stream_text(model, tokenizer, [first], 6))
        assert tokenizer.decode([first]) + new == tokenizer.decode(generate(model, [first], 6))


def test_text_ends_at_a_stop_string_across_tokens() -> None:
    tokenizer = BPETokenizer.train("", vocab_size=257)
    for stop in ("\n\n", ["é–", "\n\n"]):
        model, prompt, size = writing("answer é\n\nmore é–", tokenizer)
        assert "".join(stream_text(model, tokenizer, prompt, size, stop=stop)) == "answer é"
        assert model.head.asked == len("answer é\n\n".encode())  # not a token more


def test_a_character_cut_by_the_limit_becomes_the_replacement_character() -> None:
    tokenizer = BPETokenizer.train("", vocab_size=257)
    model, prompt, size = writing("ab🎉", tokenizer)
    assert "".join(stream_text(model, tokenizer, prompt, size - 1)) == "ab\N{REPLACEMENT CHARACTER}"


def test_invalid_stop_strings_are_refused() -> None:
    tokenizer = BPETokenizer.train("", vocab_size=257)
    for stop in ("", ["a", ""], [3]):
        with pytest.raises(ConfigError, match="stop must be a string or several"):
            stream_text(tiny(vocab_size=257), tokenizer, [1], 3, stop=stop)
