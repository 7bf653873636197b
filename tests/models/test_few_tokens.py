"""The fast form of a pass over a few tokens equals its definition, for every model and every option."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, Tensor, manual_seed, nn, no_grad
from tinygrad_llm.finetune import apply_lora
from tinygrad_llm.graph import observe
from tinygrad_llm.models import GPT, OPT, GPTConfig, LanguageModel, Llama, LlamaConfig, OPTConfig, few_tokens
from tinygrad_llm.ops.dispatch import composed_ops, intercept
from tinygrad_llm.verify.model_cases import give_weights

SMALL: dict[str, Any] = {"vocab_size": 13, "context_length": 24, "embedding_dim": 16, "num_heads": 4, "num_layers": 2}


YARN = {"type": "yarn", "factor": 4.0, "original_context_length": 8}


def gpt(**options: Any) -> Callable[[], LanguageModel]:
    return lambda: GPT(GPTConfig(**SMALL | options), init="gpt2")


def llama(**options: Any) -> Callable[[], LanguageModel]:
    return lambda: Llama(LlamaConfig(**SMALL | options))


def latent() -> LanguageModel:
    model = gpt()()
    for block in model.blocks:
        block.attention = nn.MultiHeadLatentAttention(16, 4, 6, rotary=nn.RotaryPositions(4))
    return model


def after_each_sum() -> LanguageModel:
    model = gpt()()
    for block in model.blocks:
        block.norm_first = False
    return model


def with_lora() -> LanguageModel:
    model = llama()()
    apply_lora(model, rank=2, alpha=4)
    return model


MODELS: dict[str, Callable[[], LanguageModel]] = {
    "gpt": gpt(),
    "gpt with biases, a tied head and the exact GELU": gpt(qkv_bias=True, tie_weights=True, gelu="none"),
    "norms after each sum": after_each_sum,
    "opt": lambda: OPT(OPTConfig(**SMALL)),
    "llama": llama(),
    "llama with shared heads": llama(num_kv_heads=2, tie_weights=True, rope_base=500.0),
    "llama with one head of keys": llama(num_kv_heads=1, head_dim=8, output_bias=True, qkv_bias=True),
    "llama with norms of heads": llama(num_kv_heads=2, qk_norm=True, activation="gelu"),
    "llama with a window": llama(num_kv_heads=2, window=4),
    "llama with norms after its parts": llama(norm_place="after", joint_qk_norm=True, num_kv_heads=2),
    "llama with bounded scores": llama(attention_softcap=3.0, query_pre_attention_scalar=7.0, logit_softcap=5.0),
    "llama with different layers": llama(
        window=4,
        full_attention_layers=(1,),
        window_rope_base=100.0,
        norm_place="both",
        num_experts=4,
        dense_layers=(0,),
    ),
    "llama with stretched rotations": llama(rope_scaling=YARN),
    "gemma": llama(norm_around_one=True, scale_embeddings=True, activation="gelu_tanh"),
    "experts": llama(num_experts=4, experts_per_token=2),
    "latent attention": latent,
    "lora": with_lora,
}


def made(name: str, dtype: type = np.float64) -> LanguageModel:
    manual_seed(0)
    model = MODELS[name]()
    give_weights(model)
    return model.to(dtype).eval()


@contextmanager
def the_definition() -> Iterator[None]:
    """Every pass runs the layers' own forward."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_tokens, "suits", lambda *arguments: False)
        yield


def ids(*shape: int) -> np.ndarray:
    return Generator(len(shape)).randint(0, 13, shape)


def passes(model: LanguageModel, batch: int, counts: list[int], mask: Any = None) -> list[np.ndarray]:
    """The hidden states of consecutive passes over so many new tokens each."""
    cache, text, states, start = model.new_cache(), ids(batch, sum(counts)), [], 0
    with no_grad():
        for count in counts:
            stop = start + count
            seen = None if mask is None else mask[..., :stop]
            states.append(model.hidden(text[:, start:stop], cache, seen).data)
            start = stop
    return states


