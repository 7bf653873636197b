"""The training step that is measured: its presets, its seed, and that it learns."""

from tinygrad_llm.measure.training_step import PRESETS, TrainingStep
from tinygrad_llm.models import GPT

SMOKE = PRESETS["smoke"]


def test_the_presets_have_the_sizes_of_their_names() -> None:
    sizes = {name: GPT(preset.config).num_parameters() for name, preset in PRESETS.items() if name != "124M"}
    assert sizes["0.8M"] == 809_856 and 12e6 < sizes["12M"] < 12.5e6
    assert [PRESETS[name].tokens for name in ("0.8M", "12M", "124M")] == [12 * 64, 32 * 128, 4 * 256]
    small = PRESETS["124M"].config
    assert (small.vocab_size, small.embedding_dim, small.num_layers, small.num_heads) == (50257, 768, 12, 12)


def test_steps_reduce_the_loss() -> None:
    step = TrainingStep(SMOKE)
    first = step.forward().item()
    for _ in range(20):
        step()
    assert step.forward().item() < first - 0.01
    assert all(parameter.grad is None for parameter in step.parameters)


def test_the_same_seed_gives_the_same_step() -> None:
    losses = [TrainingStep(SMOKE, seed).forward().item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
