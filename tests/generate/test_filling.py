"""Filling masked tokens: the most likely token per mask, and its space."""

from typing import Any

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.data import MASK
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.generate import fill_masks
from tinygrad_llm.models import Bert, BertConfig
from tinygrad_llm.text import BPETokenizer, CharTokenizer, WordPieceTokenizer

CHARACTERS = CharTokenizer("abc ", [MASK])


def bert(tokenizer: Any, dropout: float = 0.5) -> Bert:
    manual_seed(2)
    return Bert(BertConfig(tokenizer.vocab_size, 8, 16, 2, 1, dropout)).to(np.float64)


def test_takes_the_most_likely_token_at_each_mask() -> None:
    model = bert(CHARACTERS)
    filled, guesses = fill_masks(model, CHARACTERS, f"a{MASK}b{MASK}", top_k=3)
    assert model.training  # as it was before
    logits = model.eval()(np.array([0, 4, 1, 4])).data
    for place, found in zip((1, 3), guesses, strict=True):
        p = np.exp(logits[place]) / np.exp(logits[place]).sum()
        best = np.argsort(-p[:4])[:3]
        assert [guess.text for guess in found] == [CHARACTERS.decode([token]) for token in best]
        np.testing.assert_allclose([guess.probability for guess in found], p[best], rtol=1e-12)
    assert filled == f"a{guesses[0][0].text}b{guesses[1][0].text}"


def test_the_space_before_a_mask_is_masked_with_it() -> None:
    tokenizer = BPETokenizer.train("the cat sat on the mat " * 5, 280, special_tokens=(MASK,))
    model, read = bert(tokenizer), []
    model.token_embedding.register_forward_hook(lambda module, args, output: read.append(args[0].tolist()))
    fill_masks(model, tokenizer, f"the {MASK} sat")
    assert read == [[*tokenizer.encode("the"), tokenizer.special_tokens[MASK], *tokenizer.encode(" sat")]]


def test_a_text_is_read_between_its_frame_tokens() -> None:
    tokenizer = WordPieceTokenizer(["[UNK]", "[CLS]", "[SEP]", MASK, "the", "cat", "##s", "."])
    model, read = bert(tokenizer), []
    model.token_embedding.register_forward_hook(lambda module, args, output: read.append(args[0].tolist()))
    filled, [guesses] = fill_masks(model, tokenizer, f"The {MASK}.", top_k=4)
    assert read == [[1, 4, 3, 7, 2]]
    best = guesses[0].text
    assert filled == f"the{best}." and {guess.text for guess in guesses} == {" the", " cat", "s", "."}
    with pytest.raises(DataError, match=r"at most 8 tokens, .* has 9: shorten it"):
        fill_masks(model, tokenizer, "the " * 6 + MASK)


@pytest.mark.parametrize(
    ("text", "settings", "tokenizer", "error", "message"),
    [
        ("abc", {}, CHARACTERS, DataError, r"at least one \[MASK\]; 'abc' has none"),
        ("", {}, CHARACTERS, DataError, "'' has none"),
        (MASK * 9, {}, CHARACTERS, DataError, "has 9: shorten it"),
        (MASK, {"top_k": 0}, CHARACTERS, ConfigError, "top_k must be an integer of at least 1; got 0"),
        ("a", {}, CharTokenizer("abc de"[:5]), ConfigError, r"the tokenizer must have the token \[MASK\]"),
    ],
)
def test_texts_without_a_mask_or_too_long_are_refused(
    text: str, settings: dict[str, Any], tokenizer: CharTokenizer, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        fill_masks(bert(CHARACTERS), tokenizer, text, **settings)
