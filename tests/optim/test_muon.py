"""Muon: what the iteration does to singular values, the update by hand, and PyTorch's numbers."""

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.finetune import apply_lora
from tinygrad_llm.models import (
    GPT,
    Bert,
    BertConfig,
    Classifier,
    EncoderDecoder,
    EncoderDecoderConfig,
    GPTConfig,
    Llama,
    LlamaConfig,
    RewardModel,
)
from tinygrad_llm.nn import Embedding, Linear, Module, Sequential
from tinygrad_llm.optim import AdamW, Muon, hidden_matrices, muon_and_adamw
from tinygrad_llm.optim.muon import orthogonalized

DRAW = np.random.default_rng(3)


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (1, 6)])
def test_singular_values_become_about_one_and_singular_vectors_stay(shape: tuple[Any, ...]) -> None:
    x = DRAW.standard_normal(shape)
    left, values, right = np.linalg.svd(x, full_matrices=False)
    inner = left.T @ orthogonalized(x) @ right.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-10)
    kept = values / np.linalg.norm(x) > 0.01
    assert ((np.diag(inner) > 0.65) & (np.diag(inner) < 1.25))[kept].all()


def test_a_step_by_hand() -> None:
    start, gradient = DRAW.standard_normal((4, 3)), DRAW.standard_normal((4, 3))
    weight = Tensor(start.copy(), requires_grad=True)
    optimizer = Muon([weight], lr=0.02, weight_decay=0.1, momentum=0.9)
    weight.grad = gradient
    optimizer.step()
    b = 0.1 * gradient
    step = orthogonalized(0.1 * gradient + 0.9 * b) * np.sqrt(4 / 3)
    np.testing.assert_allclose(weight.data, start * (1 - 0.02 * 0.1) - 0.02 * step, atol=1e-15)


@pytest.mark.parametrize("options", [{}, {"nesterov": False}, {"adjust_lr_fn": "match_rms_adamw"}, {"ns_steps": 3}])
@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_steps_equal_pytorchs_without_its_rounding_to_bfloat16(
    shape: tuple[Any, ...], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    start = DRAW.standard_normal(shape)
    gradients = DRAW.standard_normal((5, *shape))
    ours = Tensor(start.copy(), requires_grad=True)
    theirs = torch.tensor(start.copy(), requires_grad=True)
    one, other = Muon([ours], lr=0.1, **options), torch.optim.Muon([theirs], lr=0.1, **options)
    monkeypatch.setattr(
        torch.Tensor, "bfloat16", lambda self: self.clone()
    )  # its iteration in float64, to compare 12 digits
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.copy(), torch.tensor(gradient)
        one.step()
        other.step()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=0, atol=1e-12)


def test_what_is_no_matrix_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"must be matrices; got shape \(3,\); give the others to AdamW"):
        Muon([Tensor(np.ones(3), requires_grad=True)])
    with pytest.raises(ConfigError, match="adjust_lr_fn must be"):
        Muon([Tensor(np.ones((3, 3)), requires_grad=True)], adjust_lr_fn="none")


def test_float32_stays_and_empty_matrices_pass() -> None:
    for shape in [(3, 2), (0, 2)]:
        weight = Tensor(np.ones(shape, np.float32), requires_grad=True)
        weight.grad = np.ones(shape, np.float32)
        Muon([weight]).step()
        assert weight.data.dtype == np.float32
        assert np.isfinite(weight.data).all()


def test_the_defaults_are_pytorchs() -> None:
    group = Muon([Tensor(np.ones((2, 2)), requires_grad=True)]).param_groups[0]
    defaults = {"lr": 1e-3, "weight_decay": 0.1, "momentum": 0.95, "nesterov": True, "eps": 1e-7, "ns_steps": 5}
    assert {name: group[name] for name in defaults} == defaults


@pytest.mark.parametrize(("kind", "factor"), [("original", math.sqrt(5 / 2)), ("match_rms_adamw", 0.2 * math.sqrt(5))])
def test_the_scale_of_the_update_follows_the_shape(kind: str, factor: float) -> None:
    weight = Tensor(np.zeros((5, 2)), requires_grad=True)
    weight.grad = DRAW.standard_normal((5, 2))
    Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False, adjust_lr_fn=kind).step()
    np.testing.assert_allclose(weight.data, -factor * orthogonalized(weight.grad), rtol=1e-6)


def test_a_momentum_above_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="momentum"):
        Muon([Tensor(np.ones((2, 2)), requires_grad=True)], momentum=1.5)


