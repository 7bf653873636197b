"""The vocabulary of a model: tokens and their ids, which may have gaps."""

from __future__ import annotations

from itertools import chain, count

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.pipeline.fields import Fields

Token = tuple[int, int, int]  # an id, and its start and end in the UTF-8 bytes of the piece that it is in
HIGHEST_ID = (1 << 24) - 1  # a table of all ids must fit into memory


class Vocabulary:
    """The ids of tokens. Raises: TokenizerError, naming the token, for ids that are not integers, or used twice"""

    def __init__(self, ids: dict[str, int], where: str) -> None:
        self.ids = ids
        self.token_of: dict[int, str] = {}
        for token, number in ids.items():
            expect_token_id(number, token, where)
            if number in self.token_of:
                raise TokenizerError(
                    f"{where}: tokens must have ids of their own; {shown(self.token_of[number])} and {shown(token)} "
                    f"both have {number}"
                )
            self.token_of[number] = token

    def free_separator(self) -> str:
        """A string to join tokens with: a space, or another one that is in no token."""
        listing = "".join(self.ids)
        return next(mark for mark in chain(" ", map(chr, count(0xE000))) if mark not in listing)


def expect_token_id(number: object, token: str, where: str) -> int:
    """The id itself. Raises: TokenizerError for one that is no integer from 0 to `HIGHEST_ID`"""
    if type(number) is not int or not 0 <= number <= HIGHEST_ID:
        raise TokenizerError(f"{where}: the id of {shown(token)} must be in 0..{HIGHEST_ID}; got {shown(number)}")
    return number


def read_vocabulary(fields: Fields) -> Vocabulary:
    """The field `vocab`, an object of ids by token. Raises: TokenizerError"""
    ids = fields.raw("vocab")
    if not isinstance(ids, dict):
        raise fields.refusal("vocab", "an object of ids by token", ids)
    return Vocabulary(ids, f"{fields.where}.vocab")


def continuing_bytes(vocabulary: Vocabulary, text: str) -> list[int] | None:
    """The ids of the tokens `<0x00>` to `<0xFF>` of the text's bytes; None if the vocabulary lacks one."""
    ids = [vocabulary.ids.get(f"<0x{byte:02X}>", -1) for byte in text.encode()]
    return None if -1 in ids else ids
