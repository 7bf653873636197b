"""`generate`: equal to its definition, with and without cache, beyond the context, in batches of unequal length."""

from typing import Any

import numpy as np
import pytest
from tiny_gpt import greedy, next_logits, some_ids, tiny

from tinygrad_llm import Generator, Tensor, default_generator, manual_seed, no_grad
from tinygrad_llm.errors import AnomalyError, ConfigError, DTypeError, IdRangeError, ShapeError
from tinygrad_llm.generate import Sampling, generate
from tinygrad_llm.generate.decoding_state import DecodingState

# -- greedy, and the cache


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("length", [1, 5, 11, 12, 13, 20])
def test_greedy_decoding_is_the_books_loop_within_and_beyond_the_context(length: int, use_cache: bool) -> None:
    model, prompt = tiny(), some_ids(length)
    ids = generate(model, prompt, 9, use_cache=use_cache)
    assert ids.dtype == np.int64
    assert ids.tolist() == greedy(model, prompt, 9)


@pytest.mark.parametrize("use_cache", [True, False])
def test_cached_logits_equal_those_of_the_whole_text(use_cache: bool) -> None:
    model = tiny(qkv_bias=True)
    texts = [some_ids(length, seed=length) for length in (3, 7, 1)]
    reading, generator = DecodingState(model, texts, use_cache), Generator(5)
    for _ in range(15):
        got = reading.logits()[:, -1]
        for row, text in zip(got, texts, strict=True):
            np.testing.assert_allclose(row, next_logits(model, text), rtol=0, atol=1e-10)
        new = generator.randint(0, 13, (3,))
        texts = [np.append(text, token) for text, token in zip(texts, new, strict=True)]
        reading.append(new)
    assert [text.tolist() for text in reading.texts()] == [text.tolist() for text in texts]


def test_several_columns_at_once_are_read_again_where_the_cache_has_them() -> None:
    model, ids = tiny(), some_ids(8)
    reading = DecodingState(model, [ids])
    reading.logits()
    with no_grad():
        whole = model.eval()(ids).data
    np.testing.assert_allclose(reading.logits(4)[0], whole[-4:], rtol=0, atol=1e-12)
    reading.truncate(6)
    np.testing.assert_allclose(reading.logits(2)[0], whole[4:6], rtol=0, atol=1e-12)
    reading.truncate(3)
    reading.append(np.array([7, 8, 9]))
    np.testing.assert_allclose(reading.logits()[0, 0], next_logits(model, [*ids[:3], 7, 8, 9]), rtol=0, atol=1e-12)


def test_cached_float32_differs_by_rounding_only() -> None:
    model, text = tiny(dtype=np.float32), some_ids(4)
    cached = DecodingState(model, [text])
    for _ in range(14):
        got, expected = cached.logits()[0, -1], next_logits(model, text)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)
        best, second = np.sort(expected)[[-1, -2]]
        if best - second > 4e-6:
            assert got.argmax() == expected.argmax()
        token = expected.argmax()
        text = np.append(text, token)
        cached.append(np.array([token]))


# -- batches


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("lengths", [(1, 4, 9), (12, 3), (15, 1, 12), (2, 2)])
def test_prompts_of_unequal_length_are_continued_as_if_alone(lengths: tuple[Any, ...], use_cache: bool) -> None:
    model = tiny(qkv_bias=True)
    prompts = [some_ids(length, seed=10 + length) for length in lengths]
    together = generate(model, prompts, 8, use_cache=use_cache)
    assert isinstance(together, list)
    assert [ids.tolist() for ids in together] == [greedy(model, prompt, 8) for prompt in prompts]


def test_padding_changes_nothing() -> None:
    model = tiny()
    reading, other = (DecodingState(model, [some_ids(2), some_ids(6)]) for _ in range(2))
    other.ids[0, :4] = 9
    np.testing.assert_array_equal(reading.logits(), other.logits())


