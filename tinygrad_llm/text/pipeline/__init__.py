"""Tokenizers made of stages, as Hugging Face's `tokenizer.json` defines them."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.text.pipeline.building import byte_level_bpe, sentencepiece_bpe
    from tinygrad_llm.text.pipeline.tokenizer import PipelineTokenizer

__all__ = ["PipelineTokenizer", "byte_level_bpe", "sentencepiece_bpe"]

__getattr__, __dir__ = lazy_imports(__name__)
