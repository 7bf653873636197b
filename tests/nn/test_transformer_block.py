"""The block: its parts, what it adds to the residual stream, its gradients."""

from typing import Any

import numpy as np

from tinygrad_llm import Generator, Tensor, gradcheck, manual_seed, nn


def block_of_gpt(width: int = 4, heads: int = 2, hidden: Any = None, dropout: float = 0.0) -> Any:
    """A block of GPT-2's parts."""
    attention = nn.MultiHeadAttention(width, heads, dropout, causal=True)
    return nn.TransformerBlock(attention, nn.FeedForward(width, hidden), lambda: nn.LayerNorm(width), dropout)


def test_block_adds_each_part_to_the_residual_stream() -> None:
    manual_seed(1)
    block = block_of_gpt(hidden=6)
    x = Tensor(Generator(0).randn(2, 3, 4))
    assert block.feed_forward.up.weight.shape == (6, 4)
    middle = x + block.attention(block.norm1(x))
    np.testing.assert_array_equal(block(x).data, (middle + block.feed_forward(block.norm2(middle))).data)
    for part in (block.attention.output, block.feed_forward.down):
        for parameter in part.parameters():
            parameter.data[...] = 0
    np.testing.assert_array_equal(block(x).data, x.data)  # nothing added: the stream passes unchanged


def test_dropout_applies_to_the_outputs_of_attention_and_feed_forward() -> None:
    block, made, dropped = block_of_gpt(dropout=0.5), [], []
    block.attention.register_forward_hook(lambda module, args, output: made.append(output))
    block.feed_forward.register_forward_hook(lambda module, args, output: made.append(output))
    block.dropout.register_forward_hook(lambda module, args, output: dropped.append((args[0], output)))
    x = Tensor(Generator(0).randn(1, 3, 4))
    y = block(x)
    assert [id(read) for read, _ in dropped] == [id(output) for output in made]
    np.testing.assert_array_equal(y.data, ((x + dropped[0][1]) + dropped[1][1]).data)


def test_norms_after_the_parts_apply_to_what_they_add() -> None:
    manual_seed(3)
    attention, feed_forward = nn.MultiHeadAttention(4, 2, causal=True), nn.FeedForward(4)
    block = nn.TransformerBlock(
        attention, feed_forward, lambda: nn.LayerNorm(4), norm_after=lambda: nn.RMSNorm(4, around_one=True)
    )
    assert {name.split(".")[0] for name, _ in block.named_parameters() if "after" in name} == {
        "norm1_after",
        "norm2_after",
    }
    x = Tensor(Generator(0).randn(2, 3, 4), requires_grad=True)
    middle = x + block.norm1_after(attention(block.norm1(x)))
    expected = middle + block.norm2_after(feed_forward(block.norm2(middle)))
    np.testing.assert_array_equal(block(x).data, expected.data)
    gradcheck(block, [x], parameters=dict(block.named_parameters()))


def test_block_gradients() -> None:
    manual_seed(5)
    block = block_of_gpt()
    x = Tensor(Generator(1).randn(1, 3, 4), requires_grad=True)
    gradcheck(block, [x], parameters=dict(block.named_parameters()))
