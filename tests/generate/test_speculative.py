"""Speculative decoding: the same tokens if greedy, the same distribution if sampled, in fewer passes."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny_gpt import greedy, next_logits, some_ids, tiny

from tinygrad_llm import Generator, default_generator, manual_seed
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate import DraftModel, PromptLookup, Sampling, generate, generate_speculatively, stream
from tinygrad_llm.generate.speculative import DraftLength, accept
from tinygrad_llm.models.gpt import GPT


def chi_square_is_plausible(counts: np.ndarray, chances: list[float] | np.ndarray) -> np.bool:
    """Whether counts may come from the chances: within five standard deviations of the statistic's mean."""
    expected = np.asarray(chances) * np.sum(counts)
    statistic, degrees = ((counts - expected) ** 2 / expected).sum(), len(counts) - 1
    return statistic < degrees + 5 * np.sqrt(2 * degrees)


# -- the rule of acceptance


@pytest.mark.parametrize("certain", [False, True])
def test_a_drafted_token_or_its_replacement_has_the_models_distribution(certain: bool) -> None:
    generator, n = Generator(1), 8000
    p = np.array([[0.1, 0.2, 0.3, 0.4, 0.0], [0.5, 0.1, 0.1, 0.1, 0.2]])
    q = np.array([[0.25, 0.05, 0.2, 0.3, 0.2]])
    first, second, refused = np.zeros(5, int), np.zeros(5, int), 0
    for _ in range(n):
        guess = np.array([1]) if certain else generator.multinomial(q[0])
        taken, following = accept(guess, None if certain else q, p, generator)
        refused += not taken
        if taken:
            first[guess[0]] += 1
            second[following] += 1
        else:
            first[following] += 1
    assert not first[4]
    assert chi_square_is_plausible(first[:4], p[0, :4])
    assert chi_square_is_plausible(second, p[1])
    likely = 0.2 if certain else np.minimum(p[0], q[0]).sum()
    assert abs((n - refused) / n - likely) < 0.02


def test_a_certain_token_uses_no_random_number() -> None:
    generator, p = Generator(2), np.eye(4)[[2, 3, 1]]
    assert accept(np.array([2, 3]), None, p, generator) == (2, 1)
    assert accept(np.array([2, 0]), None, p, generator) == (1, 3)
    assert accept(np.array([2, 3]), p[:2], p, generator) == (2, 1)
    assert accept(np.array([], int), None, p[:1], generator) == (0, 2)
    np.testing.assert_array_equal(generator.rand(2), Generator(2).rand(2))


# -- greedy: the very same tokens


DRAFTS = {
    "lookup": lambda model: PromptLookup(),
    "lookup, one token": lambda model: PromptLookup(1, 1),
    "another model": lambda model: DraftModel(tiny(seed=9, embedding_dim=4, num_layers=1, context_length=7)),
    "the model itself": lambda model: DraftModel(model, 3),
}


@pytest.mark.parametrize("name", DRAFTS)
@pytest.mark.parametrize("length", [1, 4, 11, 12, 17])
def test_greedy_tokens_are_those_of_generate(name: str, length: int) -> None:
    model, prompt = tiny(seed=2, context_length=16), some_ids(length, seed=3)
    got = generate_speculatively(model, prompt, 14, DRAFTS[name](model))
    assert got.ids.tolist() == greedy(model, prompt, 14)
    assert got.passes + got.accepted == 14  # a pass gives one token more than the guesses it takes
    assert 0 <= got.accepted <= got.drafted
    assert model.training


@pytest.mark.parametrize("name", DRAFTS)
def test_greedy_tokens_with_a_repetition_penalty_and_an_end(name: str) -> None:
    model, prompt = tiny(seed=2, context_length=64), some_ids(5, seed=3)
    whole = generate(model, prompt, 12, repetition_penalty=1.5)
    got = generate_speculatively(model, prompt, 12, DRAFTS[name](model), repetition_penalty=1.5)
    np.testing.assert_array_equal(got.ids, whole)
    for end in set(whole[5:].tolist()):
        got = generate_speculatively(model, prompt, 12, DRAFTS[name](model), eos_id=end)
        np.testing.assert_array_equal(got.ids, generate(model, prompt, 12, eos_id=end))


