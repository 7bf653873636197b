"""Hugging Face folders of the Llama family: round trips to the bit, other spellings of a config, refusals by name."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_gpt import some_ids
from tiny_llama import tiny_llama

from tinygrad_llm.errors import ConfigError, FormatError, StateDictError
from tinygrad_llm.formats import read_json, read_safetensors, write_json, write_safetensors
from tinygrad_llm.models import Llama

SAVED_AS = {
    "llama": "llama",
    "grouped": "llama",
    "biases": "qwen2",
    "mistral": "mistral",
    "mixtral": "mixtral",
    "qwen3": "qwen3",
    "gemma": "gemma",
    "ministral": "ministral",
    "qwen3_moe": "qwen3_moe",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "olmo2": "olmo2",
    "olmo3": "olmo3",
}


@pytest.mark.parametrize("name", SAVED_AS)
def test_round_trip_to_the_bit(tmp_path: Path, name: str) -> None:
    model = tiny_llama(name, dtype=np.float32)
    model.save_pretrained(tmp_path)
    assert read_json(tmp_path / "config.json")["model_type"] == SAVED_AS[name]
    read = Llama.from_pretrained(tmp_path)
    assert np.array_equal(read(some_ids(9)).data, model.eval()(some_ids(9)).data)
    assert read.config.dropout == 0.4 and Llama.from_pretrained(tmp_path, dropout=0.0).config.dropout == 0.0
    read.save_pretrained(tmp_path)
    assert Llama.from_pretrained(tmp_path).config == read.config


def test_a_pattern_of_windows_is_written_layer_by_layer(tmp_path: Path) -> None:
    model = tiny_llama(window=3, window_pattern="1:1", dtype=np.float32)
    model.save_pretrained(tmp_path)
    assert read_json(tmp_path / "config.json")["layer_types"] == ["sliding_attention", "full_attention"]
    read = Llama.from_pretrained(tmp_path)
    assert (read.config.window, read.config.full_attention_layers) == (3, (1,))
    assert np.array_equal(read(some_ids(9)).data, model.eval()(some_ids(9)).data)


def test_an_expert_s_gate_is_written_as_w1_and_its_up_as_w3(tmp_path: Path) -> None:
    model = tiny_llama("mixtral", dtype=np.float32)
    model.save_pretrained(tmp_path)
    theirs = read_safetensors(tmp_path / "model.safetensors")
    for ours, name in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
        expert = theirs[f"model.layers.1.block_sparse_moe.experts.2.{name}.weight"]
        assert np.array_equal(expert, getattr(model.blocks[1].feed_forward.experts[2], ours).weight.data)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_experts": 3, "experts_per_token": 1},
        {"window": 3, "scale_embeddings": True},
        {"scale_embeddings": True},
        {"output_bias": True},
        {"num_experts": 2, "qkv_bias": True, "output_bias": True},
        {"attention_gate": True},
        {"delta_net_pattern": "1:1"},
    ],
    ids=str,
)
def test_a_combination_that_no_hugging_face_model_has_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="no Hugging Face model has .*" + next(iter(changes))):
        tiny_llama(**changes).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_other_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateDictError):
        tiny_llama("latent").save_pretrained(tmp_path)


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt_oss"}, "model_type must be one of llama, qwen2, qwen3, gemma, mistral, .* or gemma3; got"),
        ({"model_type": ["llama"]}, "model_type must be one of"),
        ({"mlp_bias": True}, "mlp_bias must be unset"),
        ({"quantization_config": {"bits": 4}}, "quantization_config must be unset"),
        ({"use_sliding_window": True}, "use_sliding_window must be unset"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types must be"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor must be unset"),
        ({"rope_parameters": {"rope_type": "su"}}, "rope_parameters must have rope_type 'default', 'linear', 'llama3'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "its frequencies change with the length of the text"),
        ({"rope_scaling": {"type": ["linear"]}}, "rope_scaling must have rope_type"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling must have factor; factor is missing"),
        ({"rope_scaling": {"type": "yarn"}}, "must have factor, original_max_position_embeddings; factor is missing"),
        ({"rope_scaling": {"type": "yarn", "factor": -2.0}}, "numbers above 0"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": "1", "mscale_all_dim": 1}}, "mscale .* above 0"),
        ({"rope_parameters": {"full_attention": {}}}, "must be one object for all layers"),
        ({"rope_scaling": LLAMA3 | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor, .* is missing"),
        ({"rope_scaling": LLAMA3 | {"factor": "x"}}, "rope_scaling: scaling must have numbers above 0"),
        ({"rope_scaling": 3}, "must be an object"),
        ({"hidden_act": "relu"}, "hidden_act must be one of silu"),
        ({"hidden_size": None}, "hidden_size must be an integer"),
        ({"hidden_size": 9}, "must be"),
        ({"num_attention_heads": 10**30}, "q_proj.weight' must be"),
        ({"num_key_value_heads": 3}, "k_proj.weight' must be"),
        ({"head_dim": 6}, "q_proj"),
        ({"attention_bias": "no"}, "attention_bias must be true or false"),
        ({"attention_bias": True}, "q_proj.bias"),
        ({"rms_norm_eps": 0}, "norm_eps"),
        ({"model_type": "mistral", "num_key_value_heads": "leave out"}, "num_key_value_heads must be"),
        ({"model_type": "qwen3", "head_dim": "leave out"}, "head_dim must be"),
        ({"model_type": "qwen3"}, "q_norm"),
        ({"model_type": "mixtral", "num_experts_per_tok": 0}, "num_experts_per_tok must be an integer of at least 1"),
        ({"model_type": "mixtral", "router_jitter_noise": 0.1}, "router_jitter_noise must be unset"),
        ({"model_type": "gemma"}, "gelu|activation"),
        ({"num_hidden_layers": 3}, "model.layers.2"),
        ({"num_hidden_layers": 1}, "also holds 9 more"),
    ],
    ids=str,
)
def test_unsupported_options_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tiny_llama(dtype=np.float32).save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json") | changes
    write_json(tmp_path / "config.json", {name: value for name, value in config.items() if value != "leave out"})
    with pytest.raises(FormatError, match=message) as caught:
        Llama.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_the_names_of_older_files_are_read(tmp_path: Path) -> None:
    model = tiny_llama("grouped", dtype=np.float32)
    model.save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json")
    del config["rope_parameters"], config["head_dim"]
    config["rope_scaling"] |= {"type": "llama3"}
    del config["rope_scaling"]["rope_type"], config["rope_scaling"]["rope_theta"]
    write_json(tmp_path / "config.json", config)
    state = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}
    weights = read_safetensors(tmp_path / "model.safetensors", copy=True)
    write_safetensors(tmp_path / "model.safetensors", {**weights, **state})
    assert Llama.from_pretrained(tmp_path).config == dataclasses.replace(model.config)


# -- files as they are: each of these is read as transformers reads it (see test_llama_against_transformers)


def changed(folder: Path, **changes: Any) -> Any:
    """The Llama of `folder` after `changes` to its config.json; None removes a setting."""
    config = read_json(folder / "config.json") | changes
    write_json(folder / "config.json", {name: value for name, value in config.items() if value is not None})
    return Llama.from_pretrained(folder)


@pytest.mark.parametrize(
    "name", ["rotary_emb.inv_freq", "model.rotary_emb.inv_freq", "model.layers.1.self_attn.rotary_emb.inv_freq"]
)
def test_saved_rotary_frequencies_are_ignored(tmp_path: Path, name: str) -> None:
    model = tiny_llama(dtype=np.float32)
    model.save_pretrained(tmp_path)
    weights = read_safetensors(tmp_path / "model.safetensors", copy=True)
    write_safetensors(tmp_path / "model.safetensors", {**weights, name: np.ones(2, np.float32)})
    for key, array in Llama.from_pretrained(tmp_path).state_dict().items():
        assert np.array_equal(array, model.state_dict()[key])
    write_safetensors(tmp_path / "model.safetensors", {**weights, name + "s": np.ones(2, np.float32)})
    with pytest.raises(FormatError, match="also holds 1 more"):
        Llama.from_pretrained(tmp_path)


def test_tied_weights_under_the_head_s_name(tmp_path: Path) -> None:
    model = tiny_llama("grouped", dtype=np.float32)
    model.save_pretrained(tmp_path)
    weights = read_safetensors(tmp_path / "model.safetensors", copy=True)
    weights["lm_head.weight"] = weights.pop("model.embed_tokens.weight")
    write_safetensors(tmp_path / "model.safetensors", weights)
    again = Llama.from_pretrained(tmp_path)
    assert again.head.weight is again.token_embedding.weight
    assert np.array_equal(again.head.weight.data, model.head.weight.data)
    with pytest.raises(FormatError, match=r"must hold 'model\.embed_tokens\.weight'"):
        changed(tmp_path, tie_word_embeddings=False)


@pytest.mark.parametrize("scaling", [{"type": "linear", "factor": 1.0}, {"rope_type": "linear", "factor": 1}])
def test_linear_scaling_by_1_is_no_scaling(tmp_path: Path, scaling: Any) -> None:
    tiny_llama(dtype=np.float32).save_pretrained(tmp_path)
    config = Llama.from_pretrained(tmp_path).config
    assert config.rope_scaling is None
    assert changed(tmp_path, rope_parameters=None, rope_scaling=scaling).config == config
    assert changed(tmp_path, rope_scaling=None, rope_parameters=scaling | {"rope_theta": 20.0}).config == config
    with pytest.raises(FormatError, match="must have factor; factor is missing"):
        changed(tmp_path, rope_scaling={"type": "linear"})


def test_llama_3_scaling_without_the_original_context_length_takes_the_config_s(tmp_path: Path) -> None:
    tiny_llama(dtype=np.float32).save_pretrained(tmp_path)
    scaling = {name: value for name, value in LLAMA3.items() if name != "original_max_position_embeddings"}
    model = changed(tmp_path, rope_parameters=None, rope_scaling=scaling)
    assert model.config.rope_scaling["original_context_length"] == model.config.context_length == 12
    model = changed(tmp_path, original_max_position_embeddings=7)
    assert model.config.rope_scaling["original_context_length"] == 7
