"""Activation checkpointing: less memory, results equal to the bit."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import buffers, nn
from tinygrad_llm.errors import ConfigError, GraphError
from tinygrad_llm.graph import no_grad
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn import checkpoint, checkpoint_activations
from tinygrad_llm.optim import AdamW
from tinygrad_llm.random import Generator, default_generator, manual_seed
from tinygrad_llm.tensor import Tensor

CONFIG = GPTConfig(vocab_size=31, context_length=16, embedding_dim=24, num_heads=3, num_layers=3, dropout=0.2)


def batch(config: GPTConfig, rows: int = 2) -> Any:
    return Generator(5).randint(0, config.vocab_size, (rows, config.context_length))


def trained(on: bool, own_generator: bool) -> tuple[list[bytes], Any]:
    """The bytes of all losses, gradients and weights of four steps, and where the generator stands after them."""
    manual_seed(1)
    model = GPT(CONFIG)
    generator = Generator(9) if own_generator else default_generator()
    if own_generator:
        nn.draw_dropout_from(model, generator)
    checkpoint_activations(model, on)
    optimizer, seen = AdamW(model.parameters(), 1e-2), []
    for _ in range(4):
        model.zero_grad()
        for _ in range(2):  # gradients that are added up, too
            loss = model.loss(batch(CONFIG), batch(CONFIG))
            loss.backward()
            seen.append(loss.data.tobytes())
        for parameter in model.parameters():
            assert parameter.grad is not None
            seen.append(parameter.grad.tobytes())
        optimizer.step()
    return seen + [parameter.data.tobytes() for parameter in model.parameters()], generator.rand(3).tolist()


@pytest.mark.parametrize("own_generator", [False, True])
def test_training_is_the_same_to_the_bit(own_generator: bool) -> None:
    assert trained(True, own_generator) == trained(False, own_generator)


def test_retained_graphs_are_recomputed_each_time() -> None:
    manual_seed(2)
    linear, x = nn.Linear(3, 3), Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = checkpoint(linear, x).sum()
    y.backward(retain_graph=True)
    assert x.grad is not None and linear.weight.grad is not None
    once, weight_once = x.grad.copy(), linear.weight.grad.copy()
    y.backward()
    np.testing.assert_array_equal(x.grad, 2 * once)
    np.testing.assert_array_equal(linear.weight.grad, 2 * weight_once)
    with pytest.raises(GraphError, match="walked once"):
        y.backward()


def test_parameters_have_gradients_where_the_input_needs_none() -> None:
    linear = nn.Linear(3, 3)
    checkpoint(linear, x=Tensor(np.ones((2, 3), np.float32))).sum().backward()
    assert linear.weight.grad is not None


def peak(on: bool) -> int:
    manual_seed(1)
    config = GPTConfig.preset("nano", num_layers=8)
    model = GPT(config)
    checkpoint_activations(model, on)
    tracemalloc.start()
    try:
        model.loss(batch(config, 4), batch(config, 4)).backward()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "SMALLEST", 1 << 40)  # memory that is used again would hide what is needed
    assert peak(True) < 0.7 * peak(False)


def test_without_training_nothing_changes() -> None:
    model = GPT(CONFIG).eval()
    ids = batch(CONFIG)
    with no_grad():
        plain = model(ids).data
        checkpoint_activations(model)
        model.train()  # even in training mode a cache is filled once
        cache = model.new_cache()
        model(ids[:, :4], cache)
        assert cache.length == 4
        model.eval()
        np.testing.assert_array_equal(model(ids).data, plain)
    assert model(ids).requires_grad


def test_a_block_s_hooks_run_once_with_its_graph() -> None:
    model, seen = GPT(CONFIG), []
    checkpoint_activations(model)
    model.blocks[1].register_forward_hook(lambda module, args, output: seen.append(output.requires_grad))
    model.loss(batch(CONFIG), batch(CONFIG)).backward()
    assert seen == [True]


def test_hooks_of_a_checkpointed_module_run_in_both_forwards() -> None:
    linear, seen = nn.Linear(2, 2), []
    linear.register_forward_hook(lambda module, args, output: seen.append(output.requires_grad))
    checkpoint(linear, Tensor(np.ones((1, 2), np.float32))).sum().backward()
    assert seen == [False, True]


def test_modules_that_cannot_be_recomputed_are_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    x = Tensor(np.ones((2, 4), np.float32), requires_grad=True)
    with pytest.raises(ConfigError, match="must be one Tensor; Pair gave a tuple"):
        checkpoint(Pair(), x)
    with pytest.raises(ConfigError, match="MixtureOfExperts"):
        checkpoint(nn.MixtureOfExperts(4, 2, 1, lambda: nn.Linear(4, 4)), x)
    linear = nn.Linear(4, 4)
    y = checkpoint(linear, x).sum()
    linear.eval()
    with pytest.raises(GraphError, match="mode of its forward"):
        y.backward()
