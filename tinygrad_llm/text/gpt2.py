"""GPT-2's own vocabulary: 50,000 merges, 256 bytes, and `<|endoftext|>`."""

import os
import threading
from typing import Self

from tinygrad_llm.errors import DataError, DownloadError
from tinygrad_llm.text import corpora
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.special_tokens import END_OF_TEXT
from tinygrad_llm.text.vocabulary_files import read_encoder_and_merges

DOWNLOAD_TIME_LIMIT = 120.0  # seconds for tiktoken's own download, which sets itself no limit


class GPT2Tokenizer(BPETokenizer):
    """The tokenizer of GPT-2 (Radford et al. 2019), with the very ids of `tiktoken.get_encoding("gpt2")`.

    `GPT2Tokenizer()` looks for `encoder.json` and `vocab.bpe` where `corpora.find("gpt2-vocabulary")` does, and asks
    tiktoken for its own copy otherwise, which tiktoken downloads unless its cache has it.
    """

    kind = "gpt2"

    def __init__(self, ranks: dict[bytes, int] | None = None, special_tokens: dict[str, int] | None = None) -> None:
        """Raises: DownloadError where the vocabulary is neither at hand nor to be had, saying what to set."""
        if ranks is None:
            ranks, special_tokens = _find_vocabulary()
        super().__init__(ranks, special_tokens)

    @classmethod
    def from_files(cls, encoder_json: str | os.PathLike[str], vocab_bpe: str | os.PathLike[str]) -> Self:
        """From the two files that OpenAI published (Hugging Face's `vocab.json` and `merges.txt` are the same).

        Raises: FormatError if they are not a vocabulary
        """
        read = read_encoder_and_merges(encoder_json, vocab_bpe)
        return cls(read.ranks, read.special_tokens)


def _find_vocabulary() -> tuple[dict[bytes, int], dict[str, int]]:
    try:
        folder = corpora.find("gpt2-vocabulary")
    except DataError as not_found:
        return _vocabulary_of_tiktoken(str(not_found))
    read = read_encoder_and_merges(folder / "encoder.json", folder / "vocab.bpe")
    return read.ranks, read.special_tokens


def _vocabulary_of_tiktoken(why: str) -> tuple[dict[bytes, int], dict[str, int]]:
    """What tiktoken has in its cache or downloads.

    It runs in a thread of its own, because tiktoken waits for a silent network without end.

    Raises: DownloadError
    """
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    outcome: list[dict[bytes, int] | Exception] = []

    def ask() -> None:
        encoder_json, vocab_bpe = corpora.CORPORA["gpt2-vocabulary"]
        try:
            outcome.append(
                data_gym_to_mergeable_bpe_ranks(
                    vocab_bpe_file=vocab_bpe.url,
                    encoder_json_file=encoder_json.url,
                    vocab_bpe_hash=vocab_bpe.sha256,
                    encoder_json_hash=encoder_json.sha256,
                )
            )
        except Exception as error:  # whatever requests, the cache folder or the parser came to
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(DOWNLOAD_TIME_LIMIT)
    if outcome and isinstance(outcome[0], dict):
        ranks = outcome[0]
        return ranks, {END_OF_TEXT: len(ranks)}
    reason = outcome[0] if outcome else f"no answer within {DOWNLOAD_TIME_LIMIT:.0f} seconds"
    raise DownloadError(f"GPT-2's vocabulary: {why}; and tiktoken's own download failed: {reason}")
