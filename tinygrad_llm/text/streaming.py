"""Decoding ids one at a time, in whole characters."""

from collections.abc import Iterable

from tinygrad_llm.text.tokenizer import Tokenizer, expect_id

_CONTEXT, _LONGEST_CONTEXT = 8, 64  # ids that are decoded again


class StreamDecoder:
    """Decodes ids one by one; the returned pieces, joined, are `tokenizer.decode` of all ids.

    A token may end in the middle of a character. Its text is held back until the character is complete, or until it
    cannot become complete and is replaced by U+FFFD. What a token's text is may depend on the token before, so the ids
    shown last are decoded again with those that follow.

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
        self._shown: list[int] = []
        self._held: list[int] = []
        for token_id in list(after)[-4 * _LONGEST_CONTEXT :]:  # what came before them changes no later text
            self.push(token_id)

    def push(self, token_id: int) -> str:
        """The text that is complete with this id; often one word, sometimes nothing.

        Raises: IdRangeError, DTypeError
        """
        self._held.append(expect_id(token_id, self._tokenizer.vocab_size))
        return "" if self._tokenizer.is_incomplete(self._held) else self.finish()

    def finish(self) -> str:
        """The rest after the last id: U+FFFD if a character is incomplete, else nothing."""
        if not self._held:
            return ""
        both = self._shown + self._held
        text = self._tokenizer.decode(both)[len(self._tokenizer.decode(self._shown)) :]
        # Ids without text, such as those in a gap of the vocabulary, do not take the place of the context.
        self._shown, self._held = both[-(_CONTEXT if text else _LONGEST_CONTEXT) :], []
        return text


def text_after(tokenizer: Tokenizer, before: int, token_id: int) -> str:
    """The text that a token adds after another one: a word tokenizer puts a space before it.

    Raises: IdRangeError, DTypeError
    """
    return tokenizer.decode([before, token_id])[len(tokenizer.decode([before])) :]
