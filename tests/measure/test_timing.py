"""Every moment of a timed step is attributed once, and to the right module; durations are not tested."""

import itertools

import numpy as np
import pytest
from tiny_gpt import tiny

from tinygrad_llm import composed_ops, manual_seed, nn, study
from tinygrad_llm.errors import ConfigError, GraphError
from tinygrad_llm.measure import timing
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig

B, T = 2, 5
IDS = np.zeros((B, T), np.int64)


def test_every_module_has_its_forward_and_backward() -> None:
    times = study.time(tiny(), B, T)
    assert {"token_embedding", "blocks.0.attention.query", "blocks.1.feed_forward.down", "final_norm", "loss"} <= (
        times.by_module.keys()
    )
    assert all(forward > 0 and backward > 0 for forward, backward in times.by_module.values())
    assert times.by_module.keys() >= times.counted.by_module.keys()
    printed = str(times).splitlines()
    assert printed[0].split() == ["forward", "backward", "time", "operations"]
    shares = [line.split()[-1] for line in printed if line.startswith("blocks.0.feed_forward.up")]
    assert shares == [f"{times.counted.by_module['blocks.0.feed_forward.up'] / times.counted.forward:.1%}"]


def test_every_tick_of_the_clock_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(timing, "perf_counter", lambda: float(next(ticks)))
    model = tiny()
    with timing.running_modules(model) as (running, _):
        watch = timing.Stopwatch(running)
        with watch.watch():
            loss = model.loss(IDS, IDS)
            watch.times.engine += watch.lap()
            loss.backward()
            watch.times.engine += watch.lap()
    recorded = len(watch._places)
    assert watch.times.total + watch.watching == next(ticks) - 1
    assert sum(watch.times.forward.values()) == recorded
    assert sum(watch.times.backward.values()) == recorded  # each operation's backward once, one tick each
    assert watch.times.engine == recorded + 2


def test_recomputation_counts_as_backward() -> None:
    model = tiny()
    plain = study.time(model, B, T)
    nn.checkpoint_activations(model)
    recomputed = study.time(model, B, T)
    inside = ("blocks.0.feed_forward.up", "linear")
    assert plain.forward[inside] and plain.backward[inside]
    assert not recomputed.forward[inside] and recomputed.backward[inside]
    assert not any(place == timing.UNKNOWN for place in recomputed.backward)


def test_a_definition_in_primitives_counts_for_its_op() -> None:
    with composed_ops():
        times = study.time(tiny(), B, T, repeats=1)
    operations = {operation for path, operation in times.forward if path == "blocks.0.norm1"}
    assert operations == {"layer_norm"} == {op for path, op in times.backward if path == "blocks.0.norm1"}
    assert ("blocks.0.attention", "scaled_dot_product_attention") in times.backward


def test_the_model_is_left_as_it_was() -> None:
    model = tiny()
    model.loss(IDS, IDS).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    manual_seed(5)
    expected = model(IDS).data
    manual_seed(5)
    study.time(model, B, T)
    assert all(p.grad is gradient for p, gradient in zip(model.parameters(), gradients, strict=True))
    np.testing.assert_array_equal(model(IDS).data, expected)


def test_a_model_of_two_inputs() -> None:
    sizes = {"vocab_size": 20, "context_length": 8, "embedding_dim": 8, "num_heads": 2, "num_layers": 1}
    times = study.time(EncoderDecoder(EncoderDecoderConfig(**sizes)), 2, 4, repeats=1)
    assert {"encoder.0.attention.query", "loss"} <= times.by_module.keys()


def test_untimeable_models_and_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        study.time(tiny(), 0, 4)
    with pytest.raises(ConfigError, match="repeats"):
        study.time(tiny(), 1, 4, repeats=0)
    with pytest.raises(GraphError):
        study.time(tiny().requires_grad_(False), 1, 4)
