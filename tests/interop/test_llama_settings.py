"""config.json of the Llama family: which layers have a window, two rotations, experts in some layers; refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_llama_family import CONFIGS, SIZES, write_member

from tinygrad_llm.errors import ConfigError, FormatError
from tinygrad_llm.formats import read_json, read_safetensors, write_json, write_safetensors
from tinygrad_llm.interop.llama_settings import config_json, read_settings
from tinygrad_llm.models import Llama, LlamaConfig

FULL, SLIDING = "full_attention", "sliding_attention"


def settings_of(folder: Path, **config: Any) -> dict[str, Any]:
    """What is read from a config.json; "leave out" takes a setting away."""
    config = {name: value for name, value in {**SIZES, **config}.items() if value != "leave out"}
    write_json(folder / "config.json", config)
    return read_settings(folder / "config.json")[0]


@pytest.mark.parametrize(
    ("config", "window", "full"),
    [
        ({"model_type": "mistral"}, 4096, ()),
        ({"model_type": "mistral", "sliding_window": None}, None, ()),
        ({"model_type": "mistral", "layer_types": [FULL] * 3, "sliding_window": 4}, None, ()),
        ({"model_type": "mistral", "layer_types": None, "sliding_window": 4}, 4, ()),
        ({"model_type": "ministral", "layer_types": [SLIDING, "attention", SLIDING]}, 4096, (1,)),
        ({"model_type": "qwen2", "sliding_window": 5}, None, ()),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 5}, None, ()),  # not below layer 28
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 2}, 4096, (0, 1)),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 0, "sliding_window": 7}, 7, ()),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 10**30}, None, ()),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": None}, None, ()),
        ({"model_type": "gemma2", "head_dim": 4}, 4096, (1,)),
        ({"model_type": "gemma2", "head_dim": 4, "layer_types": [FULL, SLIDING, SLIDING]}, 4096, (0,)),
        ({"model_type": "gemma2", "head_dim": 4, "layer_types": [FULL] * 3, "sliding_window": None}, None, ()),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 3}, 4096, (2,)),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 1}, None, ()),
        ({"model_type": "gemma3_text", "num_hidden_layers": 13, "sliding_window": 9}, 9, (5, 11)),
        ({"model_type": "olmo3", "num_hidden_layers": 9}, 4096, (3, 7)),
        ({"model_type": "mixtral"}, None, ()),
        ({"model_type": "mixtral", "sliding_window": 6, "layer_types": [SLIDING] * 3}, 6, ()),
        ({"model_type": "qwen3_moe", "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2}, 6, ()),
    ],
    ids=str,
)
def test_which_layers_have_a_window(tmp_path: Path, config: dict[str, Any], window: Any, full: Any) -> None:
    settings = settings_of(tmp_path, **config)
    assert (settings["window"], settings["full_attention_layers"]) == (window, full)


def test_the_gaps_of_a_gemma_3_are_filled_as_transformers_fills_them(tmp_path: Path) -> None:
    text = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    write_json(
        tmp_path / "config.json",
        {"model_type": "gemma3", "text_config": text | {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}}},
    )
    settings, member = read_settings(tmp_path / "config.json")
    assert member.architecture == "Gemma3ForCausalLM"
    config = LlamaConfig.from_dict(settings)
    assert (config.vocab_size, config.num_heads, config.num_kv_heads, config.head_dim) == (262_208, 8, 4, 256)
    assert (config.context_length, config.rope_base, config.window_rope_base) == (131_072, 1e6, 1e4)
    assert (config.rope_scaling, config.tie_weights) == ({"type": "linear", "factor": 8.0}, True)
    assert config.full_attention_layers == (5, 11, 17, 23, 29) and config.query_pre_attention_scalar == 256


def test_experts_in_some_layers_only(tmp_path: Path) -> None:
    config = {"model_type": "qwen3_moe", "num_hidden_layers": 6, "num_experts": 4, "num_experts_per_tok": 2}
    settings = settings_of(tmp_path, **config, decoder_sparse_step=2, mlp_only_layers=[3, 90])
    assert settings["dense_layers"] == (0, 2, 3, 4) and settings["num_experts"] == 4
    assert settings_of(tmp_path, **config | {"num_experts": 0})["num_experts"] is None
    assert settings["expert_dim"] == 768 and settings["normalize_gates"] is False


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}


def test_yarn_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    def read(**changes: Any) -> Any:
        return settings_of(tmp_path, model_type="llama", rope_scaling=YARN | changes)["rope_scaling"]

    assert read(beta_fast=0, beta_slow=None) == read()
    assert read()["attention_factor"] == pytest.approx(1.1386294361)
    assert read(mscale=1.0, mscale_all_dim=1.0)["attention_factor"] == 1
    assert read(mscale=2.0)["attention_factor"] == read()["attention_factor"]
    assert read(factor=None)["factor"] == 4  # 32 tokens for 8
    assert read(truncate=None)["truncate"] is False
    outer = settings_of(tmp_path, model_type="llama", rope_scaling=YARN, original_max_position_embeddings=16)
    assert outer["rope_scaling"]["original_context_length"] == 16
    nested = {FULL: {**YARN, "rope_theta": 9.0}, SLIDING: {"rope_type": "default"}}
    olmo = settings_of(tmp_path, model_type="olmo3", rope_parameters=nested)
    assert (olmo["rope_base"], olmo["window_rope_base"]) == (9.0, 5e5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "ministral", "layer_types": [FULL] * 2}, "one entry for each of num_hidden_layers 3"),
        ({"model_type": "ministral", "layer_types": SLIDING}, "layer_types must have one entry"),
        ({"model_type": "ministral", "layer_types": [FULL, FULL, "chunked_attention"]}, "others are not supported"),
        ({"model_type": "ministral", "layer_types": [FULL, FULL, ["x"]]}, "others are not supported"),
        ({"model_type": "ministral", "layer_types": {"0": FULL}}, "layer_types must list"),
        ({"model_type": "ministral", "layer_types": [SLIDING] * 3, "sliding_window": None}, "needs a sliding_window;"),
        ({"model_type": "qwen3", "head_dim": 4, "layer_types": [SLIDING] * 3}, "and use_sliding_window true"),
        ({"model_type": "llama", "layer_types": [SLIDING] * 3}, "must be all 'full_attention': transformers ignores"),
        ({"model_type": "mixtral", "sliding_window": 5, "layer_types": [FULL] * 3}, "must be all 'sliding_attention'"),
        ({"model_type": "mistral", "sliding_window": -4}, "sliding_window must be an integer of at least 1; got -4"),
        (
            {"model_type": "gemma2", "head_dim": 4, "sliding_window": 0},
            "sliding_window must be an integer of at least 1",
        ),
        ({"model_type": "gemma2", "head_dim": 4, "sliding_window": "8"}, "sliding_window must be an integer"),
        ({"model_type": "gemma2", "head_dim": 4, "sliding_window": None}, "needs a sliding_window"),
        ({"model_type": "qwen2", "use_sliding_window": 1}, "use_sliding_window must be true or false"),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": -1}, "max_window_layers must be"),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 0}, "sliding_window_pattern must be an integer"),
        (
            {"model_type": "gemma3_text", "sliding_window_pattern": 2, "layer_types": [FULL] * 3},
            "must agree with sliding_window_pattern",
        ),
        ({"model_type": "gemma2"}, "head_dim must be"),
        (
            {"model_type": "gemma2", "head_dim": 4, "attn_logit_softcapping": 0},
            "attn_logit_softcapping must be a finite",
        ),
        ({"model_type": "gemma2", "head_dim": 4, "final_logit_softcapping": "5"}, "final_logit_softcapping must be"),
        ({"model_type": "gemma2", "head_dim": 4, "query_pre_attn_scalar": -1}, "query_pre_attn_scalar must be"),
        ({"model_type": "gemma2", "head_dim": 4, "hidden_activation": "relu"}, "hidden_activation must be one of"),
        ({"model_type": "gemma2", "head_dim": 4, "use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"model_type": "gemma2", "head_dim": 4, "num_hidden_layers": 10**30}, "num_hidden_layers must be at most"),
        ({"model_type": "gemma3_text", "rope_parameters": {"rope_type": "default"}}, "and nothing beside them"),
        ({"model_type": "gemma3_text", "rope_parameters": {FULL: 3}}, "must be an object"),
        ({"model_type": "gemma3_text", "rope_parameters": {SLIDING: YARN}}, "no scaling for sliding_attention"),
        ({"model_type": "gemma3_text", "rope_scaling": {"rope_type": "dynamic", "factor": 2}}, "length of the text"),
        ({"model_type": "olmo3", "rope_scaling": YARN | {"truncate": False}}, "transformers 5 ignores it"),
        ({"model_type": "olmo3", "rope_theta": 1e4}, "rope_theta must be 500000 where"),
        ({"model_type": "qwen2", "rope_parameters": {FULL: {}, SLIDING: {}}}, "one object for all layers"),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": 0}, "decoder_sparse_step must be an integer of at least 1"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": [-1]}, "mlp_only_layers must be a list of layers"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": "all"}, "mlp_only_layers must be a list of layers"),
        ({"model_type": "qwen3_moe", "norm_topk_prob": None}, "norm_topk_prob must be true or false"),
        ({"model_type": "qwen3_moe", "num_experts": 3, "num_local_experts": 4}, "two names of one setting"),
        ({"model_type": "gemma3"}, "text_config must be an object"),
        ({"model_type": "gemma3", "text_config": {"model_type": "llama4_text"}}, "got 'llama4_text'"),
        ({"model_type": "gemma3", "text_config": {"sliding_window": -1}}, "text_config: sliding_window must be"),
    ],
    ids=str,
)
def test_contradictions_and_wrong_values_are_refused_by_name(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        settings_of(tmp_path, **config)
    assert str(tmp_path) in str(caught.value)


def test_a_model_in_a_config_with_images_is_opened_without_what_reads_them(tmp_path: Path) -> None:
    write_member(tmp_path / "text", "gemma3_text of transformers 5")
    plain = Llama.from_pretrained(tmp_path / "text")
    weights = read_safetensors(tmp_path / "text" / "model.safetensors", copy=True)
    text_config = read_json(tmp_path / "text" / "config.json")
    ids = np.arange(9).reshape(1, 9)
    for prefix in ("language_model.model.", "model.language_model."):
        folder = tmp_path / prefix
        folder.mkdir()
        tensors = {name.replace("model.", prefix, 1): array for name, array in weights.items()}
        images = {"vision_tower.head.probe": np.ones(2), "multi_modal_projector.mm_soft_emb_norm.weight": np.ones(2)}
        write_safetensors(folder / "model.safetensors", tensors | images)
        write_json(folder / "config.json", {"model_type": "gemma3", "text_config": text_config, "vision_config": {}})
        model = Llama.from_pretrained(folder)
        assert model.config.logit_softcap is None  # which transformers ignores here
        inverse = np.arctanh(plain(ids).data / 6.0) * 6.0
        np.testing.assert_allclose(model(ids).data, inverse, rtol=1e-6)


def test_settings_that_only_part_of_a_family_can_write(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, **CONFIGS["olmo3"])
    written = LlamaConfig.from_dict(settings).to_dict()
    assert config_json(written, None)["rope_parameters"][SLIDING] == {"rope_type": "default", "rope_theta": 5e5}
    written["rope_scaling"]["truncate"] = False
    with pytest.raises(ConfigError, match="YaRN must truncate"):
        config_json(written, None)
    gemma = LlamaConfig.from_dict(settings_of(tmp_path, **CONFIGS["gemma2"])).to_dict()
    assert config_json(gemma, None)["query_pre_attn_scalar"] == 9
    none = config_json(gemma | {"window": None, "full_attention_layers": ()}, None)
    assert none["layer_types"] == [FULL] * 3 and none["sliding_window"] == 32
