"""Cross-attention, word by word."""

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.study import Alignment, align
from tinygrad_llm.text import END_OF_TEXT, BPETokenizer, CharTokenizer

TOKENIZER = BPETokenizer.train(["the dog sees a cat. der Hund sieht eine Katze."] * 3, 300)
SIZES = {"context_length": 24, "embedding_dim": 16, "num_heads": 2, "dropout": 0.5}


def test_weights_are_those_of_the_cross_attention_summed_over_the_tokens_of_a_word() -> None:
    manual_seed(0)
    tokenizer = CharTokenizer("abc .", [END_OF_TEXT])
    model = EncoderDecoder(EncoderDecoderConfig(tokenizer.vocab_size, num_layers=2, **SIZES))
    alignment = align(model, tokenizer, "ab c.", "c a")
    assert (alignment.source, alignment.target) == (["ab", "c", ".", "(end)"], ["c", "a", "(end)"])
    np.testing.assert_allclose(alignment.weights.sum(axis=-1), 1, rtol=1e-5)
    assert model.training

    model.eval()
    end = tokenizer.end_of_text
    source, target = (np.array([row]) for row in ([0, 1, 3, 2, 4, end], [end, 2, 3, 0]))
    assert tokenizer.decode(source[0, :-1]) == "ab c." and tokenizer.decode(target[0, 1:]) == "c a"
    seen = {}
    part = model.decoder[1].cross_attention
    with part.query.register_forward_hook(lambda module, inputs, output: seen.update(query=output.data)):
        model(source, target)
    keys = part.key(model.encode(source).states).data[0]
    query, key = (x.reshape(-1, 2, 8).swapaxes(0, 1) for x in (seen["query"][0], keys))
    shares = np.exp(query @ key.swapaxes(1, 2) / 8**0.5)
    shares = (shares / shares.sum(axis=-1, keepdims=True)).mean(axis=0)
    of_words = np.stack([shares[:, :2].sum(1), shares[:, 2:4].sum(1), shares[:, 4], shares[:, 5]], axis=1)
    expected = [of_words[0], (of_words[1] + of_words[2]) / 2, of_words[3]]
    np.testing.assert_allclose(alignment.weights[1], expected, rtol=1e-4)


def test_tokens_join_to_words_and_punctuation_stays_apart() -> None:
    manual_seed(0)
    model = EncoderDecoder(EncoderDecoderConfig(TOKENIZER.vocab_size, num_layers=1, **SIZES))
    alignment = align(model, TOKENIZER, "the dog sees.", "der Hund, ü")
    assert alignment.source == ["the", "dog", "sees", ".", "(end)"]
    assert alignment.target == ["der", "Hund", ",", "ü", "(end)"]


def test_the_picture_is_darkest_where_the_weight_is_largest() -> None:
    weights = np.array([[[0.5, 0.5], [0.5, 0.5]], [[0.05, 0.95], [0.7, 0.3]]])
    alignment = Alignment(["a", "b"], ["Katze", "du"], weights)
    assert alignment.sharpest_layer == 1
    assert alignment.picture() == "1 a 2 b\n       1  2\nKatze    ██\n   du ▓▓ ░░"
    narrow = alignment.picture(columns=10).splitlines()
    assert narrow[1:] == ["      1 2", "Katze  ██", "   du▓▓░░"]
    long = Alignment(["word"] * 27, ["x" * 40], np.full((1, 1, 27), 1 / 27))
    assert max(map(len, long.picture(columns=80).splitlines())) <= 80
    assert alignment.picture(0).splitlines()[2] == "Katze ▒▒ ▒▒"


def test_texts_that_do_not_fit_are_refused() -> None:
    model = EncoderDecoder(EncoderDecoderConfig(TOKENIZER.vocab_size, num_layers=1, **SIZES))
    for texts, said in ((("", "der"), "one token"), (("the", ""), "one token"), (("the " * 30, "der"), "23 tokens")):
        with pytest.raises(DataError, match=f"a text must have at (least|most) {said}"):
            align(model, TOKENIZER, *texts)
    with pytest.raises(ConfigError, match="end-of-text token"):
        align(model, CharTokenizer("abc"), "a", "b")