def test_the_result_has_the_form_of_the_prompts() -> None:
    model = tiny()
    one = generate(model, [3, 4], 3)
    assert one.shape == (5,)
    batch = generate(model, np.array([[3, 4], [5, 6]], np.uint8), 3)
    assert batch.shape == (2, 5)
    assert batch.dtype == np.int64
    np.testing.assert_array_equal(batch[0], one)
    np.testing.assert_array_equal(generate(model, Tensor(np.array([[3, 4]])), 3), batch[:1])
    listed = generate(model, ([3, 4], np.array([5, 6]), Tensor([3])), 3)
    assert [len(ids) for ids in listed] == [5, 5, 4]
    np.testing.assert_array_equal(listed[1], batch[1])


def test_copies_continue_each_prompt_as_if_it_was_given_several_times() -> None:
    model, prompts = tiny(), [some_ids(3), some_ids(7, seed=2)]
    for sampling in (Sampling(), Sampling(temperature=1.0)):
        several = generate(model, prompts, 9, sampling, generator=Generator(2), copies=3)
        repeated = [prompts[0]] * 3 + [prompts[1]] * 3
        expected = generate(model, repeated, 9, sampling, generator=Generator(2))
        assert [text.tolist() for text in several] == [text.tolist() for text in expected]
    assert generate(model, prompts[0], 2, copies=1).shape == (5,)
    assert generate(model, prompts[0], 2, copies=2).shape == (2, 5)
    with pytest.raises(ConfigError, match="copies must be an integer of at least 1; got 0"):
        generate(model, prompts, 2, copies=0)


@pytest.mark.parametrize("ids", [[3, 4], np.array([[3, 4], [5, 6]])])
def test_no_new_tokens_give_the_prompt_and_do_not_run_the_model(ids: list[int] | np.ndarray) -> None:
    model = tiny()
    model.hidden = None
    np.testing.assert_array_equal(generate(model, ids, 0), ids)
    assert generate(model, [[1], [2, 3]], 0)[1].tolist() == [2, 3]


# -- the end of a text


def test_a_text_ends_before_the_end_of_text() -> None:
    model, prompt = tiny(), [1, 2, 3]
    whole = generate(model, prompt, 10).tolist()
    end = whole[6]
    first = whole.index(end, 3)
    assert generate(model, prompt, 10, eos_id=end).tolist() == whole[:first]
    assert generate(model, prompt, 10, eos_id=[end, 12]).tolist() == whole[: min(first, whole.index(12, 3))]
    never = next(token for token in range(13) if token not in whole[3:])
    assert generate(model, prompt, 10, eos_id=never).tolist() == whole
    assert generate(model, [1, 2, end], 3, eos_id=()).shape == (6,)


def test_each_text_of_a_batch_ends_independently() -> None:
    model = tiny()
    prompts = [some_ids(length, seed=20 + length) for length in (2, 5, 3, 4)]
    whole = [greedy(model, prompt, 16) for prompt in prompts]
    ends = {whole[0][5], whole[2][4]}
    expected = []
    for ids, prompt in zip(whole, prompts, strict=True):
        size = next((i for i in range(len(prompt), len(ids)) if ids[i] in ends), len(ids))
        expected.append(ids[:size])
    assert len({len(ids) - len(prompt) for ids, prompt in zip(expected, prompts, strict=True)}) > 1
    got = generate(model, prompts, 16, eos_id=ends)
    assert [ids.tolist() for ids in got] == expected


def test_rows_of_an_array_are_filled_up_with_the_id_that_ended_them() -> None:
    model = tiny()
    prompts = np.stack([some_ids(3, seed=seed) for seed in range(6)])
    whole = np.array([greedy(model, prompt, 6) for prompt in prompts])
    end = int(whole[0, 4])
    got = generate(model, prompts, 6, eos_id=end)
    for row, full in zip(got, whole, strict=True):
        new = full[3:].tolist()
        size = 3 + (new.index(end) if end in new else 6)
        assert row.tolist() == [*full[:size].tolist(), *[end] * (got.shape[1] - size)]


# -- sampling


