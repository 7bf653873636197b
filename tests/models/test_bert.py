"""BERT: definition, mask, gradients, loss, and learning to predict masked words."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, composed_ops, gradcheck, manual_seed, nn
from tinygrad_llm.data import mask_tokens
from tinygrad_llm.errors import ConfigError, IdRangeError, ShapeError
from tinygrad_llm.models import Bert, BertConfig
from tinygrad_llm.optim import AdamW

TINY = BertConfig(vocab_size=13, context_length=8, embedding_dim=8, num_heads=2, num_layers=2, dropout=0.0)
IDS = np.array([[1, 5, 2, 9, 0], [7, 3, 3, 12, 4]])
SEGMENTS = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])
TARGETS = np.array([[-100, 4, -100, -100, 2], [-100, -100, 8, -100, -100]])


def tiny(seed: int = 0, spread: bool = True, **changes: Any) -> Any:
    """A BERT whose every parameter, biases and norms included, is its own number."""
    manual_seed(seed)
    model = Bert(dataclasses.replace(TINY, **changes)).to(np.float64)
    if spread:
        for parameter in model.parameters():
            parameter.data += 0.4 * Generator(seed + parameter.data.size).normal(0.0, 1.0, parameter.shape)
    return model.eval()


def layer_norm(x: Any, norm: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.eps) * norm.weight.data + norm.bias.data


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def affine(layer: Any, x: Any) -> Any:
    return x @ layer.weight.data.T + layer.bias.data


def by_the_paper(model: Any, ids: Any, segments: Any) -> Any:
    """Hidden states and logits of one text, one head after the other."""
    tables = (model.token_embedding, model.position_embedding, model.segment_embedding)
    token, position, segment = (table.weight.data for table in tables)
    x = layer_norm(token[ids] + position[: len(ids)] + segment[segments], model.embedding_norm)
    for block in model.blocks:
        part = block.attention
        q, k, v = (affine(layer, x) for layer in (part.query, part.key, part.value))
        attended = np.zeros_like(x)
        for head in range(part.num_heads):
            columns = slice(head * part.head_dim, (head + 1) * part.head_dim)
            weights = np.exp(q[:, columns] @ k[:, columns].T / math.sqrt(part.head_dim))
            attended[:, columns] = weights / weights.sum(-1, keepdims=True) @ v[:, columns]
        x = layer_norm(x + affine(part.output, attended), block.norm1)
        x = layer_norm(x + affine(block.feed_forward.down, gelu(affine(block.feed_forward.up, x))), block.norm2)
    head = model.head
    return x, layer_norm(gelu(affine(head.transform, x)), head.norm) @ token.T + head.bias.data


def test_the_head_can_start_from_token_frequencies() -> None:
    model, ids = tiny(spread=False), np.array([[3, 3, 3, 5]])
    model.begin_with_frequencies(ids)
    shares = (np.bincount(ids[0], minlength=13) + 1) / (4 + 13)
    np.testing.assert_allclose(model.head.bias.data, np.log(shares), rtol=1e-12)
    targets = np.array([[3, 5, 0, -100]])
    context_alone = np.abs(model(ids).data - np.log(shares)).max()
    assert model.loss(ids, targets).item() == pytest.approx(-np.log(shares[[3, 5, 0]]).mean(), abs=2 * context_alone)
    with pytest.raises(IdRangeError):
        model.begin_with_frequencies([13])
    with pytest.raises(ConfigError, match="no masked-word head"):
        tiny(masked_word_head=False).begin_with_frequencies(ids)


def test_is_the_model_of_the_paper() -> None:
    model = tiny()
    hidden, logits = model.hidden(IDS, SEGMENTS).data, model(IDS, SEGMENTS).data
    for row in range(2):
        expected = by_the_paper(model, IDS[row], SEGMENTS[row])
        np.testing.assert_allclose(hidden[row], expected[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(logits[row], expected[1], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model(IDS[0]).data, model(IDS[:1], np.zeros((1, 5), int)).data[0])


def test_every_token_attends_to_every_token_that_the_mask_allows() -> None:
    model, changed = tiny(), IDS.copy()
    changed[:, 4] = 11
    assert (model(changed).data != model(IDS).data).all()
    mask = np.arange(5) < 4
    np.testing.assert_array_equal(model(changed, mask=mask).data[:, :4], model(IDS, mask=mask).data[:, :4])
    np.testing.assert_allclose(model(IDS, mask=mask).data[:, :4], model(IDS[:, :4]).data, rtol=0, atol=1e-13)


def test_gradients_of_the_whole_model() -> None:
    config = BertConfig(7, 5, 4, 2, 2, dropout=0.0, pooler=True)
    manual_seed(0)
    model = Bert(config)
    ids, segments, targets = IDS[:, :4] % 7, SEGMENTS[:, :4], TARGETS[:, 1:] % 7
    targets = np.where(TARGETS[:, 1:] == -100, -100, targets)
    heads = ("pooler.weight", "pooler.bias", "next_sentence.weight", "next_sentence.bias")
    named = dict(model.named_parameters())
    body = {name: parameter for name, parameter in named.items() if name not in heads}
    report = gradcheck(lambda: model.loss(ids, targets), parameters=body, elements=20)
    assert len(report.comparisons) == len(body)
    report = gradcheck(
        lambda: model.next_sentence(model.pooled(model.hidden(ids, segments))),
        parameters={name: p for name, p in named.items() if not name.startswith("head.")},
        elements=8,
    )
    assert len(report.comparisons) == len(named) - len([name for name in named if name.startswith("head.")])


def test_equals_its_definitions() -> None:
    model = tiny()
    fused = model.loss(IDS, TARGETS).item()
    with composed_ops():
        assert model.loss(IDS, TARGETS).item() == pytest.approx(fused, rel=1e-12)


def test_loss_is_the_mean_over_masked_tokens_only() -> None:
    model = tiny()
    logits = model(IDS).data
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    places = np.nonzero(TARGETS != -100)
    assert model.loss(IDS, TARGETS).item() == pytest.approx(-log_p[(*places, TARGETS[places])].mean(), rel=1e-12)
    assert model.loss(IDS, np.full_like(IDS, -100)).item() == 0


def test_the_head_is_tied_and_starts_as_the_paper_says() -> None:
    model = tiny(spread=False)
    names = [name for name, _ in model.named_parameters()]
    assert model.head.weight is model.token_embedding.weight and "head.weight" not in names
    assert all((p.data == 0).all() for name, p in model.named_parameters() if name.endswith("bias"))
    manual_seed(1)
    wide = Bert(BertConfig(vocab_size=500, context_length=8, embedding_dim=64, num_heads=2, num_layers=1))
    assert float(wide.token_embedding.weight.data.std()) == pytest.approx(0.02, rel=0.02)


def test_bert_base_has_the_parameters_of_bert_base() -> None:
    with nn.init.no_initial_values():
        assert Bert(BertConfig(masked_word_head=False, pooler=True)).num_parameters() == 109_482_240
        assert Bert(BertConfig()).num_parameters() == 109_514_298  # BertForMaskedLM
        assert Bert(BertConfig(pooler=True)).num_parameters() == 110_106_428  # BertForPreTraining


def test_learns_to_predict_masked_words() -> None:
    """Texts count upwards from a random number, so both neighbours say what a word is."""
    manual_seed(0)
    model = Bert(BertConfig(13, 8, 32, 4, 1, dropout=0.0))
    optimizer, generator = AdamW(model.parameters(), 5e-3), Generator(1)

    def texts(count: int) -> Any:
        return (generator.randint(0, 12, (count, 1)) + np.arange(8)) % 12

    for _ in range(250):
        model.loss(*mask_tokens(texts(32), 12, 12, generator, 0.25)).backward()
        optimizer.step()
        optimizer.zero_grad()
    ids = texts(40)
    inputs = ids.copy()
    inputs[:, 3] = 12
    assert (model.eval()(inputs).data[:, 3].argmax(-1) == ids[:, 3]).mean() > 0.9


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(np.zeros((1, 9), int)), ShapeError, "T at most context_length 8"),
        (lambda m: m(np.zeros((1, 1, 2), int)), ShapeError, "Bert: ids must be"),
        (lambda m: m(IDS + 1), IdRangeError, "embedding"),
        (lambda m: m(IDS, SEGMENTS + 1), IdRangeError, "embedding"),
        (lambda m: m.loss(IDS, TARGETS[:, :3]), ShapeError, r"targets must be \(2, 5\)"),
        (lambda m: m.pooled(m.hidden(IDS)), ConfigError, "has no pooler"),
        (lambda m: tiny(masked_word_head=False)(IDS), ConfigError, "has no masked-word head"),
        (lambda m: BertConfig(num_segments=0), ConfigError, "num_segments must be an integer of at least 1; got 0"),
        (lambda m: BertConfig(gelu="relu"), ConfigError, "gelu must be one of tanh, none; got 'relu'"),
    ],
)
def test_wrong_input_is_refused(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(tiny())
