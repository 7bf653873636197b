"""The name that a misspelled one may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean train?` for a word that is close to a known one, "" for a word that is not.

    >>> did_you_mean("trian", ["train", "translate", "chat"])
    '; did you mean train?'
    """
    import difflib  # only after a mistake

    bare = {name.lstrip("-"): name for name in known}  # all flags begin alike
    close = difflib.get_close_matches(word[:100].lstrip("-"), list(bare), n=1, cutoff=0.6)
    return f"; did you mean {bare[close[0]]}?" if close else ""
