"""GPT-2's own vocabulary: 50,000 merges, 256 bytes, and `<|endoftext|>`."""

import os
import threading
from typing import Self

from tinygrad_llm.errors import DataError, DownloadError
from tinygrad_llm.text import corpora
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.special_tokens import END_OF_TEXT
from tinygrad_llm.text.vocabulary_files import read_encoder_and_merges

DOWNLOAD_TIME_LIMIT = 120.0  # seconds for tiktoken's own download, which has no limit


class GPT2Tokenizer(BPETokenizer):
    """The tokenizer of GPT-2 (Radford et al. 2019), with exactly the ids of `tiktoken.get_encoding("gpt2")`.

    `GPT2Tokenizer()` uses the `encoder.json` and `vocab.bpe` that `corpora.find("gpt2-vocabulary")` finds; otherwise
    tiktoken's copy, which tiktoken downloads unless it is in tiktoken's cache.
    """

    kind = "gpt2"

    def __init__(self, ranks: dict[bytes, int] | None = None, special_tokens: dict[str, int] | None = None) -> None:
        """Raises: DownloadError if the vocabulary is not found and cannot be downloaded, saying what to set."""
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
    """The vocabulary from tiktoken's cache or download, in a thread, since tiktoken waits for a network without limit.

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
        except Exception as error:  # of the network, the cache folder or the parser
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(DOWNLOAD_TIME_LIMIT)
    if outcome and isinstance(outcome[0], dict):
        ranks = outcome[0]
        return ranks, {END_OF_TEXT: len(ranks)}
    reason = outcome[0] if outcome else f"no answer within {DOWNLOAD_TIME_LIMIT:.0f} seconds"
    raise DownloadError(f"GPT-2's vocabulary: {why}; and tiktoken's own download failed: {reason}")
