"""Rolling windows score each token once; the metrics of documents."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_base import tiny_model

from tinygrad_llm import manual_seed, no_grad
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.evaluation.documents import ScoredDocument, document_report, evaluate_documents, rolling_windows
from tinygrad_llm.evaluation.task_files import Document
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import BPETokenizer


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 9))
def test_every_token_is_scored_once_after_the_tokens_before_it(count: int, longest: int, overlap: int) -> None:
    overlap = min(overlap, longest)
    ids, done = list(range(100, 100 + count)), 0
    for number, window in enumerate(rolling_windows(ids, 0, longest, overlap)):
        text = ids if number else [0, *ids]  # only the first begins with the prefix
        end = done + window.predicted + len(text) - len(ids)
        assert window.ids == text[end - len(window.ids) : end] and len(window.ids) <= longest + 1
        assert window.predicted >= 1 and len(window.ids) - window.predicted >= (overlap if number else 1)
        done += window.predicted
    assert done == count


def test_the_log_likelihood_of_a_document_is_that_of_its_windows() -> None:
    tokenizer = BPETokenizer.train("", vocab_size=257)
    manual_seed(2)
    model = GPT(GPTConfig(257, 8, embedding_dim=16, num_heads=2, num_layers=1)).eval()
    texts, samples = ["abc", "a longer text, é", "x"], []
    report = evaluate_documents(model, tokenizer, [Document(text) for text in texts], 256, log=samples.append)
    for text, sample in zip(texts, samples, strict=True):
        total = 0.0
        for window in rolling_windows(tokenizer.encode_ordinary(text), 256, 8):
            with no_grad():
                logits = model(np.array([window.ids[:-1]])).data[0].astype(np.float64)
            log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
            chosen = log_probs[np.arange(len(window.ids) - 1), window.ids[1:]]
            total += chosen[-window.predicted :].sum()
        assert sample.log_likelihood == pytest.approx(total, rel=1e-5)
        assert (sample.tokens, sample.bytes) == (len(text.encode()),) * 2
    total = -sum(sample.log_likelihood for sample in samples)
    assert report.metrics["bits_per_byte"].value == pytest.approx(total / math.log(2) / 21)
    assert report.notes["windows"] == 1 + 3 + 1
    with pytest.raises(DataError, match="at least one document"):
        evaluate_documents(model, tokenizer, [], 256)
    with pytest.raises(ConfigError, match="overlap must be at most longest; got 9 and 8"):
        evaluate_documents(model, tokenizer, [Document("a")], 256, overlap=9)


def test_a_document_without_a_token_is_refused_and_equal_ones_are_counted_each(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = tiny_model(context_length=8)
    samples: list[ScoredDocument] = []
    texts = ["twice the same", "once", "twice the same"]
    evaluate_documents(model, tokenizer, [Document(text) for text in texts], 256, log=samples.append)
    assert [sample.text for sample in samples] == texts
    assert samples[0].log_likelihood == pytest.approx(samples[2].log_likelihood) and samples[0].tokens == 14
    silent, encode = BPETokenizer.train("", vocab_size=257), tokenizer.encode_ordinary
    monkeypatch.setattr(silent, "encode_ordinary", lambda text: encode(text.replace("-", "")))
    with pytest.raises(DataError, match="document 0: a document must have a token of the model's tokenizer; got '--'"):
        evaluate_documents(model, silent, [Document("--"), Document("a long text")], 256)


def test_words_are_counted_as_in_lm_evaluation_harness() -> None:
    assert [ScoredDocument(text, -1.0, 1, 1).words for text in ("a", " a b\n", "a  b")] == [1, 4, 2]


def test_an_impossible_text_has_a_finite_perplexity_and_one_document_no_error() -> None:
    metrics = document_report([ScoredDocument("a", -5000.0, 1, 1)]).metrics
    assert math.isfinite(metrics["word_perplexity"].value) and metrics["bits_per_byte"].standard_error is None
