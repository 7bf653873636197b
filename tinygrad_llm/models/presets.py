"""Named sizes of a GPT: GPT-2's, four for a laptop, and GPT-3's."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.errors import ConfigError

PRESETS: dict[str, dict[str, Any]] = {
    # GPT-2's four sizes as the book configures them: queries, keys and values without bias, the head not tied.
    "gpt2-small": {"embedding_dim": 768, "num_layers": 12, "num_heads": 12},
    "gpt2-medium": {"embedding_dim": 1024, "num_layers": 24, "num_heads": 16},
    "gpt2-large": {"embedding_dim": 1280, "num_layers": 36, "num_heads": 20},
    "gpt2-xl": {"embedding_dim": 1600, "num_layers": 48, "num_heads": 25},
    # For a laptop: trained in minutes on two cores, too short a time to need dropout.
    "nano": {"embedding_dim": 128, "num_layers": 4, "num_heads": 4, "context_length": 64, "vocab_size": 65},
    "tiny": {"embedding_dim": 128, "num_layers": 4, "num_heads": 4, "context_length": 128, "vocab_size": 4096},
    "micro": {"embedding_dim": 192, "num_layers": 4, "num_heads": 4, "context_length": 128, "vocab_size": 2048},
    "mini": {"embedding_dim": 384, "num_layers": 6, "num_heads": 6, "context_length": 128, "vocab_size": 4096},
    # The eight sizes of GPT-3, Brown et al. 2020 (arXiv:2005.14165), table 2.1. Two of its rows contradict themselves:
    # 24 heads of 128 are not 2,048 wide (xl), 40 heads of 128 not 5,140 (13b). With 16 heads, and 5,120 wide, they have
    # the numbers of parameters of the paper's table D.1.
    "gpt3-small": {"embedding_dim": 768, "num_layers": 12, "num_heads": 12},
    "gpt3-medium": {"embedding_dim": 1024, "num_layers": 24, "num_heads": 16},
    "gpt3-large": {"embedding_dim": 1536, "num_layers": 24, "num_heads": 16},
    "gpt3-xl": {"embedding_dim": 2048, "num_layers": 24, "num_heads": 16},
    "gpt3-2.7b": {"embedding_dim": 2560, "num_layers": 32, "num_heads": 32},
    "gpt3-6.7b": {"embedding_dim": 4096, "num_layers": 32, "num_heads": 32},
    "gpt3-13b": {"embedding_dim": 5120, "num_layers": 40, "num_heads": 40},
    "gpt3-175b": {"embedding_dim": 12288, "num_layers": 96, "num_heads": 96},
}
for _name in ("nano", "tiny", "micro", "mini"):
    PRESETS[_name] |= {"dropout": 0.0, "tie_weights": True}
GPT3 = tuple(name for name in PRESETS if name.startswith("gpt3-"))
for _name in GPT3:
    PRESETS[_name] |= {"context_length": 2048, "qkv_bias": True, "tie_weights": True}


def preset(name: str) -> dict[str, Any]:
    """The settings of a named size. Raises: ConfigError for an unknown name"""
    if name not in PRESETS:
        raise ConfigError(f"GPTConfig.preset: known names are {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]
