"""Text from a model: greedy, sampled, streamed, by beam search, and several tokens at a time."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_names

if TYPE_CHECKING:
    from tinygrad_llm.generate.beam import Beam, beam_search
    from tinygrad_llm.generate.decoding import generate
    from tinygrad_llm.generate.filling import Guess, fill_masks
    from tinygrad_llm.generate.sampling import (
        Sampling,
        apply_temperature,
        keep_min_p,
        keep_top_k,
        keep_top_p,
        penalize_repetition,
    )
    from tinygrad_llm.generate.speculative import Draft, DraftModel, PromptLookup, Speculation, generate_speculatively
    from tinygrad_llm.generate.streaming import stream, stream_text, until_stop
    from tinygrad_llm.generate.translation import translate

__all__ = [
    "Beam",
    "Draft",
    "DraftModel",
    "Guess",
    "PromptLookup",
    "Sampling",
    "Speculation",
    "apply_temperature",
    "beam_search",
    "fill_masks",
    "generate",
    "generate_speculatively",
    "keep_min_p",
    "keep_top_k",
    "keep_top_p",
    "penalize_repetition",
    "stream",
    "stream_text",
    "translate",
    "until_stop",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tinygrad_llm.generate.beam": ("Beam", "beam_search"),
        "tinygrad_llm.generate.decoding": ("generate",),
        "tinygrad_llm.generate.filling": ("Guess", "fill_masks"),
        "tinygrad_llm.generate.sampling": (
            "Sampling",
            "apply_temperature",
            "keep_min_p",
            "keep_top_k",
            "keep_top_p",
            "penalize_repetition",
        ),
        "tinygrad_llm.generate.speculative": (
            "Draft",
            "DraftModel",
            "PromptLookup",
            "Speculation",
            "generate_speculatively",
        ),
        "tinygrad_llm.generate.streaming": ("stream", "stream_text", "until_stop"),
        "tinygrad_llm.generate.translation": ("translate",),
        "tinygrad_llm.generate.decodable": (),
        "tinygrad_llm.generate.ending": (),
        "tinygrad_llm.generate.starting": (),
        "tinygrad_llm.generate.decoding_state": (),
    },
)
