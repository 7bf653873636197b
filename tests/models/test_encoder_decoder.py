"""The encoder-decoder: definition, masks, gradients, caches, beam search, and learning to reverse."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, composed_ops, gradcheck, manual_seed, no_grad
from tinygrad_llm.errors import ConfigError, IdRangeError, ShapeError
from tinygrad_llm.generate import beam_search, generate
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.nn import sinusoidal_positions
from tinygrad_llm.optim import AdamW

TINY = EncoderDecoderConfig(
    vocab_size=11, context_length=9, embedding_dim=8, num_heads=2, num_layers=2, dropout=0.0, label_smoothing=0.1
)
SOURCE = np.array([[3, 4, 5, 6, 0], [7, 8, 0, 9, 9]])
LENGTHS = np.array([4, 2])
TARGET = np.array([[0, 2, 3, 4], [0, 5, 6, 7]])
EXPECTED = np.array([[2, 3, 4, 0], [5, 6, -100, -100]])


def tiny(seed: int = 0, **changes: Any) -> Any:
    manual_seed(seed)
    return EncoderDecoder(dataclasses.replace(TINY, **changes)).to(np.float64).eval()


def layer_norm(x: Any, norm: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.eps) * norm.weight.data + norm.bias.data


def attend(part: Any, x: Any, source: Any, visible: Any) -> Any:
    """One head after the other, one query after the other."""
    q, k, v = (layer(rows).data for layer, rows in ((part.query, x), (part.key, source), (part.value, source)))
    width, out = part.head_dim, np.zeros_like(q)
    for head, t in itertools.product(range(part.num_heads), range(len(x))):
        columns = slice(head * width, (head + 1) * width)
        seen = [s for s in range(len(source)) if visible(t, s)]
        weights = np.exp([q[t, columns] @ k[s, columns] / np.sqrt(width) for s in seen])
        out[t, columns] = weights @ v[seen][:, columns] / weights.sum()
    return part.output(out).data


def by_the_paper(model: Any, source: Any, target: Any) -> Any:
    """Section 3 of the paper for one text, without any padding."""
    table = model.token_embedding.weight.data

    def embed(ids: Any) -> Any:
        return table[ids] * np.sqrt(table.shape[1]) + sinusoidal_positions(len(ids), table.shape[1])

    def feed_forward(block: Any, x: Any) -> Any:
        return layer_norm(x + block.feed_forward.down(np.maximum(block.feed_forward.up(x).data, 0)).data, block.norm2)

    memory = embed(source)
    for block in model.encoder:
        memory = layer_norm(memory + attend(block.attention, memory, memory, lambda t, s: True), block.norm1)
        memory = feed_forward(block, memory)
    x = embed(target)
    for block in model.decoder:
        x = layer_norm(x + attend(block.attention, x, x, lambda t, s: s <= t), block.norm1)
        x = layer_norm(x + attend(block.cross_attention, x, memory, lambda t, s: True), block.norm_memory)
        x = feed_forward(block, x)
    return x @ table.T


def test_is_the_model_of_the_paper() -> None:
    model = tiny()
    logits = model(SOURCE, TARGET, LENGTHS).data
    for row, length in enumerate(LENGTHS):
        expected = by_the_paper(model, SOURCE[row, :length], TARGET[row])
        np.testing.assert_allclose(logits[row], expected, rtol=0, atol=1e-12)


def test_future_and_padding_are_hidden_and_the_source_is_visible() -> None:
    model, logits = tiny(), tiny()(SOURCE, TARGET, LENGTHS).data
    changed = TARGET.copy()
    changed[:, 2] = 9
    after = model(SOURCE, changed, LENGTHS).data
    np.testing.assert_array_equal(after[:, :2], logits[:, :2])
    assert (after[:, 2:] != logits[:, 2:]).all()
    changed = SOURCE.copy()
    changed[0, 4] = changed[1, 3] = 1
    np.testing.assert_array_equal(model(changed, TARGET, LENGTHS).data, logits)
    changed[:, 1] = 1
    assert (model(changed, TARGET, LENGTHS).data != logits).all()


@pytest.mark.parametrize("elements", [12, pytest.param(256, marks=pytest.mark.slow)])
def test_gradients_of_the_whole_model(elements: int) -> None:
    config = EncoderDecoderConfig(7, 5, 4, 2, 1, dropout=0.0, label_smoothing=0.1)
    manual_seed(0)
    model = EncoderDecoder(config)
    batch = (SOURCE[:, :3] % 7, np.array([3, 2]), TARGET[:, :3] % 7, EXPECTED[:, :3])
    parameters = dict(model.named_parameters())
    report = gradcheck(lambda: model.loss(*batch), parameters=parameters, elements=elements)
    assert len(report.comparisons) == len(parameters)
    assert elements < 256 or report.cases == model.num_parameters()


def test_equals_its_definitions() -> None:
    model = tiny()
    fused = model.loss(SOURCE, LENGTHS, TARGET, EXPECTED).item()
    with composed_ops():
        assert model.loss(SOURCE, LENGTHS, TARGET, EXPECTED).item() == pytest.approx(fused, rel=1e-12)


def test_smooths_labels_in_training_only() -> None:
    model = tiny()
    logits = model(SOURCE, TARGET, LENGTHS).data
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    rows, places = np.nonzero(EXPECTED != -100)
    plain = -log_p[rows, places, EXPECTED[rows, places]].mean()
    spread = -log_p[rows, places].mean()
    batch = (SOURCE, LENGTHS, TARGET, EXPECTED)
    assert model.loss(*batch).item() == pytest.approx(plain, rel=1e-12)
    assert model.train().loss(*batch).item() == pytest.approx(0.9 * plain + 0.1 * spread, rel=1e-12)


def test_one_table_embeds_both_sides_and_is_the_head() -> None:
    model = tiny()
    names = [name for name, _ in model.named_parameters()]
    assert model.head.weight is model.token_embedding.weight
    assert names.count("token_embedding.weight") == 1 and "head.weight" not in names


# -- decoding


def greedy(model: Any, source: Any, count: int) -> Any:
    """The definition: everything read anew for each token."""
    ids = [0]
    with no_grad():
        for _ in range(count):
            ids.append(int(model(source[None], np.array([ids])).data[0, -1].argmax()))
    return ids


def test_cached_logits_are_those_of_one_pass() -> None:
    model, cache = tiny(), None
    with no_grad():
        whole = model(SOURCE, TARGET, LENGTHS).data
        conditioned = model.conditioned_on(SOURCE, LENGTHS)
        cache = conditioned.new_cache()
        parts = [conditioned.head(conditioned.hidden(TARGET[:, i : i + 1], cache)).data for i in range(4)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=0, atol=1e-13)


def test_the_memory_is_projected_once() -> None:
    model, calls = tiny(), []
    model.decoder[0].cross_attention.key.register_forward_hook(lambda *_: calls.append(1))
    generate(model.conditioned_on(SOURCE[:1]), [np.array([0])], 5, look_ahead=False)
    assert len(calls) == 1


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_texts_of_a_batch_equal_those_generated_alone(use_cache: Any) -> None:
    model = tiny(seed=3)
    ends = {int(i) for i in (2, 4, 6)}  # so that rows of the batch end at different steps
    written = generate(
        model.conditioned_on(SOURCE, LENGTHS),
        [np.array([0])] * 2,
        7,
        eos_id=ends,
        use_cache=use_cache,
        look_ahead=False,
    )
    for row, length in enumerate(LENGTHS):
        alone = greedy(model, SOURCE[row, :length], 7)
        stop = next((place for place, token in enumerate(alone) if place and token in ends), len(alone))
        assert list(written[row]) == alone[:stop]


def test_selected_rows_keep_their_source() -> None:
    """The first row ends at once; what the second reads must still be its own source."""
    for use_cache in (True, False):
        for seed in range(20):
            model = tiny(seed)
            first, second = (greedy(model, SOURCE[row, :length], 5) for row, length in enumerate(LENGTHS))
            if first[1] in second:
                continue
            written = generate(
                model.conditioned_on(SOURCE, LENGTHS),
                [np.array([0])] * 2,
                5,
                eos_id=first[1],
                use_cache=use_cache,
                look_ahead=False,
            )
            assert [list(ids) for ids in written] == [[0], second]
            break
        else:
            raise AssertionError("no model whose texts differ")


def test_beam_search_finds_the_best_texts_with_and_without_caches() -> None:
    model = tiny(seed=1, vocab_size=5)
    source = SOURCE[:1] % 5
    cached, uncached = (
        beam_search(model.conditioned_on(source), np.array([0]), 3, 200, 0.0, 4, use_cache)
        for use_cache in (True, False)
    )
    assert [beam.ids.tolist() for beam in cached] == [beam.ids.tolist() for beam in uncached]
    np.testing.assert_allclose([b.score for b in cached], [b.score for b in uncached], rtol=0, atol=1e-12)

    def log_p(text: Any) -> Any:
        with no_grad():
            logits = model(source, np.array([[0, *text[:-1]]])).data[0]
        return sum(row[t] - np.log(np.exp(row).sum()) for row, t in zip(logits, text, strict=True))

    texts = [
        text
        for n in (1, 2, 3)
        for text in itertools.product(range(5), repeat=n)
        if 4 not in text[:-1] and (n == 3 or text[-1] == 4)
    ]
    best = max(texts, key=log_p)
    assert cached[0].ids.tolist() == [0, *(token for token in best if token != 4)]
    assert cached[0].log_probability == pytest.approx(log_p(best), rel=1e-12)


def test_learns_to_reverse() -> None:
    manual_seed(0)
    model = EncoderDecoder(dataclasses.replace(TINY, embedding_dim=32, num_heads=4, num_layers=1, label_smoothing=0.0))
    optimizer, generator = AdamW(model.parameters(), 4e-3), Generator(1)
    for _ in range(250):
        words = generator.randint(1, 11, (32, 4))
        targets = np.pad(words[:, ::-1], ((0, 0), (0, 1)))
        loss = model.loss(words, np.full(32, 4), np.pad(targets, ((0, 0), (1, 0)))[:, :-1], targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.2
    words = Generator(2).randint(1, 11, (20, 4))
    written = generate(model.eval().conditioned_on(words), [np.array([0])] * 20, 6, eos_id=0, look_ahead=False)
    right = sum(list(ids[1:]) == list(row[::-1]) for ids, row in zip(written, words, strict=True))
    assert right >= 16


# -- what does not fit


@pytest.mark.parametrize(
    ("source", "lengths", "target", "error", "message"),
    [
        (np.zeros((1, 10), int), None, TARGET[:1], ShapeError, "source must be .* at most context_length 9"),
        (SOURCE, None, np.zeros((2, 10), int), ShapeError, "target must be"),
        (SOURCE[0], None, TARGET, ShapeError, "source must be"),
        (SOURCE, [4], TARGET, ShapeError, r"source_lengths must be \(B,\)"),
        (SOURCE, [4, 6], TARGET, IdRangeError, r"source_lengths must be in \[1, 5\]; got 4 to 6"),
        (SOURCE, [0, 1], TARGET, IdRangeError, r"source_lengths must be in \[1, 5\]; got 0 to 1"),
        (SOURCE + 9, None, TARGET, IdRangeError, "embedding"),
    ],
)
def test_wrong_input_is_refused(source: Any, lengths: Any, target: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        tiny()(source, target, lengths)


@pytest.mark.parametrize("changes", [{"label_smoothing": 1.0}, {"num_heads": 3}, {"num_layers": 0}])
def test_settings_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"EncoderDecoderConfig: .*{next(iter(changes))}"):
        EncoderDecoderConfig(**changes)