COUNTS = [3, 1, 1, 4, 1, 1, 7]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_it_equals_the_definition(name: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, used = made(name), []
    fast = few_tokens.hidden
    monkeypatch.setattr(few_tokens, "hidden", lambda *arguments: used.append(1) or fast(*arguments))
    got = passes(model, batch, COUNTS)
    assert len(used) == len(COUNTS)
    with the_definition():
        expected = passes(model, batch, COUNTS)
    assert len(used) == len(COUNTS)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == np.float64
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-13)


@pytest.mark.parametrize("name", MODELS)
def test_float32_stays_and_differs_by_rounding_only(name: str) -> None:
    model = made(name, np.float32)
    got = passes(model, 2, COUNTS)
    with the_definition():
        expected = passes(model, 2, COUNTS)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


def masks() -> dict[str, np.ndarray]:
    keys = np.arange(sum(COUNTS))
    padding = (keys >= np.array([0, 2, 5])[:, None])[:, None, None, :]
    per_head = (keys + np.arange(4)[:, None] > 1)[None, :, None, :]
    return {
        "padding": padding,
        "one for all texts": keys != 1,
        "per head": per_head,
        "added": np.where(padding, 0.0, -1.5),
    }


@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("name", ["gpt", "llama with shared heads", "llama with a window"])
def test_masks_hide_the_same_keys(name: str, mask: str) -> None:
    model = made(name)
    got = passes(model, 3, COUNTS, masks()[mask])
    with the_definition():
        expected = passes(model, 3, COUNTS, masks()[mask])
    for one, other in zip(got, expected, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-13)


def test_padded_texts_have_positions_of_their_own() -> None:
    model, positions = made("llama"), np.array([[3], [1]])
    states = []
    for _ in range(2):
        cache = model.new_cache()
        with no_grad():
            model.hidden(ids(2, 3), cache)
            states.append(model.hidden(ids(2, 1), cache, None, positions).data)
            with the_definition():
                cache.truncate(3)
                states.append(model.hidden(ids(2, 1), cache, None, positions).data)
    np.testing.assert_allclose(states[0], states[1], rtol=0, atol=1e-13)


