"""Settings and names of GGUF files of every architecture, and refusal by name of what is not supported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import gguf_bytes, model_metadata, model_tensors

from tinygrad_llm import manual_seed
from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import read_gguf
from tinygrad_llm.interop.gguf_settings import ARCHITECTURES, huggingface_config, huggingface_tensors
from tinygrad_llm.interop.huggingface_folder import model_of
from tinygrad_llm.interop.llama import with_state
from tinygrad_llm.interop.llama_members import MEMBERS
from tinygrad_llm.interop.llama_settings import read_settings
from tinygrad_llm.layers.rotary import rotary_frequencies
from tinygrad_llm.models import Llama, LlamaConfig

SIZES: dict[str, Any] = {"vocab_size": 10, "context_length": 16, "embedding_dim": 16, "num_heads": 4, "num_layers": 2}
SIZES |= {"num_kv_heads": 2, "feed_forward_dim": 12, "rope_base": 5000.0}
GEMMA = {"head_dim": 6, "norm_around_one": True, "scale_embeddings": True, "activation": "gelu_tanh"}
GEMMA2 = GEMMA | {"norm_place": "both", "query_pre_attention_scalar": 6, "tie_weights": True, "window": 4}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # by name: architecture and settings
    "llama": ("llama", {}),
    "mistral": ("llama", {"window": 4}),
    "mixtral": ("llama", {"num_experts": 3, "experts_per_token": 2, "normalize_gates": True}),
    "linear": ("llama", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
    "qwen2": ("qwen2", {"qkv_bias": True}),
    "qwen3": ("qwen3", {"qk_norm": True, "head_dim": 6}),
    "qwen3moe": (
        "qwen3moe",
        {"qk_norm": True, "head_dim": 6, "num_experts": 4, "experts_per_token": 2, "expert_dim": 5}
        | {"normalize_gates": True},
    ),
    "gemma": ("gemma", GEMMA | {"tie_weights": True}),
    "gemma2": ("gemma2", GEMMA2 | {"full_attention_layers": (1,), "attention_softcap": 40.0, "logit_softcap": 20.0}),
    "gemma3": (
        "gemma3",
        GEMMA2
        | {"num_layers": 6, "full_attention_layers": (5,), "qk_norm": True, "window_rope_base": 1e4}
        | {"rope_scaling": {"type": "linear", "factor": 8.0}},
    ),
}


def tiny(name: str = "llama", **changes: Any) -> Llama:
    manual_seed(3)
    model = Llama(LlamaConfig(**SIZES | MODELS[name][1] | changes)).eval()
    rng = np.random.default_rng(0)
    for parameter in model.parameters():  # norms and biases that are not 1 and 0
        parameter.data += rng.normal(0, 0.3, parameter.shape).astype(np.float32)
    return model


def load(path: Path) -> Llama:
    file = read_gguf(path)
    settings, member = read_settings(path, None, huggingface_config(file))
    return model_of(Llama, *with_state(settings, member, huggingface_tensors(file, member), path), path)


def write(path: Path, model: Llama, architecture: str = "llama", leave_out: str = "", **changes: Any) -> Path:
    """The model's file, with changes to its settings (__ for a dot); None leaves one out."""
    metadata = model_metadata(model, architecture)
    metadata |= {f"{architecture}.{name.replace('__', '.')}": value for name, value in changes.items()}
    tensors = {name: array for name, array in model_tensors(model, architecture).items() if name != leave_out}
    path.write_bytes(gguf_bytes({key: value for key, value in metadata.items() if value is not None}, tensors))
    return path


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", list(MODELS))
def test_a_file_gives_the_model_that_it_was_made_of(name: str, tied: bool, tmp_path: Path) -> None:
    architecture = MODELS[name][0]
    model = tiny(name, tie_weights=tied)
    back = load(write(tmp_path / "x.gguf", model, architecture))
    differing = {key: value for key, value in back.config.to_dict().items() if value != model.config.to_dict()[key]}
    assert differing.keys() <= {"balance"}  # of training only
    for key, array in model.state_dict().items():
        np.testing.assert_allclose(back.state_dict()[key], array, rtol=0, atol=1e-6, err_msg=key)
        if not architecture.startswith("gemma"):  # 1 + weight is rounded
            assert np.array_equal(back.state_dict()[key], array), key
    ids = np.arange(8)[None]
    np.testing.assert_allclose(back(ids).data, model(ids).data, atol=1e-5)
    assert not back.training
    assert back.state_dict().keys() == model.state_dict().keys()  # tied or not


def test_queries_and_keys_are_put_back_in_order(tmp_path: Path) -> None:
    """Without that the model would still open, and give other logits."""
    model = tiny()
    back = load(write(tmp_path / "x.gguf", model))
    ids = np.array([[1, 2, 3, 4, 5]])
    assert np.array_equal(back(ids).data, model(ids).data)
    raw = read_gguf(tmp_path / "x.gguf").array("blk.0.attn_q.weight")
    assert not np.array_equal(raw, model.blocks[0].attention.query.weight.data)


def test_biases_of_a_llama_are_put_back_in_order(tmp_path: Path) -> None:
    model = tiny(qkv_bias=True, output_bias=True)
    back = load(write(tmp_path / "x.gguf", model))
    assert back.config == model.config
    for name, array in model.state_dict().items():
        assert np.array_equal(back.state_dict()[name], array), name


