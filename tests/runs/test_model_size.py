"""One number for the size of a model: layers, heads and width by the stated rule."""

import pytest

from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.runs.model_size import sizes_for


@pytest.mark.parametrize("name", ["gpt", "llama", "opt"])
@pytest.mark.parametrize("parameters", [300_000, 1_000_000, 5_000_000, 30_000_000, 160_000_000])
def test_the_model_has_about_the_wanted_number_of_parameters(name: str, parameters: int) -> None:
    architecture = ARCHITECTURES[name]
    settings = architecture.preset("micro")
    sizes = sizes_for(architecture, settings, parameters)
    config = architecture.config_from({**settings, **sizes})
    assert architecture.parameters(config) == pytest.approx(parameters, rel=0.15)
    assert sizes["embedding_dim"] == 32 * sizes["num_heads"]


def test_gpt2_small_comes_out_as_gpt2_small() -> None:
    architecture = ARCHITECTURES["gpt"]
    sizes = sizes_for(architecture, architecture.preset("gpt2-small"), 163_000_000)
    assert (sizes["num_layers"], sizes["embedding_dim"]) == (12, 768)


def test_a_size_below_the_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="--size must be at least"):
        sizes_for(ARCHITECTURES["gpt"], ARCHITECTURES["gpt"].preset("gpt2-small"), 1000)