def test_a_draft_can_be_used_for_several_texts() -> None:
    model = tiny(seed=2, context_length=40)
    draft = DraftModel(tiny(seed=9, num_layers=1, context_length=40))
    for seed in range(4):
        prompt = some_ids(3 + seed, seed=seed // 2)
        assert generate_speculatively(model, prompt, 9, draft).ids.tolist() == greedy(model, prompt, 9)


def test_a_draft_model_drops_rejected_tokens() -> None:
    text, small = some_ids(6), tiny(seed=9, num_layers=1)
    draft = DraftModel(small, 3)
    for other in (text, np.append(text, [1, 2]), np.append(text[:4], [9, 8, 7]), text[:3], np.array([5])):
        fresh, _ = DraftModel(small, 3).propose(other, 3, Sampling(), Generator(0))
        assert draft.propose(other, 3, Sampling(), Generator(0))[0].tolist() == fresh.tolist()


def test_a_perfect_draft_is_always_accepted_and_saves_passes() -> None:
    model = tiny(seed=2, context_length=40)
    for settings in ({}, {"temperature": 1.0, "top_k": 7}):
        got = generate_speculatively(model, [1, 2], 20, DraftModel(model, 4), generator=Generator(3), **settings)
        assert got.accepted >= got.drafted - 1  # but for rounding
        assert got.passes == 4
        assert got.accepted_per_pass == got.accepted / 4 > 3.5
    assert str(got) == f"4 passes, {got.accepted} of {got.drafted} drafted tokens accepted, 4.00 per pass"


def test_greedy_speculation_uses_no_random_numbers() -> None:
    manual_seed(6)
    model = tiny()
    drafts = [PromptLookup(), DraftModel(tiny(seed=9))]
    before = default_generator().state()["position"]
    for draft in drafts:
        generate_speculatively(model, [1, 2, 1], 8, draft)
    assert default_generator().state()["position"] == before


# -- drawn: the same distribution


def exact_distribution(model: GPT, prompt: list[int], count: int, sampling: Sampling) -> dict[Any, float]:
    """The chance of each of the V^count continuations."""
    chances = {(): 1.0}
    for _ in range(count):
        longer = {}
        for new, chance in chances.items():
            ids = np.array([*prompt, *new])
            p = sampling.probabilities(next_logits(model, ids)[None], [ids])[0]
            longer |= {(*new, token): chance * float(p[token]) for token in range(len(p))}
        chances = longer
    return chances


@pytest.mark.parametrize("name", ["lookup", "another model"])
@pytest.mark.parametrize("settings", [pytest.param((1.0,), marks=pytest.mark.slow), (1.5, 2, None, None, 1.4)])
def test_sampled_texts_have_the_models_distribution(name: str, settings: tuple[Any, ...]) -> None:
    changes = {"vocab_size": 3, "embedding_dim": 4, "num_layers": 1, "num_heads": 1}
    model, prompt, sampling = tiny(seed=1, **changes), [0, 2, 0], Sampling(*settings)
    exact = exact_distribution(model, prompt, 3, sampling)
    draft = PromptLookup() if name == "lookup" else DraftModel(tiny(seed=8, **changes), 2)
    generator, counts, accepted, passes = Generator(4), dict.fromkeys(exact, 0), 0, 0
    for _ in range(500):
        got = generate_speculatively(model, prompt, 3, draft, sampling, generator=generator)
        counts[tuple(got.ids[3:].tolist())] += 1
        accepted, passes = accepted + got.accepted, passes + got.passes
    impossible = [new for new, chance in exact.items() if chance == 0]
    assert all(counts[new] == 0 for new in impossible)
    possible = [new for new in exact if exact[new] > 0]
    assert chi_square_is_plausible(np.array([counts[new] for new in possible]), [exact[new] for new in possible])
    assert accepted > 80
    assert passes < 1450


# -- looking ahead where it pays


@pytest.mark.parametrize("length", [1, 4, 17])
def test_generate_looks_ahead_and_writes_the_same(length: int) -> None:
    model, prompt = tiny(seed=2, context_length=40), some_ids(length, seed=3)
    for settings in ({}, {"repetition_penalty": 1.2}, {"eos_id": 5}):
        ahead = generate(model, prompt, 30, **settings)
        np.testing.assert_array_equal(ahead, generate(model, prompt, 30, look_ahead=False, **settings))
        assert list(stream(model, prompt, 30, **settings)) == ahead[length:].tolist()


def test_a_repeating_text_takes_few_passes() -> None:
    model = tiny(seed=2, context_length=200)
    model.final_norm.weight.data[...], model.final_norm.bias.data[...] = 0, 1  # whatever it reads,
    model.head.weight.data[...], model.head.weight.data[7] = 0, 1  # it says 7
    read = count_passes(model, lambda: generate(model, [1, 7, 7], 150))
    assert read < 25
    assert count_passes(model, lambda: generate(model, [1, 7, 7], 150, look_ahead=False)) == 150


def test_sampled_and_batched_texts_are_decoded_one_token_at_a_time() -> None:
    model = tiny(seed=2, context_length=40)
    for prompts, settings in (([1, 2], {"temperature": 1.0}), ([[1, 2], [3, 4]], {}), ([1, 2], {"use_cache": False})):
        assert count_passes(model, lambda p=prompts, s=settings: generate(model, p, 20, **s)) == 20


def count_passes(model: GPT, run: Callable[..., Any]) -> int:
    passes = []
    handle = model.final_norm.register_forward_hook(lambda *_: passes.append(1))
    run()
    handle.remove()
    return len(passes)


def test_the_draft_grows_while_all_is_accepted_and_pauses_after_failures() -> None:
    length = DraftLength()
    seen = []
    for taken in (4, 8, 15, 15, 6, 3):
        seen.append(length.next())
        length.update(seen[-1], taken)
    assert seen == [4, 8, 15, 15, 15, 6]
    assert length.next() == 4
    rests = []
    for _ in range(6):
        length.update(4, 1)
        rests.append(0)
        while not length.next():
            rests[-1] += 1
    assert rests == [4, 8, 16, 32, 64, 64]
    length.update(0, 0)  # nothing was guessed, nothing learned
    assert length.next() == 4
    length.update(4, 2)
    length.update(4, 0)
    assert [length.next() for _ in range(5)] == [0, 0, 0, 0, 4]


# -- drafts


def test_prompt_lookup_copies_what_followed_the_last_time() -> None:
    propose = PromptLookup(tokens=4, ngram=2).propose

    def guess(text: list[int], most: int = 9) -> list[Any]:
        tokens, q = propose(np.array(text), most, Sampling(), Generator(0))
        assert q is None
        return tokens.tolist()

    assert guess([1, 2, 3, 4, 5, 6, 7, 1, 2]) == [3, 4, 5, 6]
    assert guess([1, 2, 3, 4, 5, 6, 7, 1, 2], most=2) == [3, 4]
    assert guess([1, 2, 3, 1, 2, 4, 1, 2]) == [4, 1, 2, 4]  # the later one; then it goes round
    assert guess([5, 9, 8, 5]) == [9, 8, 5, 9]  # one token is known, two are not
    assert guess([7, 7]) == [7, 7, 7, 7]
    assert guess([1, 2, 3]) == guess([1]) == []


def test_a_draft_model_proposes_from_what_it_reports() -> None:
    draft = DraftModel(tiny(seed=9), 3)
    text = some_ids(5)
    tokens, q = draft.propose(text, 9, Sampling(temperature=1.0), Generator(1))
    assert tokens.shape == (3,)
    for i, row in enumerate(q):
        ids = np.append(text, tokens[:i])
        expected = Sampling(temperature=1.0).probabilities(next_logits(draft.model, ids)[None], [ids])[0]
        np.testing.assert_allclose(row, expected, rtol=1e-10)
    assert len(draft.propose(text, 2, Sampling(), Generator(1))[0]) == 2


# -- wrong input


def test_wrong_settings() -> None:
    model = tiny()
    with pytest.raises(ConfigError, match="the draft must have the model's vocabulary, 13 tokens; got 5"):
        generate_speculatively(model, [1], 3, DraftModel(tiny(vocab_size=5)))
    with pytest.raises(ConfigError, match="one prompt at a time"):
        generate_speculatively(model, [[1], [2]], 3, PromptLookup())
    with pytest.raises(ConfigError, match="temperature"):
        generate_speculatively(model, [1], 3, PromptLookup(), temperature=-1)
    for make, wrong in itertools.product([PromptLookup, lambda tokens: DraftModel(model, tokens)], [0, 1.5, None]):
        with pytest.raises(ConfigError, match="tokens must be an integer of at least 1"):
            make(wrong)
    with pytest.raises(ConfigError, match="ngram"):
        PromptLookup(ngram=0)
    nothing = generate_speculatively(model, [1, 2], 0, PromptLookup())
    assert (nothing.ids.tolist(), nothing.passes, nothing.accepted_per_pass) == ([1, 2], 0, 0.0)
