"""DPO: ln 2 and margins of 0 at the start, a reference that never moves, margins that widen."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, manual_seed
from tinygrad_llm.data import DataLoader, PreferenceBatch, PreferenceDataset, TokenizedPreference, collate_preferences
from tinygrad_llm.errors import ConfigError, DataError, ShapeError
from tinygrad_llm.finetune import (
    DPO,
    apply_lora,
    dpo_loss,
    evaluate_preferences,
    frozen_copy,
    sequence_log_probs,
)
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.ops import log_softmax
from tinygrad_llm.random import Generator
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.train import Trainer, TrainingSettings, evaluate

SMALL = GPTConfig(vocab_size=30, context_length=16, embedding_dim=16, num_heads=2, num_layers=2, dropout=0.0)
PAIRS = [
    TokenizedPreference([1, 2, 3, 4], [1, 2, 5], 2),
    TokenizedPreference([6, 7, 8], [6, 7, 9, 10, 11], 2),
    TokenizedPreference([12, 13], [12, 14, 15], 1),
]


def gpt(seed: int = 1, **changes: Any) -> GPT:
    manual_seed(seed)
    return GPT(GPTConfig(**{**SMALL.to_dict(), **changes}))


def batch() -> PreferenceBatch:
    return collate_preferences(PAIRS, pad_id=0)


@pytest.mark.parametrize("average", [True, False])
def test_log_probs_by_the_definition(average: bool) -> None:
    model = gpt().to(np.float64)
    ids, _, mask, _ = batch()
    log_p = log_softmax(model(ids)).data
    expected = []
    for row in range(len(ids)):
        of_tokens = [log_p[row, t - 1, ids[row, t]] for t in range(1, ids.shape[1]) if mask[row, t]]
        expected.append(np.mean(of_tokens) if average else np.sum(of_tokens))
    np.testing.assert_allclose(sequence_log_probs(model, ids, mask, average).data, expected, rtol=1e-12)


def test_nothing_masked_in_is_zero() -> None:
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    mask = np.array([[True, False, False], [False, False, True]])  # the first token has nothing before it
    assert sequence_log_probs(gpt(), ids, mask).data[0] == 0


def test_the_start_is_ln_2_and_no_margin() -> None:
    model = gpt()
    outcome = DPO(frozen_copy(model)).outcome(model, batch())
    assert outcome.loss.item() == pytest.approx(0.693147, abs=5e-7)
    np.testing.assert_array_equal(outcome.chosen_rewards, 0)
    np.testing.assert_array_equal(outcome.rejected_rewards, 0)
    report = evaluate_preferences(model, DPO(frozen_copy(model)), [batch(), batch()])
    assert (report.count, report.margin, report.accuracy) == (6, 0, 0)
    assert report.to_dict()["loss"] == pytest.approx(math.log(2), rel=1e-6)


def test_a_reference_is_evaluated_and_never_trained() -> None:
    model = gpt(dropout=0.5).eval()
    reference = gpt(dropout=0.5)  # in training mode, and nobody has frozen it
    outcome = DPO(reference).outcome(model, batch())
    assert outcome.loss.item() == pytest.approx(math.log(2), rel=1e-6)
    outcome.loss.backward()
    assert all(parameter.grad is None for parameter in reference.parameters())
    assert reference.training


def test_the_loss_of_clear_preferences_is_finite() -> None:
    for margin, expected in ((1e4, 0.0), (-1e4, 1e4), (0.0, math.log(2)), (3.0, math.log1p(math.exp(-3)))):
        chosen = Tensor(np.array([margin]), requires_grad=True)
        loss = dpo_loss(chosen, [0.0], [0.0], [0.0], beta=1.0)
        assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-30)
        loss.backward()
        assert chosen.grad[0] == pytest.approx(-1 / (1 + math.exp(min(margin, 700))), rel=1e-9, abs=1e-300)


def test_padding_changes_nothing() -> None:
    model = gpt().to(np.float64)
    dpo = DPO(frozen_copy(gpt(seed=2).to(np.float64)))
    narrow = batch()
    wide = PreferenceBatch(*[np.pad(part, ((0, 0), (0, 5))) for part in narrow])
    ours, padded = dpo.outcome(model, narrow), dpo.outcome(model, wide)
    assert ours.loss.item() == pytest.approx(padded.loss.item(), rel=1e-12)
    np.testing.assert_allclose(ours.chosen_rewards, padded.chosen_rewards, rtol=1e-9)


def test_gradients_by_finite_differences() -> None:
    model = gpt(num_layers=1).to(np.float64)
    dpo = DPO(frozen_copy(gpt(seed=2, num_layers=1).to(np.float64)), beta=2.0, average=False)
    dpo(model, batch()).backward()
    for parameter in (model.blocks[0].attention.key.weight, model.token_embedding.weight):
        direction = Generator(4).randn(*parameter.shape, dtype=np.float64)
        sides = []
        for step in (1e-5, -1e-5):
            parameter.data += step * direction
            sides.append(dpo(model, batch()).item())
            parameter.data -= step * direction
        assert np.vdot(parameter.grad, direction) == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6, abs=1e-9)


def polite_or_rude(count: int, start: int) -> list[Any]:
    """For each word of two letters, an answer that repeats it (chosen) and one that shouts (rejected)."""
    words = [a + b for a in "abcdef" for b in "abcdef"][start : start + count]
    return [{"instruction": w, "input": "", "chosen": w, "rejected": "no!"} for w in words]


@pytest.mark.parametrize("lora", [False, True])
def test_training_widens_the_margins_on_held_out_pairs(lora: bool) -> None:
    tokenizer = CharTokenizer.train("abcdefno!<|user|>\n<|assistant|>:\n")
    model = gpt(vocab_size=tokenizer.vocab_size, context_length=40)
    dpo = DPO(frozen_copy(model))
    before = {name: p.data.copy() for name, p in dpo.reference.named_parameters()}
    if lora:
        apply_lora(model, 4, 8)
    collate = partial(collate_preferences, pad_id=0)
    train, held_out = (PreferenceDataset(polite_or_rude(*part), tokenizer, "phi3") for part in ((24, 0), (12, 24)))
    validation = list(DataLoader(held_out, 4, collate_fn=collate))
    start = evaluate_preferences(model, dpo, validation)
    assert (start.margin, start.loss) == (0, pytest.approx(math.log(2), rel=1e-6))
    settings = TrainingSettings(steps=25, learning_rate=1e-2, min_learning_rate=0, warmup_steps=3, eval_interval=0)
    loader = DataLoader(train, 8, shuffle=True, collate_fn=collate, generator=Generator(1))
    trainer = Trainer(model, loader, settings, validation, dpo)
    trainer.train()
    end = evaluate_preferences(model, dpo, validation)
    assert end.margin > 0.3
    assert end.loss < start.loss - 0.01
    assert end.accuracy == 1
    assert trainer.val_loss == pytest.approx(end.loss, rel=1e-5)  # the mean over pairs, whatever their widths
    for name, parameter in dpo.reference.named_parameters():
        assert not parameter.requires_grad
        assert before[name].tobytes() == parameter.data.tobytes()


def test_batches_weigh_by_their_pairs() -> None:
    model, dpo = gpt(), DPO(frozen_copy(gpt(seed=2)))
    one, two = collate_preferences(PAIRS[:1], pad_id=0), collate_preferences(PAIRS[1:], pad_id=0)
    together = evaluate(model, [one, two], dpo)
    assert together == pytest.approx((dpo(model, one).item() + 2 * dpo(model, two).item()) / 3, rel=1e-6)


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"both be \(B, T\)"):
        sequence_log_probs(gpt(), [[1, 2]], [[True]])
    for beta in (0, -1.0, math.nan, "1"):
        with pytest.raises(ConfigError, match="beta"):
            DPO(gpt(), beta)
        with pytest.raises(ConfigError, match="beta"):
            dpo_loss([0.0], [0.0], [0.0], [0.0], beta)
    with pytest.raises(DataError, match="at least one batch"):
        evaluate_preferences(gpt(), DPO(gpt()), [])
