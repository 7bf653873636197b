"""Text to ids and back: characters, the book's words, byte pair encoding, GPT-2's own vocabulary, and WordPiece."""

from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.characters import CharTokenizer
from tinygrad_llm.text.gpt2 import GPT2Tokenizer
from tinygrad_llm.text.saved import load_tokenizer
from tinygrad_llm.text.streaming import StreamDecoder
from tinygrad_llm.text.tokenizer import END_OF_TEXT, UNKNOWN, Tokenizer
from tinygrad_llm.text.wordpiece import WordPieceTokenizer
from tinygrad_llm.text.words import SimpleTokenizerV1, SimpleTokenizerV2, build_vocabulary, split_words

__all__ = [
    "END_OF_TEXT",
    "UNKNOWN",
    "BPETokenizer",
    "CharTokenizer",
    "GPT2Tokenizer",
    "SimpleTokenizerV1",
    "SimpleTokenizerV2",
    "StreamDecoder",
    "Tokenizer",
    "WordPieceTokenizer",
    "build_vocabulary",
    "load_tokenizer",
    "split_words",
]