def test_a_seed_gives_one_text_and_the_default_generator_is_used() -> None:
    model, prompt = tiny(), [1, 2, 3]

    def sampled(seed: int) -> list[int]:
        return generate(model, prompt, 12, temperature=1.5, top_k=6, top_p=0.95, generator=Generator(seed)).tolist()

    assert sampled(1) == sampled(1)
    assert len({tuple(sampled(seed)) for seed in range(5)}) > 3
    manual_seed(1)
    assert generate(model, prompt, 12, temperature=1.5, top_k=6, top_p=0.95).tolist() == sampled(1)


def test_sampling_is_the_books_loop() -> None:
    model, ids, generator = tiny(), [1, 2, 3], Generator(7)
    got = generate(model, ids, 14, temperature=1.4, top_k=5, repetition_penalty=1.3, generator=Generator(7))
    sampling = Sampling(1.4, 5, repetition_penalty=1.3)
    for _ in range(14):
        chances = sampling.probabilities(next_logits(model, ids)[None], [np.array(ids)])
        ids = [*ids, int(generator.multinomial(chances[0])[0])]
    assert got.tolist() == ids


def test_the_repetition_penalty_ignores_padding() -> None:
    model = tiny()
    alone = generate(model, [5, 6], 6, repetition_penalty=5.0)
    together = generate(model, [[5, 6], [1] * 9], 6, repetition_penalty=5.0)
    assert together[0].tolist() == alone.tolist()
    assert len(set(alone.tolist())) == 8  # penalised so, it repeats nothing


def test_greedy_decoding_uses_no_random_numbers() -> None:
    manual_seed(4)
    model = tiny()
    before = default_generator().state()["position"]
    generate(model, [1], 5)
    assert default_generator().state()["position"] == before


# -- the model stays as it was


def test_a_model_in_training_mode_is_read_without_dropout_and_stays_in_it() -> None:
    model = tiny()
    model.blocks[0].eval()
    before = [module.training for module in model.modules()]
    trained = generate(model, [1, 2, 3], 8)
    assert [module.training for module in model.modules()] == before
    np.testing.assert_array_equal(trained, generate(model.eval(), [1, 2, 3], 8))
    assert not any(module.training for module in model.modules())
    model.train().token_embedding.weight.data[:] = np.nan
    with pytest.raises(AnomalyError):
        generate(model, [1], 1)
    assert all(module.training for module in model.modules())


# -- wrong input


@pytest.mark.parametrize("count", [-1, 1.5, None, True, "3"])
def test_invalid_token_counts_are_refused(count: bool | float | str | None) -> None:
    with pytest.raises(ConfigError, match="max_new_tokens must be an integer of at least 0"):
        generate(tiny(), [1], count)


@pytest.mark.parametrize("ids", [[], [[]], [[1], []], np.zeros((2, 0), int), np.zeros((0, 2), int)])
def test_a_prompt_needs_a_token(ids: list[Any] | np.ndarray) -> None:
    with pytest.raises(ConfigError, match="a prompt needs at least one token"):
        generate(tiny(), ids, 1)


def test_invalid_ids_are_refused() -> None:
    model = tiny()
    with pytest.raises(IdRangeError, match=r"ids must be in \[0, 13\); got 13"):
        generate(model, [1, 13], 1)
    with pytest.raises(IdRangeError, match="got -1"):
        generate(model, [[1], [2, -1]], 1)
    with pytest.raises(DTypeError, match="ids must be integers"):
        generate(model, [0.5], 1)
    for ids in (3, np.zeros((1, 1, 1), int), [[[1]], [[2]]]):
        with pytest.raises(ShapeError, match=r"ids must be \(T,\), \(B, T\) or a list"):
            generate(model, ids, 1)
    for settings in ({"temperature": -1}, {"top_p": 0}, {"temperature": np.nan}, {"top_k": 0}):
        with pytest.raises(ConfigError):
            generate(model, [1], 1, **settings)
    for end in (-1, 2.0, "a", [1, None]):
        with pytest.raises(ConfigError, match="eos_id must be an id"):
            generate(model, [1], 1, eos_id=end)