@pytest.mark.parametrize("nesterov", [True, False])
def test_two_steps_of_the_momentum_by_hand(nesterov: bool) -> None:
    first, second = DRAW.standard_normal((2, 3, 3))
    weight = Tensor(np.zeros((3, 3)), requires_grad=True)
    optimizer = Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.6, nesterov=nesterov)
    weight.grad = first
    optimizer.step()
    before = weight.data.copy()
    weight.grad = second
    optimizer.step()
    average = 0.6 * 0.4 * first + 0.4 * second
    update = 0.4 * second + 0.6 * average if nesterov else average
    np.testing.assert_allclose(before - weight.data, orthogonalized(update), rtol=1e-6, atol=1e-9)


SIZES: dict[str, Any] = {"vocab_size": 11, "context_length": 8, "embedding_dim": 8, "num_heads": 2, "num_layers": 2}


def small_gpt(**changes: Any) -> GPT:
    return GPT(GPTConfig(**{**SIZES, **changes}), init="gpt2")


def with_lora() -> GPT:
    model = small_gpt()
    apply_lora(model, rank=2, alpha=4)
    return model


MODELS: dict[str, tuple[Any, int, set[str]]] = {
    # the model, its number of hidden matrices, and the first parts of the names of its other matrices
    "gpt": (small_gpt, 2 * 6, {"token_embedding", "position_embedding", "head"}),
    "tied": (lambda: small_gpt(tie_weights=True), 2 * 6, {"token_embedding", "position_embedding"}),
    "llama": (lambda: Llama(LlamaConfig(**SIZES)), 2 * 7, {"token_embedding", "head"}),
    "experts": (lambda: Llama(LlamaConfig(**SIZES, num_experts=3)), 2 * (4 + 1 + 3 * 3), {"token_embedding", "head"}),
    "bert": (
        lambda: Bert(BertConfig(**SIZES, pooler=True)),
        2 * 6,
        {"token_embedding", "position_embedding", "segment_embedding", "pooler", "head", "next_sentence"},
    ),
    "translation": (
        lambda: EncoderDecoder(EncoderDecoderConfig(**SIZES)),
        2 * 6 + 2 * 10,
        {"token_embedding"},
    ),
    "classifier": (lambda: Classifier(small_gpt(), ["ham", "spam"], trainable="all"), 2 * 6, {"body"}),
    "reward model": (lambda: RewardModel(small_gpt()), 2 * 6, {"body"}),
    "lora": (with_lora, 2 * 6 * 3, {"token_embedding", "position_embedding", "head"}),
    "tables in a list": (lambda: Sequential(Embedding(5, 4), Linear(4, 4)), 1, {"0"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_hidden_matrices_are_those_in_the_blocks_of_every_model(name: str) -> None:
    make, count, others = MODELS[name]
    model: Module = make()
    hidden = {id(parameter) for parameter in hidden_matrices(model)}
    assert len(hidden) == count
    left = [name for name, p in model.named_parameters() if p.ndim >= 2 and id(p) not in hidden]
    assert {name.split(".")[0] for name in left} == others
    assert not [name for name in left if ".blocks." in name]


def test_muon_takes_the_hidden_matrices_from_the_groups_of_adamw() -> None:
    model = small_gpt(tie_weights=True)
    named = list(model.named_parameters())
    groups = [
        {"params": [(n, p) for n, p in named if p.ndim >= 2], "weight_decay": 0.3},
        {"params": [(n, p) for n, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    combined = muon_and_adamw(model, groups, lr=0.02, betas=(0.8, 0.9))
    assert [type(rule) for rule in combined.rules] == [Muon, AdamW, AdamW]
    muon, tables, vectors = combined.param_groups
    assert (muon["weight_decay"], tables["weight_decay"], vectors["weight_decay"]) == (0.3, 0.3, 0.0)
    assert muon["adjust_lr_fn"] == "match_rms_adamw" and muon["lr"] == tables["lr"] == 0.02
    assert tables["param_names"] == ["token_embedding.weight", "position_embedding.weight"]
    assert len(combined.parameters()) == len(named)


def test_a_model_without_trainable_blocks_is_refused() -> None:
    model = Classifier(small_gpt(), ["ham", "spam"], trainable="head")
    groups = [{"params": [(name, p) for name, p in model.named_parameters() if p.requires_grad]}]
    with pytest.raises(ConfigError, match=r"matrices inside a model's blocks .* use adamw"):
        muon_and_adamw(model, groups)