def test_new_weights_count_from_the_next_pass_on() -> None:
    model, cache = made("llama"), None
    cache = model.new_cache()
    with no_grad():
        model.hidden(ids(1, 2), cache)
        before = model.hidden(ids(1, 1), cache).data
        model.blocks[0].feed_forward.down.weight.data *= 2
        cache.truncate(2)
        after = model.hidden(ids(1, 1), cache).data
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize("path", ["blocks.1", "blocks.0.attention", "blocks.0.attention.query", "blocks.1.norm2"])
def test_a_hook_sees_and_replaces_the_output(path: str) -> None:
    model = made("llama")
    layer = dict(model.named_modules())[path]
    shapes: list[tuple[int, ...]] = []

    def shifted(module: Any, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        shapes.append(arguments[0].shape)
        return output + Tensor(np.arange(output.shape[-1]) / 4.0)

    handle = layer.register_forward_hook(shifted)
    got = passes(model, 2, [2, 1])
    assert shapes == [(2, 2, 16), (2, 1, 16)]
    with the_definition():
        expected = passes(model, 2, [2, 1])
    handle.remove()
    np.testing.assert_allclose(got[-1], expected[-1], rtol=0, atol=1e-13)
    assert np.abs(got[-1] - passes(model, 2, [2, 1])[-1]).max() > 1e-3


def test_a_layer_with_another_forward_runs_it() -> None:
    model = made("llama")
    expected = passes(model, 1, [2, 1])[-1]
    layer = model.blocks[0].feed_forward
    layer.forward = lambda x: x * 0.5
    got = passes(model, 1, [2, 1])[-1]
    assert np.abs(got - expected).max() > 1e-3
    with the_definition():
        np.testing.assert_allclose(got, passes(model, 1, [2, 1])[-1], rtol=0, atol=1e-13)


def test_layers_in_training_mode_keep_their_dropout() -> None:
    model = GPT(GPTConfig(**SMALL, dropout=0.5)).eval()
    model.blocks[0].train()
    with no_grad():
        one, other = (model.hidden(ids(1, 4), model.new_cache()).data for _ in range(2))
    assert (one != other).any()


def test_handlers_and_observers_see_every_op() -> None:
    model, names, seen = made("gpt"), [], []

    def note(op_name: str, call: Any, *args: Any, **kwargs: Any) -> Tensor:
        names.append(op_name)
        return call(*args, **kwargs)

    class Observer:
        def recorded(self, output: Tensor, parents: Any) -> None:
            seen.append(output.shape)

    with no_grad(), intercept(note):
        model.hidden(ids(1, 1), model.new_cache())
    assert names.count("scaled_dot_product_attention") == 2
    with no_grad(), observe(Observer()):  # type: ignore[arg-type]
        model.hidden(ids(1, 1), model.new_cache())
    assert len(seen) > 20
    with composed_ops():
        np.testing.assert_allclose(passes(model, 1, [1])[0], made_hidden(model), rtol=0, atol=1e-12)


def made_hidden(model: LanguageModel) -> np.ndarray:
    with no_grad():
        return model.hidden(ids(1, 1), model.new_cache()).data


def test_many_tokens_and_recorded_passes_run_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("gpt")
    monkeypatch.setattr(few_tokens, "hidden", None)
    monkeypatch.setattr(few_tokens, "MOST_ROWS", 5)
    with no_grad():
        model.hidden(ids(1, 6), model.new_cache())
        model.hidden(ids(1, 3))  # without a cache
        model.hidden(ids(3), model.new_cache())  # without a batch
        model.train()
        model.hidden(ids(1, 3), model.new_cache())
    assert model.hidden(ids(1, 3)).requires_grad


def test_nan_comes_out_without_a_warning() -> None:
    model = made("gpt")
    model.token_embedding.weight.data[...] = np.inf
    with no_grad():
        assert np.isnan(model.hidden(ids(1, 2), model.new_cache()).data).all()


# A new option of a layer is an attribute that its form does not read: the form must learn it, then this list.
KNOWN_ATTRIBUTES = {
    nn.Sequential: set(),
    nn.Linear: {"in_features", "out_features", "weight", "bias"},
    nn.Dropout: {"p", "generator"},
    nn.LayerNorm: {"eps", "weight", "bias"},
    nn.RMSNorm: {"eps", "weight", "around_one"},
    nn.GELU: {"approximate"},
    nn.SiLU: set(),
    nn.ReLU: set(),
    nn.FeedForward: {"gate", "up", "activation", "down"},
    nn.MultiHeadAttention: {"num_heads", "num_kv_heads", "head_dim", "causal", "window", "query", "key", "value"}
    | {"output", "query_norm", "key_norm", "rotary", "dropout", "scale", "softcap"},
    nn.TransformerBlock: {"attention", "feed_forward", "norm1", "norm2", "dropout", "norm_first"}
    | {"norm1_after", "norm2_after"},
}


def test_each_form_knows_all_options_of_its_layer() -> None:
    layers = [
        nn.Sequential(),
        nn.Linear(2, 2),
        nn.Dropout(),
        nn.LayerNorm(2),
        nn.RMSNorm(2),
        nn.GELU(),
        nn.SiLU(),
        nn.ReLU(),
    ]
    block = gpt()().blocks[0]
    layers += [block, block.attention, block.feed_forward]
    assert {type(layer).forward for layer in layers} == set(few_tokens.FORMS)
    for layer in layers:
        assert set(vars(layer)) - {"training"} == KNOWN_ATTRIBUTES[type(layer)], (
            f"models/few_tokens.py must compute what a new option of {type(layer).__name__} changes"
        )
