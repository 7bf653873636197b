"""Decoding ids one at a time, in whole characters."""

import codecs
from collections.abc import Iterable

from tinygrad_llm.text.tokenizer import Tokenizer


class StreamDecoder:
    """Decodes ids one by one; the returned pieces, joined, are `tokenizer.decode` of all ids.

    A token may end in the middle of a character. Its bytes are held back until the character is complete, or until it
    cannot become complete and is replaced by U+FFFD.

    >>> from tinygrad_llm.text.bpe import BPETokenizer
    >>> stream = StreamDecoder(BPETokenizer.train("", vocab_size=257))
    >>> [stream.push(byte) for byte in "né".encode()], stream.finish()
    (['n', '', 'é'], '')
    """

    def __init__(self, tokenizer: Tokenizer, after: Iterable[int] = ()) -> None:
        """`after` holds ids whose text is already shown, such as the prompt.

        Raises: IdRangeError, DTypeError
        """
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._first = True
        for token_id in after:
            self.push(token_id)

    def push(self, token_id: int) -> str:
        """The text that is complete with this id; often one word, sometimes nothing.

        Raises: IdRangeError, DTypeError
        """
        content = self._tokenizer.token_bytes(token_id)
        separator = "" if self._first else self._tokenizer.separator(token_id)
        self._first = False
        return self._decoder.decode(separator.encode() + content)

    def finish(self) -> str:
        """The rest after the last id: U+FFFD if a character is incomplete, else nothing."""
        return self._decoder.decode(b"", final=True)
