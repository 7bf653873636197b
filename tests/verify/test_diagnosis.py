"""The checks of `doctor`: a correct model passes all, and each kind of mistake fails the check that is meant for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.verify.diagnosis import diagnose

TEXT = "the quick brown fox jumps over the lazy dog and runs away from it all again"
TOKENIZER = CharTokenizer.train(TEXT)
IDS = TOKENIZER.encode_to_array(TEXT)
BATCH = (IDS[:64].reshape(4, 16), IDS[1:65].reshape(4, 16))


def new_model(tokens: int = TOKENIZER.vocab_size) -> GPT:
    manual_seed(0)
    return GPT(GPTConfig(tokens, 16, 16, 2, 2, dropout=0.1), init="gpt2")


def wrong(model: GPT, untrained: bool = True, batch: tuple[Any, ...] = BATCH) -> list[str]:
    return [str(finding) for finding in diagnose(model, batch, TOKENIZER, untrained) if not finding.ok]


def test_a_correct_model_passes_and_is_left_unchanged() -> None:
    model = new_model()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    findings = list(diagnose(model, BATCH, TOKENIZER, untrained=True))
    assert [str(finding) for finding in findings if not finding.ok] == []
    assert len(findings) == 6 and all(str(finding).startswith("ok") for finding in findings)
    assert model.training and all(p.grad is None for p in model.parameters())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_tokenizer_of_another_size_is_found() -> None:
    smaller, larger = wrong(new_model(TOKENIZER.vocab_size - 3)), wrong(new_model(TOKENIZER.vocab_size + 3))
    assert any("the tokenizer has" in line and "another run" in line for line in smaller)
    assert any("the tokenizer has" in line for line in larger)


def test_initial_weights_too_large_are_found_by_the_first_loss() -> None:
    model = new_model()
    model.head.weight.data *= 100
    assert any("the loss before training is" in line and "initial weights too large" in line for line in wrong(model))


def test_targets_among_the_inputs_are_found_by_the_first_loss() -> None:
    model = new_model()
    model.position_embedding.weight.data[...] = 0
    model.head.weight.data[...] = 100 * model.token_embedding.weight.data
    same = (BATCH[0], BATCH[0])  # targets not shifted: the model need only repeat what it reads
    lines = [line for line in wrong(model, batch=same) if "the answer is among the inputs" in line]
    assert len(lines) == 1 and float(lines[0].split("training is ")[1].split(";")[0]) < 0.5


def test_a_trained_model_worse_than_a_guess_is_found() -> None:
    model = new_model()
    model.head.weight.data *= 100
    assert any("weights that were not loaded" in line for line in wrong(model, untrained=False))


def test_dead_gradients_are_named() -> None:
    model = new_model()
    model.blocks[1].feed_forward.down.weight.data[...] = 0  # nothing of the layer before it reaches the loss
    lines = [line for line in wrong(model) if "gradients that are 0" in line]
    assert len(lines) == 1 and "blocks.1.feed_forward.up.weight" in lines[0]


def test_exploding_gradients_are_found() -> None:
    model = new_model()
    model.token_embedding.weight.data *= 1e-6
    model.position_embedding.weight.data *= 1e-6
    for block in model.blocks:
        block.norm1.eps = block.norm2.eps = 1e-30
    assert any("exploding or vanishing" in line for line in wrong(model))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_not_finite_are_named() -> None:
    model = new_model()
    model.blocks[0].feed_forward.up.weight.data[0, 0] = np.nan
    assert any("weights that are not finite: blocks.0.feed_forward.up.weight" in line for line in wrong(model))


def test_a_model_that_cannot_learn_is_found() -> None:
    model = new_model().requires_grad_(False)
    model.final_norm.bias.requires_grad = True
    assert any("one batch memorised" in line and "frozen" in line for line in wrong(model))
