"""Text from a model: greedy, sampled, streamed, by beam search, and several tokens at a time."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

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

__all__ = ["Beam", "Draft", "DraftModel", "Guess", "PromptLookup", "Sampling", "Speculation", "apply_temperature"]
__all__ += ["beam_search", "fill_masks", "generate", "generate_speculatively", "keep_min_p", "keep_top_k"]
__all__ += ["keep_top_p", "penalize_repetition", "stream", "stream_text", "translate", "until_stop"]

__getattr__, __dir__ = lazy_imports(__name__)
