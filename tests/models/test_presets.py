"""The named sizes of a GPT: each is valid, and those of GPT-3 have the paper's numbers of parameters."""

import pytest

from tinygrad_llm import nn
from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.models.presets import GPT3, PRESETS, preset

# Brown et al. 2020, table D.1. Units: millions of parameters
PAPER = (125, 356, 760, 1_320, 2_650, 6_660, 12_850, 174_600)


def test_every_size_is_a_config() -> None:
    assert all(isinstance(GPTConfig.preset(name), GPTConfig) for name in PRESETS)
    assert ARCHITECTURES["llama"].presets.keys() == PRESETS.keys() - {*GPT3}


@pytest.mark.parametrize(("name", "millions"), list(zip(GPT3, PAPER, strict=True)))
def test_gpt3_has_the_parameters_of_the_paper(name: str, millions: int) -> None:
    config = GPTConfig.preset(name)
    by_formula = ARCHITECTURES["gpt"].parameters(config)
    assert by_formula == pytest.approx(millions * 1e6, rel=0.004)
    if name in ("gpt3-small", "gpt3-medium"):
        with nn.init.no_initial_values():
            assert GPT(config).num_parameters() == pytest.approx(by_formula, rel=0.001)


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"known names are gpt2-small, .*gpt3-175b; got 'gpt4'"):
        preset("gpt4")