def test_what_a_file_may_leave_out(tmp_path: Path) -> None:
    left_out = {"attention__head_count_kv": None, "rope__freq_base": None, "rope__dimension_count": None}
    model = tiny(num_kv_heads=4, rope_base=10000.0)
    back = load(write(tmp_path / "x.gguf", model, **left_out))
    assert back.config == model.config


def test_a_number_in_float32_is_the_decimal_that_was_meant(tmp_path: Path) -> None:
    config = load(write(tmp_path / "x.gguf", tiny(norm_eps=1e-6))).config
    assert config.norm_eps == 1e-6


def test_weights_that_are_float32_stay_where_they_are(tmp_path: Path) -> None:
    back = load(write(tmp_path / "x.gguf", tiny()))
    assert not back.token_embedding.weight.data.flags.owndata
    back.token_embedding.weight.data += 1  # and can be trained


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_rotary_scaling_of_llama_3(factor: float, tmp_path: Path) -> None:
    scaling = {"factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context_length": 8192}
    model = tiny(rope_scaling=scaling, rope_base=500000.0, embedding_dim=256)
    factors = rotary_frequencies(64, 500000.0) / rotary_frequencies(64, 500000.0, scaling)
    tensors = model_tensors(model, "llama") | {"rope_freqs.weight": factors.astype(np.float32)}
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes(model_metadata(model, "llama"), tensors))
    back = load(path)
    assert back.config == model.config
    for wrong in (factors * 1.5, factors * np.nan, factors * 0, -factors):
        path.write_bytes(
            gguf_bytes(model_metadata(model, "llama"), tensors | {"rope_freqs.weight": wrong.astype(np.float32)})
        )
        with pytest.raises(FormatError, match=r"rope_freqs.weight must be"):
            load(path)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown setting": ({"logit_scale": 0.5}, r"llama.logit_scale is a setting that is not known; it is 0.5"),
    "encoder": ({"attention__causal": False}, r"llama.attention.causal must be True"),
    "partial rotation": ({"rope__dimension_count": 1}, r"llama.rope.dimension_count must be the size of a head, 4"),
    "size of values": ({"attention__value_length": 8}, r"llama.attention.value_length must be the size of a head"),
    "layers that differ": ({"feed_forward_length": [12, 12]}, r"feed_forward_length must be one value for all layers"),
    "unknown scaling": (
        {"rope__scaling__type": "longrope", "rope__scaling__factor": 4.0},
        r"llama.rope.scaling.type must be none, linear or yarn.*got 'longrope'",
    ),
    "no width": ({"embedding_length": None}, r"llama.embedding_length must be an integer of at least 1; got None"),
    "width in words": (
        {"embedding_length": "16"},
        r"llama.embedding_length must be an integer of at least 1; got '16'",
    ),
    "no heads": ({"attention__head_count": 0}, r"llama.attention.head_count must be an integer of at least 1; got 0"),
    "other heads": ({"attention__head_count": 3}, "must be an even number for each of 3 heads|multiple|size of a head"),
    "too many layers": ({"block_count": 2**31}, "must hold|num_hidden_layers"),
    "fewer layers": ({"block_count": 1}, "also holds"),
    "wrong width": ({"feed_forward_length": 8}, "must be .* floating-point numbers"),
    "base below 0": ({"rope__freq_base": -1.0}, "rope_base must be"),
    "base in words": ({"rope__freq_base": "large"}, "rope_base must be"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_not_supported_is_refused_by_name(name: str, tmp_path: Path) -> None:
    changes, message = REFUSED[name]
    path = write(tmp_path / "x.gguf", tiny(), **changes)
    with pytest.raises(FormatError, match=rf"x\.gguf.*({message})") as caught:
        load(path)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("value", ["phi3", "", 7, None])
def test_another_architecture_is_refused_by_name(value: Any, tmp_path: Path) -> None:
    metadata = {"general.architecture": value} if value is not None else {}
    (tmp_path / "x.gguf").write_bytes(gguf_bytes(metadata, model_tensors(tiny(), "llama")))
    with pytest.raises(FormatError, match=r"general.architecture must be one of llama, qwen2, qwen3,.* gemma"):
        load(tmp_path / "x.gguf")


@pytest.mark.parametrize("name", ["blk.0.attn_q.weight", "output_norm.weight", "token_embd.weight"])
def test_a_missing_tensor_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is none"):
        load(write(tmp_path / "x.gguf", tiny(), leave_out=name))


@pytest.mark.parametrize("name", ["blk.0.attn_sinks.weight", "rope_factors_long.weight", "blk.0.attn_q.scale"])
def test_an_unknown_tensor_is_named(name: str, tmp_path: Path) -> None:
    model = tiny()
    tensors = model_tensors(model, "llama") | {name: np.zeros(16, np.float32)}
    (tmp_path / "x.gguf").write_bytes(gguf_bytes(model_metadata(model, "llama"), tensors))
    with pytest.raises(FormatError, match=f"tensor '{name}' is none of a llama"):
        load(tmp_path / "x.gguf")


def test_every_architecture_is_tested() -> None:
    assert {architecture for architecture, _ in MODELS.values()} == set(ARCHITECTURES)
    assert {one.model_type for one in ARCHITECTURES.values()} <= set(MEMBERS)
