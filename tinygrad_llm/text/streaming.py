"""Text as its ids arrive, one at a time, without ever showing half a character."""

import codecs
from collections.abc import Iterable

from tinygrad_llm.text.tokenizer import Tokenizer


class StreamDecoder:
    """Decodes ids one by one; what it returns, joined, is what `tokenizer.decode` gives for all of them.

    A token may end in the middle of a character. Its bytes wait here until the character is whole, or until it is clear
    that it never will be and U+FFFD takes its place.

    >>> from tinygrad_llm.text.bpe import BPETokenizer
    >>> stream = StreamDecoder(BPETokenizer.train("", vocab_size=257))
    >>> [stream.push(byte) for byte in "né".encode()], stream.finish()
    (['n', '', 'é'], '')
    """

    def __init__(self, tokenizer: Tokenizer, after: Iterable[int] = ()) -> None:
        """`after` holds ids that are already shown, such as the prompt: text goes on from there.

        Raises: IdRangeError, DTypeError
        """
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._first = True
        for token_id in after:
            self.push(token_id)

    def push(self, token_id: int) -> str:
        """The text that has become certain with this id; often one word, sometimes nothing.

        Raises: IdRangeError, DTypeError
        """
        content = self._tokenizer.token_bytes(token_id)
        separator = "" if self._first else self._tokenizer.separator(token_id)
        self._first = False
        return self._decoder.decode(separator.encode() + content)

    def finish(self) -> str:
        """The rest, once no id will follow: U+FFFD if a character was left unfinished, else nothing."""
        return self._decoder.decode(b"", final=True)
