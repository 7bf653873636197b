"""LoRA: no change at the start, the book's parameter counts, a frozen base, exact merging, adapters on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import default_generator, manual_seed
from tinygrad_llm.data import WindowLoader
from tinygrad_llm.errors import ConfigError, FormatError, StateDictError
from tinygrad_llm.finetune import (
    Classifier,
    LoRALinear,
    apply_lora,
    load_lora,
    merge_lora,
    save_lora,
    unmerge_lora,
)
from tinygrad_llm.formats import read_safetensors, write_safetensors
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn import Linear
from tinygrad_llm.nn.init import no_initial_values
from tinygrad_llm.random import Generator
from tinygrad_llm.train import Trainer, TrainingSettings

SMALL = GPTConfig(vocab_size=30, context_length=8, embedding_dim=16, num_heads=2, num_layers=2, dropout=0.0)
IDS = np.arange(16).reshape(2, 8)


def gpt(seed: int = 1, **changes: Any) -> GPT:
    manual_seed(seed)
    return GPT(GPTConfig(**{**SMALL.to_dict(), **changes}))


def adapted(rank: int = 4, alpha: int = 8, targets: list[str] | None = None, seed: int = 1, **changes: Any) -> GPT:
    """A GPT with LoRA whose B are no longer 0."""
    model = gpt(seed, **changes)
    apply_lora(model, rank, alpha, targets)
    generator = Generator(5)
    for name, parameter in model.named_parameters():
        if name.endswith("lora_B"):
            parameter.data[...] = generator.normal(0, 0.1, parameter.shape)
    return model


def test_the_books_counts() -> None:
    with no_initial_values():
        model = Classifier(GPT(GPTConfig.preset("gpt2-small", qkv_bias=True)), ["ham", "spam"], trainable="all")
        assert model.num_parameters(trainable_only=True) == 124_441_346
        apply_lora(model, rank=16, alpha=16)
    assert model.num_parameters(trainable_only=True) == 2_666_528


def test_nothing_changes_at_the_start() -> None:
    model = gpt()
    before = model(IDS).data
    names = apply_lora(model, rank=4, alpha=8)
    assert len(names) == 6 * 2 + 1
    np.testing.assert_array_equal(model(IDS).data, before)


def test_start_of_a() -> None:
    manual_seed(0)
    layer = LoRALinear(Linear(300, 5), rank=16, alpha=1)
    after = default_generator().rand(1)
    manual_seed(0)
    Linear(300, 5)
    # 1/√rank, though the layer has 300 inputs; B draws nothing.
    np.testing.assert_array_equal(layer.lora_A.data, default_generator().uniform(-0.25, 0.25, (300, 16)))
    assert default_generator().rand(1) == after
    assert layer.lora_B.shape == (16, 5)
    assert not layer.lora_B.data.any()


@pytest.mark.parametrize(("scaling", "scale"), [("alpha/rank", 2), ("alpha", 4)])
def test_the_update_is_scaled_by_alpha_over_rank_or_by_alpha(scaling: Any, scale: int) -> None:
    layer = LoRALinear(Linear(3, 2), rank=2, alpha=4, scaling=scaling)
    layer.lora_B.data[...] = 1
    x = np.ones((5, 3), np.float32)
    expected = layer.linear(x).data + scale * (x @ layer.lora_A.data @ layer.lora_B.data)
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-5)
    np.testing.assert_allclose(x @ layer.weight.data.T + layer.linear.bias.data, expected, rtol=1e-5)


def test_dtype_follows_the_base() -> None:
    for dtype in (np.float32, np.float64):
        model = gpt().to(dtype)
        apply_lora(model, rank=2, alpha=0.5)
        model.loss(IDS, IDS).backward()
        assert {p.dtype for p in model.parameters()} == {np.dtype(dtype)}
        assert model(IDS).dtype == dtype


def test_the_base_is_bit_identical_after_training() -> None:
    model = gpt()
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    apply_lora(model, rank=4, alpha=8)
    loader = WindowLoader(np.arange(200) % 30, 8, 4, Generator(0))
    first = model.loss(IDS, IDS + 1).item()
    Trainer(model, loader, TrainingSettings(steps=20, learning_rate=1e-2, warmup_steps=2)).train()
    assert model.loss(IDS, IDS + 1).item() < first - 0.5
    after = {name.replace(".linear.", "."): p.data for name, p in model.named_parameters() if "lora_" not in name}
    assert after.keys() == before.keys()
    for name, array in before.items():
        assert array.tobytes() == after[name].tobytes(), name
    assert all(p.data.any() for name, p in model.named_parameters() if "lora_" in name)  # the head's too


@pytest.mark.parametrize("tie_weights", [False, True])
def test_merging_is_exact(tie_weights: bool) -> None:
    model = adapted(tie_weights=tie_weights)
    logits, state = model(IDS).data, {name: a.copy() for name, a in model.state_dict().items()}
    merge_lora(model)
    plain = gpt(seed=9).state_dict().keys()
    assert model.state_dict().keys() == plain  # as a GPT without LoRA, and never tied
    assert not np.array_equal(model.head.weight.data, model.token_embedding.weight.data)
    np.testing.assert_allclose(model(IDS).data, logits, rtol=1e-4, atol=1e-5)
    fresh = gpt(seed=9)
    fresh.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(fresh(IDS).data, model(IDS).data)
    unmerge_lora(model)
    assert model.state_dict().keys() == state.keys()
    for name, array in model.state_dict().items():
        assert array.tobytes() == state[name].tobytes(), name
    np.testing.assert_array_equal(model(IDS).data, logits)


def test_the_papers_scaling_is_the_default_and_others_are_refused() -> None:
    model = gpt()
    (name, *_) = apply_lora(model, rank=4, alpha=8)
    layer = dict(model.named_modules())[name]
    assert isinstance(layer, LoRALinear)
    assert layer.scale == 2
    with pytest.raises(ConfigError, match="scaling must be one of alpha/rank, alpha; got 'rank'"):
        apply_lora(gpt(), 4, 8, scaling="rank")  # type: ignore[arg-type]


def test_an_adapter_keeps_its_scaling_and_a_file_without_one_was_scaled_by_alpha(tmp_path: Path) -> None:
    model, path = adapted(rank=4, alpha=8), tmp_path / "adapter.safetensors"
    save_lora(model, path)
    restored = gpt()
    load_lora(restored, path)
    np.testing.assert_array_equal(restored(IDS).data, model(IDS).data)
    write_safetensors(path, dict(read_safetensors(path, copy=True)), {"format": "lora", "alpha": "8.0"})
    old = gpt()
    load_lora(old, path)
    assert {layer.scale for layer in old.modules() if isinstance(layer, LoRALinear)} == {8}


def test_targets() -> None:
    model = gpt()
    assert apply_lora(model, 2, 2, ["query", "1.feed_forward.up"]) == [
        "blocks.0.attention.query",
        "blocks.1.attention.query",
        "blocks.1.feed_forward.up",
    ]
    assert {name.rsplit(".", 1)[1] for name, p in model.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}
    for targets in (["query", "quer"], [], ["attention"]):
        with pytest.raises(ConfigError, match="each target must end the name of a linear layer"):
            apply_lora(gpt(), 2, 2, targets)
    with pytest.raises(ConfigError, match="already"):
        apply_lora(model, 2, 2)
    merge_lora(model)
    with pytest.raises(ConfigError, match="already"):
        apply_lora(model, 2, 2)


def test_settings_outside_their_range_leave_the_model_alone() -> None:
    model = gpt()
    for rank, alpha in ((0, 1), (2.5, 1), (2, float("nan")), (2, "1")):
        with pytest.raises(ConfigError):
            apply_lora(model, rank, alpha)
    assert all(p.requires_grad for p in model.parameters())


def test_an_adapter_alone_on_disk(tmp_path: Path) -> None:
    model, path = adapted(rank=3, alpha=5, targets=["query", "value"]), tmp_path / "adapter.safetensors"
    model.head.requires_grad_()  # trained as well
    model.head.weight.data += 1
    save_lora(model, path)
    saved = read_safetensors(path)
    assert sum(a.size for a in saved.values()) == 2 * 2 * 3 * (16 + 16) + 30 * 16
    fresh = gpt()
    load_lora(fresh, path)
    np.testing.assert_array_equal(fresh(IDS).data, model(IDS).data)
    with pytest.raises(ConfigError, match="already"):
        load_lora(fresh, path)


def test_adapters_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    model = adapted()
    save_lora(model, path)
    for changes in ({"num_layers": 1}, {"embedding_dim": 18}):
        other = gpt(**changes)
        names = list(other.state_dict())
        with pytest.raises(StateDictError, match="base model that the adapter was trained on"):
            load_lora(other, path)
        assert list(other.state_dict()) == names
    arrays = dict(read_safetensors(path, copy=True))
    del arrays["head.lora_B"]
    write_safetensors(path, arrays, {"format": "lora", "alpha": "8.0"})
    with pytest.raises(StateDictError, match=r"head\.lora_B"):
        load_lora(gpt(), path)
    for metadata in (
        {},
        {"format": "lora"},
        {"format": "lora", "alpha": "much"},
        {"format": "lora", "alpha": "8.0", "scaling": "?"},
    ):
        write_safetensors(path, arrays, metadata)
        with pytest.raises(FormatError, match="adapter"):
            load_lora(gpt(), path)
    merge_lora(model)
    with pytest.raises(ConfigError, match="call unmerge_lora"):
        save_lora(model, path)
