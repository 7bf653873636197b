"""Merges in place of scores, for files that can list merges only."""

from __future__ import annotations

from typing import Any


def with_merges(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition with a list of merges; itself if it has one.

    A token is made by every pair of tokens that it can be cut into; the pairs of one token follow each other, the
    shorter left part first. Scores treat them alike and take the leftmost in the text: a text with overlapping pairs
    of equal score, such as "aaa", may be split otherwise by the list.
    """
    model = definition.get("model")
    if not isinstance(model, dict) or "scores" not in model:
        return definition
    scored = [(score, token) for token, score in zip(model["vocab"], model["scores"], strict=True) if score is not None]
    merges = [
        [token[:cut], token[cut:]]
        for _, token in sorted(scored, key=lambda entry: -entry[0])
        for cut in range(1, len(token))
        if token[:cut] in model["vocab"] and token[cut:] in model["vocab"]
    ]
    return definition | {"model": {key: value for key, value in model.items() if key != "scores"} | {"merges": merges}}
