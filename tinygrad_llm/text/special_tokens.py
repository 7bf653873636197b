"""Special tokens: markers such as `<|endoftext|>` that training puts between texts, each with its own id.

Text from outside must not be able to forge a marker, so `encode` refuses one unless the caller allows it, as tiktoken
does:

- `allowed_special=()` (the default): a special token's text anywhere in the input raises TokenizerError;
- `allowed_special="all"` or a collection of names: those become their single id, the others still raise;
- names that the tokenizer does not know are ignored, so that one call works with every tokenizer;
- `encode_ordinary` encodes a special token's text as ordinary text.

If two special tokens match at one position, the longer one is taken.
"""

import re
from collections.abc import Collection, Iterable
from typing import Literal

from tinygrad_llm.errors import TokenizerError

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unk|>"
FRAME = ("[CLS]", "[SEP]")  # BERT puts these two around a text

AllowedSpecial = Literal["all"] | Collection[str]


def expect_text(text: object) -> str:
    """`text` itself, if it is a str of valid Unicode (no lone surrogates).

    Raises: TokenizerError
    """
    if not isinstance(text, str):
        raise TokenizerError(f"a tokenizer encodes str; got {type(text).__name__}: decode bytes as UTF-8 first")
    if not text.isascii():  # isascii() reads a flag of the string, so ASCII text costs nothing
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TokenizerError(
                f"text must be valid Unicode; character {error.start} is the lone surrogate "
                f"U+{ord(text[error.start]):04X}: read the file as UTF-8 with errors='replace', or remove it"
            ) from None
    return text


def expect_special_tokens(names: Iterable[str]) -> list[str]:
    """The names as a list, if they can be special tokens: non-empty, valid Unicode, all different.

    Raises: TokenizerError
    """
    if isinstance(names, str):
        raise TokenizerError(f"special tokens must be a collection of names; got the single str {names!r}")
    listed = list(names)
    for name in listed:
        if not expect_text(name):
            raise TokenizerError("a special token must be a non-empty str; got ''")
    if len(set(listed)) != len(listed):
        raise TokenizerError(f"special tokens must differ from each other; got {listed}")
    return listed


def expect_allowed(text: str, special_tokens: dict[str, int], allowed_special: AllowedSpecial) -> set[str]:
    """The special tokens that `allowed_special` allows in `text`.

    Raises: TokenizerError if the text holds a special token that is not allowed
    """
    expect_text(text)
    if isinstance(allowed_special, str):
        if allowed_special != "all":
            raise TokenizerError(
                f'allowed_special must be "all" or a collection of names; got {allowed_special!r}: '
                f"write allowed_special={{{allowed_special!r}}}"
            )
        return set(special_tokens)
    allowed = set(special_tokens).intersection(allowed_special)
    for token in special_tokens:
        if token not in allowed and token in text:
            raise TokenizerError(
                f"text must not hold the special token {token!r} unless it is allowed; found at character "
                f"{text.index(token)}: pass allowed_special={{{token!r}}} (or 'all') to encode it as the marker, "
                f"or use encode_ordinary to encode it as ordinary text"
            )
    return allowed


def split_at_special_tokens(text: str, special_tokens: Iterable[str]) -> list[str]:
    """`text` split at its special tokens: ordinary text at even indices, special tokens at odd ones.

    >>> split_at_special_tokens("one<|endoftext|>two", ["<|endoftext|>"])
    ['one', '<|endoftext|>', 'two']
    """
    longest_first = sorted(special_tokens, key=lambda token: (-len(token), token))
    if not longest_first:
        return [text]
    return re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
