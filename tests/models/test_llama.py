"""The Llama family: causality, gradients, caches, generation, run folders, refusals."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_gpt import greedy, next_logits, some_ids
from tiny_llama import TINY, VARIANTS
from tiny_llama import tiny_llama as tiny

import tinygrad_llm
from tinygrad_llm import Generator, composed_ops, gradcheck, manual_seed, nn, no_grad
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.formats import write_safetensors
from tinygrad_llm.generate import DraftModel, PromptLookup, beam_search, generate, generate_speculatively
from tinygrad_llm.generate.decoding_state import DecodingState
from tinygrad_llm.models import Llama, LlamaConfig
from tinygrad_llm.optim import AdamW
from tinygrad_llm.study import memory
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.train import RunFolder

each_variant = pytest.mark.parametrize("name", [*VARIANTS, "latent", "gpt latent", "gpt with experts"])


@pytest.mark.parametrize(("elements", "directions"), [(4, 1), pytest.param(12, 3, marks=pytest.mark.slow)])
@each_variant
def test_every_gradient_of_the_whole_model(name: str, elements: int, directions: int) -> None:
    model = tiny(name, dropout=0.0)
    ids, targets = some_ids(5).reshape(1, 5), some_ids(5, seed=2).reshape(1, 5)
    parameters = dict(model.named_parameters())
    assert gradcheck(
        lambda: model.loss(ids, targets), parameters=parameters, elements=elements, directions=directions
    ).ok
    assert all(np.abs(parameter.grad).max() > 0 for parameter in _after_a_step(model, ids, targets))


def _after_a_step(model: Any, ids: Any, targets: Any) -> Any:
    model.zero_grad()
    model.loss(ids, targets).backward()
    used = [name for name, _ in model.named_parameters() if ".experts." not in name]  # an expert may have been idle
    return [parameter for name, parameter in model.named_parameters() if name in used]


@each_variant
def test_fused_ops_compute_the_definitions(name: str) -> None:
    model, ids, targets = tiny(name, dropout=0.0), some_ids(12).reshape(2, 6), some_ids(12, seed=2).reshape(2, 6)
    results = []
    for composed in (False, True):
        model.zero_grad()
        with composed_ops() if composed else no_change():
            loss = model.loss(ids, targets)
            loss.backward()
        results.append([loss.data, *(parameter.grad for parameter in model.parameters())])
    for fused, definition in zip(*results, strict=True):
        np.testing.assert_allclose(fused, definition, rtol=1e-9, atol=1e-12)


class no_change:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        pass


@each_variant
def test_a_logit_depends_on_the_past_and_not_on_the_future(name: str) -> None:
    model = tiny(name).eval()
    ids = some_ids(9)
    before = model(ids).data
    ids[4] = (ids[4] + 1) % 13
    changed = np.abs(model(ids).data - before).max(axis=-1) > 1e-9
    reach = 2 * (model.config.window - 1) if name == "mistral" else 9  # through two layers; one full layer is enough
    assert changed.tolist() == [4 <= i <= 4 + reach for i in range(9)]


DIFFERENT = {"full_attention_layers": (1,), "window_rope_base": 9.0, "attention_softcap": 0.5, "norm_place": "both"}
with_and_without_full_layers = pytest.mark.parametrize("changes", [{}, DIFFERENT], ids=["alike", "different"])


def windowed(**changes: Any) -> Any:
    """The cache of a layer with a window has room for 2 + 16 + 8 tokens."""
    manual_seed(4)
    return Llama(LlamaConfig(13, 60, 16, 4, 2, num_kv_heads=2, window=3, **changes)).to(np.float64).eval()


@with_and_without_full_layers
def test_logits_with_a_window_cache_equal_those_without_a_cache(changes: Any) -> None:
    model = windowed(**changes)
    texts = [some_ids(length, seed=length) for length in (30, 41, 2)]  # the longest is longer than the cache
    for prompts in (texts, texts[:1]):
        state, grown = DecodingState(model, prompts), [*prompts]
        for step in range(17):
            for row, text in zip(state.logits()[:, -1], grown, strict=True):
                np.testing.assert_allclose(row, next_logits(model, text), rtol=0, atol=1e-12)
            tokens = some_ids(len(grown), seed=step)
            state.append(tokens)
            grown = [np.append(text, token) for text, token in zip(grown, tokens, strict=True)]
        cache = model.new_cache()
        with no_grad():
            model.hidden(some_ids(60)[None], cache)
        assert cache.length == 60 and cache.nbytes == (26 + (60 if changes else 26)) * 2 * 2 * 4 * 8
        assert cache.nbytes == memory(model, 1, 60).kv_cache


@with_and_without_full_layers
def test_speculative_guesses_can_be_removed_from_a_window_cache(changes: Any) -> None:
    model, prompt = windowed(**changes), some_ids(7)
    plain = generate(model, prompt, 50, use_cache=False)
    np.testing.assert_array_equal(generate(model, prompt, 50), plain)
    np.testing.assert_array_equal(generate(model, prompt, 50, look_ahead=False), plain)
    manual_seed(9)
    poor = Llama(LlamaConfig(13, 60, 8, 2, 1, window=2)).to(np.float64)
    for draft in (DraftModel(model, 4), DraftModel(poor, 6), DraftModel(poor, 40), PromptLookup(30, 1)):
        found = generate_speculatively(model, prompt, 50, draft)  # 40 and 30 are more than the cache can take back
        np.testing.assert_array_equal(found.ids, plain)


@each_variant
def test_a_batch_of_unequal_texts_gives_the_logits_of_each_alone(name: str) -> None:
    model, texts = tiny(name), [some_ids(length, seed=length) for length in (3, 7, 1)]
    state, generator = DecodingState(model, texts), Generator(5)
    for _ in range(9):
        for row, text in zip(state.logits()[:, -1], texts, strict=True):
            np.testing.assert_allclose(row, next_logits(model, text), rtol=0, atol=1e-10)
        new = generator.randint(0, 13, (3,))
        texts = [np.append(text, token) for text, token in zip(texts, new, strict=True)]
        state.append(new)


@each_variant
def test_all_greedy_decoders_give_the_same_text(name: str) -> None:
    model, prompt = tiny(name), some_ids(4)
    expected = greedy(model, prompt, 12)
    assert generate(model, prompt, 12).tolist() == expected
    assert generate(model, prompt, 12, use_cache=False).tolist() == expected
    for guesser in (PromptLookup(), DraftModel(tiny(name, seed=1))):
        assert generate_speculatively(model, prompt, 12, guesser).ids.tolist() == expected
    assert np.asarray(beam_search(model, prompt, 12, 1)[0].ids).tolist() == expected


def test_it_learns_a_rule() -> None:
    assert _trained({}).loss(*_rule(9)).item() < 0.05


def test_experts_learn_a_rule_and_are_used_evenly() -> None:
    model = _trained({"num_experts": 3, "balance": 0.1})
    assert model.eval().loss(*_rule(9)).item() < 0.05
    model.train().hidden(_rule(9)[0])
    for block in model.blocks:
        assert block.feed_forward.balance_loss().item() < 0.1 * 2.2  # 2 is even use, 3 the worst


def _rule(seed: int) -> Any:
    ids = (Generator(seed).randint(0, 13, (16, 1)) + 3 * np.arange(11)) % 13
    return ids[:, :-1], ids[:, 1:]


def _trained(changes: dict[str, Any]) -> Any:
    manual_seed(0)
    model = Llama(dataclasses.replace(TINY, dropout=0.0, **changes))
    optimizer = AdamW(model.parameters(), 0.01)
    for step in range(100):
        optimizer.zero_grad()
        model.loss(*_rule(step)).backward()
        optimizer.step()
    return model


def test_the_loss_in_training_includes_the_balance_loss() -> None:
    model, ids = tiny("mixtral", dropout=0.0), some_ids(10).reshape(2, 5)
    plain = model.eval().loss(ids, ids).item()
    model.train()
    with no_grad():
        with_balance = model.loss(ids, ids).item()
        hidden = model.hidden(ids)
        asked = sum(block.feed_forward.balance_loss().item() for block in model.blocks)
    assert hidden.shape == (2, 5, 8) and asked > 0.01
    np.testing.assert_allclose(with_balance, plain + asked, rtol=1e-12)


def test_parameter_counts() -> None:
    with nn.init.no_initial_values():
        block = Llama(LlamaConfig(100, 10, 2048, 32, 1, num_kv_heads=8, feed_forward_dim=8192)).blocks[0]
        assert block.attention.num_parameters() == 2 * 2048 * 2048 + 2 * 2048 * 512
        assert block.feed_forward.num_parameters() == 3 * 2048 * 8192
        assert block.num_parameters() == 60_821_504  # times 16, with 128,256 rows of 2048: Llama 3.2's 1,235,814,400
    assert 16 * 60_821_504 + 2048 + 128_256 * 2048 == 1_235_814_400


# -- settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_kv_heads": 3}, "multiple of num_kv_heads"),
        ({"embedding_dim": 9}, "multiple of num_heads"),
        ({"head_dim": 3}, "must be even"),
        ({"activation": "relu"}, "activation must be one of silu, gelu, gelu_tanh"),
        ({"window": -1}, "window must be an integer of at least 1"),
        ({"window": 10**30, "num_layers": 0}, "num_layers must be"),
        ({"num_experts": 2, "experts_per_token": 3}, "at most num_experts"),
        ({"balance": -1.0}, "balance must be"),
        ({"rope_base": -5.0}, "base must be"),
        ({"rope_scaling": {"factor": 3}}, "scaling must have"),
        ({"qk_norm": "yes"}, "qk_norm must be true or false"),
        ({"dropout": 1.0}, "dropout must be a probability"),
        (
            {"window": 3, "full_attention_layers": (2,)},
            "full_attention_layers must be numbers of layers, below num_layers",
        ),
        ({"window": 3, "full_attention_layers": (-1,)}, "full_attention_layers must be an integer of at least 0"),
        ({"full_attention_layers": (1,)}, "full_attention_layers needs window"),
        ({"window_rope_base": 5.0}, "window_rope_base needs window"),
        ({"dense_layers": (1,)}, "dense_layers needs num_experts"),
        ({"expert_dim": 4}, "expert_dim needs num_experts"),
        ({"qk_norm": True, "joint_qk_norm": True}, "qk_norm and joint_qk_norm exclude each other"),
        ({"window_pattern": "1:1"}, "window_pattern needs window; got 1:1 without it"),
        (
            {"window": 3, "window_pattern": "1:1", "full_attention_layers": (0,)},
            "window_pattern and full_attention_layers exclude each other",
        ),
        ({"delta_net_pattern": "3:1"}, "delta_net_pattern must fit into num_layers; got 4 layers and 2"),
        ({"delta_net_pattern": "3"}, "delta_net_pattern must be two numbers of layers, such as 5:1; got '3'"),
        ({"norm_place": "around"}, "norm_place must be one of before, after, both"),
        ({"attention_softcap": 0.0}, "attention_softcap must be a finite number above 0"),
        ({"logit_softcap": -1.0}, "logit_softcap must be a finite number above 0"),
        ({"query_pre_attention_scalar": 0}, "query_pre_attention_scalar must be a finite number above 0"),
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Llama(dataclasses.replace(TINY, **changes))


def test_only_differences_of_positions_matter() -> None:
    model, ids = tiny().eval(), some_ids(6)
    logits = model(ids).data
    np.testing.assert_allclose(model(ids, positions=np.arange(5, 11)).data, logits, atol=1e-9)
    assert np.abs(model(ids, positions=2 * np.arange(6)).data - logits).max() > 1e-3


def test_more_tokens_than_the_context_are_refused() -> None:
    with pytest.raises(ShapeError, match="Llama: ids must be"):
        tiny()(some_ids(13))


# -- folders


@pytest.mark.parametrize("name", VARIANTS)
def test_saved_to_a_run_folder_and_loaded(tmp_path: Path, name: str) -> None:
    model = tiny(name, dtype=np.float32)
    tokenizer = CharTokenizer.train("abcdefghijklm")
    with RunFolder.create(tmp_path / "run") as folder:
        write_safetensors(tmp_path / "run" / "model.safetensors", model.state_dict())
        folder.begin({"model_type": "llama", "model": model.config.to_dict()}, tokenizer)
    read, _ = tinygrad_llm.load(tmp_path / "run")
    assert read.config == model.config
    assert np.array_equal(read(some_ids(9)).data, model.eval()(some_ids(9)).data)
