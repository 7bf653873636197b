"""The settings of sampling, in a file without NumPy: commands import it for their flags and help."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_llm.settings import Settings, setting


@dataclass(frozen=True)
class SamplingSettings(Settings):
    """How the next token is chosen: the most likely one at temperature 0, else a draw from the tokens that are left.

    None turns a setting off. Raises ConfigError naming the setting outside its range.
    """

    temperature: float = setting(
        0.0, "temperature of the softmax: below 1 sharper, above 1 flatter; 0: always the most likely token", least=0
    )
    top_k: int | None = setting(None, "sample from the N most likely tokens only", least=1)
    top_p: float | None = setting(
        None,
        "sample from the most likely tokens whose probabilities add up to X (nucleus sampling)",
        above=0,
        most=1,
        noun="probability",
    )
    min_p: float | None = setting(
        None,
        "exclude tokens less likely than X times the most likely one",
        least=0,
        most=1,
        noun="probability",
    )
    repetition_penalty: float | None = setting(
        None, "penalty on tokens that the text already has; above 1 makes them less likely, 1: no penalty", above=0
    )
