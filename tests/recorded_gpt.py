"""A tiny GPT and its loss, recorded on a tape."""

from tiny_gpt import some_ids

from tinygrad_llm import manual_seed, study
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.study.tape import Tape
from tinygrad_llm.tensor import Tensor

IDS, TARGETS = some_ids(18).reshape(2, 9), some_ids(18, seed=2).reshape(2, 9)


def forward(model: GPT, seed: int = 4) -> Tensor:
    """The loss of `model`, with dropout masks of `seed`."""
    manual_seed(seed)
    return model.loss(IDS, TARGETS)


def recorded(model: GPT) -> Tape:
    """The tape of a forward and backward of `model`."""
    with study.record() as tape:
        loss = forward(model)
        loss.backward()
    return tape
