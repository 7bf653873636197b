"""Beam search, compared with all possible texts."""

import math
from typing import Any

import numpy as np
import pytest
from tiny_gpt import greedy, next_logits, tiny

from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.generate import beam_search
from tinygrad_llm.models.gpt import GPT


def log_probabilities(model: GPT, ids: list[int]) -> np.ndarray:
    logits = next_logits(model, ids)
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def all_texts(model: GPT, prompt: list[int], count: int, ends: tuple[Any, ...], penalty: float) -> list[Any]:
    """Every continuation of up to `count` tokens, ended or full, best score first."""
    found, growing = [], [((), 0.0)]
    for length in range(1, count + 1):
        longer = []
        for new, total in growing:
            for token, log_p in enumerate(log_probabilities(model, [*prompt, *new])):
                if token in ends:
                    found.append(((total + log_p) / length**penalty, [*prompt, *new], total + log_p))
                else:
                    longer.append(((*new, token), total + log_p))
        growing = longer
    found += [(total / count**penalty, [*prompt, *new], total) for new, total in growing]
    return sorted(found, key=lambda text: -text[0])


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.5])
@pytest.mark.parametrize("ends", [(), (1,), (0, 3)])
def test_enough_beams_find_the_best_of_all_texts(penalty: float, ends: tuple[Any, ...]) -> None:
    model, prompt = tiny(seed=3, vocab_size=4, context_length=5), [2, 1, 3]  # and past the context
    expected = all_texts(model, prompt, 4, ends, penalty)
    for use_cache in (True, False):
        got = beam_search(model, prompt, 4, 4**4, penalty, eos_id=ends, use_cache=use_cache)
        for beam, (score, ids, total) in zip(got, expected, strict=False):
            assert beam.ids.tolist() == ids
            assert math.isclose(beam.score, score, rel_tol=1e-10)
            assert math.isclose(beam.log_probability, total, rel_tol=1e-10)
        assert len(got) == min(len(expected), 4**4)


def beams_by_hand(
    model: GPT, prompt: list[int], count: int, size: int, ends: tuple[Any, ...] = (), penalty: float = 0.0
) -> list[Any]:
    """The same search, never stopping early: (score, ids) of the best."""
    growing, ended = [(0.0, list(prompt))], []
    for length in range(1, count + 1):
        longer = []
        for total, ids in growing:
            for token, log_p in enumerate(log_probabilities(model, ids)):
                if token in ends:
                    ended.append(((total + log_p) / length**penalty, ids))
                else:
                    longer.append((total + log_p, [*ids, token]))
        growing = sorted(longer, key=lambda text: -text[0])[:size]
    ended += [(total / count**penalty, ids) for total, ids in growing]
    return sorted(ended, key=lambda text: -text[0])[:size]


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_each_step_keeps_the_most_likely_texts(size: int) -> None:
    model, prompt = tiny(seed=5), [1, 2, 3]
    got = beam_search(model, prompt, 11, size, length_penalty=0)
    expected = beams_by_hand(model, prompt, 11, size)
    assert [beam.ids.tolist() for beam in got] == [ids for _, ids in expected]
    np.testing.assert_allclose([beam.score for beam in got], [score for score, _ in expected], rtol=1e-10)
    if size == 1:
        assert got[0].ids.tolist() == greedy(model, prompt, 11)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_the_search_stops_when_no_text_can_become_better(penalty: float) -> None:
    sooner = 0
    for seed in range(6):
        model, calls = tiny(seed=seed, vocab_size=5, context_length=40, num_layers=1), []
        model.head.weight.data *= 3  # surer, so that beams differ
        expected = beams_by_hand(model, [1], 10, 2, (4,), penalty)
        model.head.register_forward_hook(lambda module, args, output, calls=calls: calls.append(1))
        got = beam_search(model, [1], 10, 2, penalty, eos_id=4)
        assert [beam.ids.tolist() for beam in got] == [ids for _, ids in expected]
        sooner += len(calls) < 10
    assert sooner


def test_edges() -> None:
    model = tiny()
    assert beam_search(model, [1, 2], 0, 3)[0].ids.tolist() == [1, 2]
    everything = beam_search(model, [1], 3, 4, eos_id=range(13))
    assert [beam.ids.tolist() for beam in everything] == [[1]] * 4  # nothing can grow
    wrong = [
        {"num_beams": 0},
        {"num_beams": 2.0},
        {"length_penalty": -1},
        {"length_penalty": math.nan},
        {"max_new_tokens": -1},
        {"eos_id": -1},
        {"ids": [[1], [2]]},
        {"ids": []},
    ]
    for changes in wrong:
        with pytest.raises(ConfigError):
            beam_search(**({"model": model, "ids": [1], "max_new_tokens": 3, "num_beams": 2} | changes))
    model.head.weight.data[:] = np.nan
    with pytest.raises(AnomalyError):
        beam_search(model, [1], 3, 2)


def test_beams_of_one_length_differ() -> None:
    texts = [tuple(beam.ids) for beam in beam_search(tiny(), [4], 6, 10)]
    assert len(set(texts)) == len(texts) == 10
