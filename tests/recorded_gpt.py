"""A tiny GPT and its loss, recorded on a tape."""

from tiny_gpt import some_ids

from tinygrad_llm import manual_seed, study

IDS, TARGETS = some_ids(18).reshape(2, 9), some_ids(18, seed=2).reshape(2, 9)


def forward(model, seed=4):
    """The loss of `model`, with dropout masks of `seed`."""
    manual_seed(seed)
    return model.loss(IDS, TARGETS)


def recorded(model):
    """The tape of a forward and backward of `model`."""
    with study.record() as tape:
        loss = forward(model)
        loss.backward()
    return tape
