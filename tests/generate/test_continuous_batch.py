"""Texts that are decoded together, joining and leaving, are those that `generate` gives each alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm import manual_seed
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate import generate
from tinygrad_llm.generate.continuous_batch import CHUNK, ContinuousBatch, Row
from tinygrad_llm.models import GPT, OPT, GPTConfig, Llama, LlamaConfig, OPTConfig

SIZES: dict[str, Any] = {"vocab_size": 40, "context_length": 200, "embedding_dim": 16, "num_heads": 2, "num_layers": 2}
CASES = {
    "gpt": (GPT, GPTConfig, {}),
    "opt": (OPT, OPTConfig, {}),
    "llama": (Llama, LlamaConfig, {"num_heads": 4, "num_kv_heads": 2}),
    "window": (Llama, LlamaConfig, {"window": 9}),
    "experts": (Llama, LlamaConfig, {"num_experts": 3, "experts_per_token": 2}),
    "delta net": (Llama, LlamaConfig, {"delta_net_pattern": "1:1"}),
}


def model_of(case: str) -> Any:
    model, config, settings = CASES[case]
    manual_seed(1)
    return model(config.from_dict({**SIZES, **settings})).eval().to(np.float64)


def read(batch: ContinuousBatch, row: Row) -> None:
    while row.reads_prompt:
        batch.read_prompt(row)


def decode(batch: ContinuousBatch, prompts: list[list[int]], steps: int, at_once: int) -> list[list[int]]:
    """Greedy texts of `steps` tokens; each joins as soon as there is room, and a prompt's chunk goes between steps."""
    waiting, rows, done = list(enumerate(prompts)), {}, {}
    while waiting or rows:
        if waiting and len(rows) < at_once:
            place, prompt = waiting.pop(0)
            rows[place] = batch.join(prompt)
            batch.reuse(rows[place])
        reading = [row for row in rows.values() if row.reads_prompt]
        if reading:
            batch.read_prompt(reading[0])
        ready = {place: row for place, row in rows.items() if not row.reads_prompt}
        if not ready:
            continue
        for (place, row), logits in zip(ready.items(), batch.logits(list(ready.values())), strict=True):
            row.ids.append(int(logits.argmax()))
            if len(row.ids) == row.prompt_length + steps:
                done[place] = rows.pop(place).ids
                batch.leave(row)
    return [done[place] for place in range(len(prompts))]


@pytest.mark.parametrize("case", CASES)
def test_a_text_in_a_batch_is_that_of_generate(case: str) -> None:
    model, draws = model_of(case), np.random.default_rng(0)
    prompts = [draws.integers(0, 40, size).tolist() for size in (1, 5, 100, 64, 65, 2)]
    prompts += [[*prompts[2][:90], 7], prompts[2]]  # which begin alike
    texts = decode(ContinuousBatch(model, kept_tokens=300), prompts, 6, at_once=3)
    for prompt, text in zip(prompts, texts, strict=True):
        assert text == generate(model, np.array(prompt), 6).tolist()


@pytest.mark.parametrize("case", CASES)
def test_up_to_eight_texts_have_the_logits_that_each_has_alone_to_the_bit(case: str) -> None:
    model, draws = model_of(case).to(np.float32), np.random.default_rng(0)
    prompts = [draws.integers(0, 40, size).tolist() for size in (1, 3, 64, 70, 8, 17, 2, 30)]
    logits = []
    for groups in ([prompts], [[prompt] for prompt in prompts]):
        batch, found = ContinuousBatch(model), []
        for group in groups:
            rows = [batch.join(prompt) for prompt in group]
            for row in rows:
                read(batch, row)
            found.append(batch.logits(rows))
        logits.append(np.concatenate(found))
    np.testing.assert_array_equal(*logits)


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=150), min_size=1, max_size=5), st.integers(1, 4))
def test_any_prompts_in_any_batch(prompts: list[list[int]], at_once: int) -> None:
    model = model_of("gpt")
    texts = decode(ContinuousBatch(model, kept_tokens=200), prompts, 2, at_once)
    assert texts == [text.tolist() for text in generate(model, [np.array(prompt) for prompt in prompts], 2)]


def test_what_another_text_has_read_is_taken_to_the_bit() -> None:
    model = model_of("llama").to(np.float32)
    prompt = np.random.default_rng(0).integers(0, 40, 3 * CHUNK - 10).tolist()
    alone = ContinuousBatch(model)
    row = alone.join(prompt)
    assert alone.reuse(row) == 0
    read(alone, row)
    expected = alone.logits([row])

    batch = ContinuousBatch(model, kept_tokens=500)
    for other in ([*prompt[: 2 * CHUNK + 5], 1, 2], prompt):
        first = batch.join(other)
        read(batch, first)
        batch.leave(first)
    row = batch.join(prompt)
    assert batch.reuse(row) == len(prompt) - 1  # the last token is read in the next step
    np.testing.assert_array_equal(batch.logits([row]), expected)
    longer = batch.join([*prompt, 3])
    assert batch.reuse(longer) == 2 * CHUNK  # whole chunks only: others would round differently
    assert batch.reuse(batch.join([5, *prompt])) == 0


def test_taking_a_cache_leaves_the_other_text_alone() -> None:
    model = model_of("gpt")
    prompt = list(range(30))
    batch = ContinuousBatch(model)
    one, two = batch.join(prompt), batch.join(prompt)
    read(batch, one)
    batch.reuse(two)
    batch.logits([one, two])
    one.ids.append(2)
    two.ids.append(1)
    before = batch.logits([one])
    batch.logits([two])
    one.cache.truncate(30)
    np.testing.assert_array_equal(batch.logits([one]), before)


def test_kept_texts_are_bounded_and_one_that_failed_is_not_kept() -> None:
    model = model_of("gpt")
    row = ContinuousBatch(model).join([0] * 40)
    read(ContinuousBatch(model), row)
    for bounds in ({"kept_tokens": 100}, {"kept_tokens": 1_000, "kept_bytes": 3 * row.cache.nbytes - 1}):
        batch = ContinuousBatch(model, **bounds)
        rows = [batch.join([place] * 40) for place in range(4)]
        for row in rows:
            read(batch, row)
            batch.leave(row, keep=row is not rows[3])
        found = [batch.reuse(batch.join([place] * 40)) for place in range(4)]
        assert found == [0, 39, 39, 0], bounds


def test_prompts_and_rows_out_of_range_are_refused() -> None:
    batch = ContinuousBatch(model_of("gpt"))
    with pytest.raises(ConfigError, match="at most 200 tokens, the context; got 201"):
        batch.join([1] * 201)
    with pytest.raises(ConfigError, match="at least one token"):
        batch.join([])
    for _ in range(64):
        batch.join([1])
    with pytest.raises(ConfigError, match="at most 64 texts"):
        batch.join([1])
