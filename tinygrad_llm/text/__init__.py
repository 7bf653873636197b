"""Text to ids and back: characters, the book's words, byte pair encoding, GPT-2's own vocabulary, and WordPiece."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.text.bpe import BPETokenizer
    from tinygrad_llm.text.characters import CharTokenizer
    from tinygrad_llm.text.gpt2 import GPT2Tokenizer
    from tinygrad_llm.text.saved import load_tokenizer, save_tokenizer
    from tinygrad_llm.text.special_tokens import END_OF_TEXT, UNKNOWN
    from tinygrad_llm.text.streaming import StreamDecoder
    from tinygrad_llm.text.tokenizer import Tokenizer
    from tinygrad_llm.text.wordpiece import WordPieceTokenizer
    from tinygrad_llm.text.words import SimpleTokenizerV1, SimpleTokenizerV2, build_vocabulary, split_words

__all__ = ["END_OF_TEXT", "UNKNOWN", "BPETokenizer", "CharTokenizer", "GPT2Tokenizer", "SimpleTokenizerV1"]
__all__ += ["SimpleTokenizerV2", "StreamDecoder", "Tokenizer", "WordPieceTokenizer", "build_vocabulary"]
__all__ += ["load_tokenizer", "save_tokenizer", "split_words"]

__getattr__, __dir__ = lazy_imports(__name__)
