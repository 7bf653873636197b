"""Where a text can be cut so that no merge crosses the cut.

SentencePiece vocabularies come without a pre-tokenizer: the whole text is one piece. Two characters that stand side by
side in no token of the vocabulary are never merged across, so the text can be cut between them, and the ids of each
part be kept. Looked at are the mark of a space, and ASCII letters beside other ASCII characters.
"""

from __future__ import annotations

import re
import string

from tinygrad_llm.text.pipeline.pre_tokenizers import METASPACE
from tinygrad_llm.text.pipeline.vocabulary import Vocabulary

_OTHERS = {*string.punctuation, *string.digits, "\n", "\t", METASPACE}


def part_pattern(vocabulary: Vocabulary, unknown: str | None) -> re.Pattern[str] | None:
    """The pattern that matches one part after the other; None if the vocabulary allows no cut before a space.

    A cut has a character beside it that is a token, so that it separates no two unknown ones.
    """
    letters = {letter for letter in string.ascii_letters if letter in vocabulary.ids}
    if METASPACE not in vocabulary.ids or not letters:
        return None
    separator = vocabulary.free_separator()
    listing = separator.join(vocabulary.ids)
    # Tokens that stand for unknown characters must not be parts of others.
    fallbacks = "|".join(["<0x[0-9A-F]{2}>", *([re.escape(unknown)] if unknown else [])])
    if re.search(f"(?:{fallbacks})[^{separator}]|[^{separator}](?:{fallbacks})", listing):
        return None
    letter = _members(letters)
    ends_before = _OTHERS - set(re.findall(f"(?<={letter}).", listing, re.DOTALL))  # after a letter
    begins_after = _OTHERS - set(re.findall(f".(?={letter})", listing, re.DOTALL)) - {METASPACE}  # before a letter
    joined = {METASPACE, *re.findall(f".(?={METASPACE})", listing, re.DOTALL)} - {separator}  # before a space
    cuts = [f"(?<!{_members(joined)})(?={METASPACE})"]
    cuts += [f"(?<={letter})(?={_members(ends_before)})"] if ends_before else []
    cuts += [f"(?<={_members(begins_after)})(?={letter})"] if begins_after else []
    word = f"{METASPACE}?{letter}+(?={_members(ends_before)})|" if ends_before else ""  # the usual part, found faster
    return re.compile(f"{word}.+?(?:{'|'.join(cuts)}|\\Z)", re.DOTALL)


def _members(characters: set[str]) -> str:
    return f"[{''.join(map(re.escape, sorted(characters)))}]"
