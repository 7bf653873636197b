"""The settings of the Llama family: a config.json as the settings of a LlamaConfig, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError, FormatError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.huggingface_weights import HuggingFaceConfig
from tinygrad_llm.interop.llama_members import ALL, MEMBERS, PLAIN, Member
from tinygrad_llm.interop.rotary_settings import FULL, SLIDING, read_rotation, read_rotations, rotation_json
from tinygrad_llm.layers.layer_pattern import is_of_first_kind
from tinygrad_llm.nn.feed_forward import gated_hidden_dim
from tinygrad_llm.text import Tokenizer

ACTIVATIONS = {"silu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
KNOWN_ACTIVATIONS = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | {"swish": "silu", "gelu_new": "gelu_tanh"}
MOST_LAYERS = 10_000  # a config.json of a few bytes must not make a list of any length
# Options that change the output and are not supported.
MUST_BE_UNSET = (
    "mlp_bias",
    "use_bidirectional_attention",
    "router_jitter_noise",
    "partial_rotary_factor",
    "quantization_config",
)


# Reading.


def read_settings(
    path: Path, dropout: float | None = None, content: dict[str, Any] | None = None
) -> tuple[dict[str, Any], Member]:
    """The settings of a LlamaConfig in a config.json of the family, and the member that it is of.

    With `content`, `path` is a file of another kind in which the content of such a config.json was found.

    `dropout`, if given, replaces attention_dropout, which transformers applies to attention only.

    Raises: FormatError, naming an option that is not supported
    """
    config = HuggingFaceConfig(path, {"num_local_experts": "num_experts"}, content)
    images = config.model_type == "gemma3"  # a Gemma 3 that also reads images: only its text part is used
    tied = config.flag("tie_word_embeddings", True) if images else None
    if images:
        config.expect_unset("quantization_config")
        config = config.section("text_config", "gemma3_text")
    elif config.model_type == "mistral" and "layer_types" in config.settings:
        config.model_type = "ministral"  # as transformers' AutoModel opens it
    member = MEMBERS.get(config.model_type) if isinstance(config.model_type, str) else None
    if member is None:
        raise FormatError(
            f"{path}: model_type must be one of {', '.join(MEMBERS)} or gemma3; got {shown(config.model_type)}"
        )
    config.defaults = member.defaults
    config.expect_unset(*MUST_BE_UNSET)
    settings: dict[str, Any] = {
        **member.fixed,
        **_sizes(config),
        "dropout": config.get("attention_dropout", 0.0) if dropout is None else dropout,
        "norm_eps": config.get("rms_norm_eps", 1e-6),
        "activation": _activation(config, member),
        "tie_weights": config.flag("tie_word_embeddings", False) if tied is None else tied,
    }
    settings["qkv_bias"], settings["output_bias"] = member.biases[0]
    if ALL in member.biases:
        settings["qkv_bias"] = settings["output_bias"] = config.flag("attention_bias", False)
    settings |= _windows(config, member, settings["num_layers"])
    settings |= _rotations(config, member, settings)
    if "num_experts" not in member.fixed:
        settings |= _experts(config, settings["num_layers"])
    for ours, theirs in (
        ("query_pre_attention_scalar", "query_pre_attn_scalar"),
        ("attention_softcap", "attn_logit_softcapping"),
        ("logit_softcap", "final_logit_softcapping"),
    ):
        if ours not in member.fixed:
            settings[ours] = config.positive(theirs)
    if images:
        settings["logit_softcap"] = None  # transformers ignores it where Gemma 3 also reads images
    for name, value in member.fixed.items():
        if settings[name] != value:
            raise FormatError(f"{path}: a {config.model_type} must have {name} {value}; got {shown(settings[name])}")
    return settings, member


def _sizes(config: HuggingFaceConfig) -> dict[str, Any]:
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = heads  # null means this number; if it is left out, each member of the family has another default
    if config.get("num_key_value_heads", 0) is not None:
        kv_heads = config.size("num_key_value_heads")
    head_dim = config.get("head_dim", 0 if config.model_type in ("gemma", "gemma2", "qwen3") else None)
    if head_dim is not None and config.size("head_dim") * heads == width:
        head_dim = None  # the default
    layers = config.size("num_hidden_layers")
    if layers > MOST_LAYERS:
        raise config.refusal("num_hidden_layers", f"must be at most {MOST_LAYERS:,}")
    return {
        "vocab_size": config.size("vocab_size"),
        "context_length": config.size("max_position_embeddings"),
        "embedding_dim": width,
        "num_heads": heads,
        "num_layers": layers,
        "num_kv_heads": kv_heads,
        "head_dim": head_dim,
        "feed_forward_dim": config.size("intermediate_size"),
    }


def _activation_name(model_type: str) -> str:
    return "hidden_activation" if model_type in ("gemma2", "gemma3_text") else "hidden_act"


def _activation(config: HuggingFaceConfig, member: Member) -> str:
    known = KNOWN_ACTIVATIONS
    if config.model_type == "gemma":
        known = known | {"gelu": "gelu_tanh"}  # as transformers reads it
    usual = "gelu_pytorch_tanh" if member.fixed["norm_around_one"] else "silu"
    return config.choice(_activation_name(config.model_type), usual, known)


def _windows(config: HuggingFaceConfig, member: Member, layers: int) -> dict[str, Any]:
    """`window` and `full_attention_layers`, from sliding_window, layer_types and older settings in place of these."""
    kinds = config.get("layer_types")
    if kinds is not None:
        kinds = [FULL if kind == "attention" else kind for kind in kinds] if isinstance(kinds, list) else [kinds]
        if any(kind not in (FULL, SLIDING) for kind in kinds):
            raise config.refusal("layer_types", f"must list {FULL!r} or {SLIDING!r}: others are not supported")
        if len(kinds) != layers:
            raise config.refusal("layer_types", f"must have one entry for each of num_hidden_layers {layers}")
    has_window = member.layer_types != "none" and (config.flag("use_sliding_window", False) or not member.switched)
    if member.layer_types == "none":
        config.expect_unset("use_sliding_window")
    window = None if not has_window or config.get("sliding_window") is None else config.size("sliding_window")
    usual = _usual_layer_types(config, member, layers, window)
    if kinds is None:
        kinds = usual
    elif member.layer_types in ("none", "all") and kinds != usual:
        why = (
            f"all {usual[0]!r}: transformers ignores layer_types in a {config.model_type}, so that others would mislead"
        )
        raise config.refusal("layer_types", f"must be {why}")
    elif config.model_type == "gemma3_text" and "sliding_window_pattern" in config.settings and kinds != usual:
        raise config.refusal("layer_types", "must agree with sliding_window_pattern, which says the same; remove one")
    if SLIDING not in kinds:
        return {"window": None, "full_attention_layers": ()}
    if window is None:
        switch = " and use_sliding_window true" if member.switched else ""
        raise config.refusal("layer_types", f"with {SLIDING!r} needs a sliding_window{switch}")
    return {"window": window, "full_attention_layers": tuple(i for i, kind in enumerate(kinds) if kind == FULL)}


def _usual_layer_types(config: HuggingFaceConfig, member: Member, layers: int, window: int | None) -> list[str]:
    """The types of layers where layer_types is left out."""
    if isinstance(member.layer_types, int):
        every = member.layer_types
        if config.model_type == "gemma3_text":  # the only one where transformers reads it
            every = config.size("sliding_window_pattern", every)
        return [FULL if (layer + 1) % every == 0 else SLIDING for layer in range(layers)]
    if window is None:
        return [FULL] * layers
    first = 0
    if member.switched and member.layer_types == "given":
        first = min(config.size("max_window_layers", 28, least=0), layers)
    return [FULL] * first + [SLIDING] * (layers - first)


def _rotations(config: HuggingFaceConfig, member: Member, settings: Mapping[str, Any]) -> dict[str, Any]:
    default_base = member.defaults.get("rope_theta", 1e4)
    if not member.rope_by_layer_type:
        base, scaling = read_rotation(config, default_base)
        return {"rope_base": base, "rope_scaling": scaling}
    everywhere, in_windows = read_rotations(config, default_base)
    window_base = None if settings["window"] is None or in_windows == everywhere else in_windows.base
    if window_base is not None and in_windows.scaling is not None:
        raise config.refusal("rope_parameters", f"must have no scaling for {SLIDING}, or that of {FULL}")
    return {"rope_base": everywhere.base, "rope_scaling": everywhere.scaling, "window_rope_base": window_base}


def _experts(config: HuggingFaceConfig, layers: int) -> dict[str, Any]:
    if config.get("num_local_experts") == 0 and config.model_type == "qwen3_moe":
        return {"num_experts": None, "normalize_gates": None, "expert_dim": None, "dense_layers": ()}
    settings = {
        "num_experts": config.size("num_local_experts"),
        "experts_per_token": config.size("num_experts_per_tok"),
        "balance": config.get("router_aux_loss_coef", 0.001),
        "normalize_gates": True,
    }
    if config.model_type == "mixtral":
        return settings
    settings["normalize_gates"] = config.flag("norm_topk_prob", False)
    settings["expert_dim"] = config.size("moe_intermediate_size")
    step, dense = config.size("decoder_sparse_step", 1), config.get("mlp_only_layers") or []
    if not isinstance(dense, list) or any(type(layer) is not int or layer < 0 for layer in dense):
        raise config.refusal("mlp_only_layers", "must be a list of layers, counted from 0")
    settings["dense_layers"] = tuple(layer for layer in range(layers) if layer in dense or (layer + 1) % step)
    return settings


# Writing.


def with_windows_by_layer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, with the layers that a `window_pattern` leaves without a window listed by number."""
    pattern, layers = settings["window_pattern"], range(settings["num_layers"])
    if pattern is None:
        return dict(settings)
    full = tuple(layer for layer in layers if not is_of_first_kind(pattern, layer))
    return {**settings, "window_pattern": None, "full_attention_layers": full}


def member_of(settings: Mapping[str, Any]) -> str:
    """The model_type of the member that has these settings. Raises: ConfigError if none has"""
    biases = (settings["qkv_bias"], settings["output_bias"])
    for model_type, member in MEMBERS.items():
        fits = biases in member.biases and all(settings[name] == value for name, value in member.fixed.items())
        if fits and _is_saved(model_type, settings):
            return model_type
    names = [
        name
        for name in ("qkv_bias", "output_bias", *PLAIN, "activation", "experts_per_token")
        if name not in PLAIN or settings[name] != PLAIN[name]
    ]
    combination = ", ".join(f"{name} {settings[name]}" for name in names)
    raise ConfigError(
        f"save_pretrained: the settings must be those of one of {', '.join(MEMBERS)}; no Hugging Face model has "
        f"{combination}"
    )


def _is_saved(model_type: str, settings: Mapping[str, Any]) -> bool:
    """What a member needs beyond its fixed settings."""
    normalizes = settings["normalize_gates"]
    normalizes = settings["experts_per_token"] > 1 if normalizes is None else normalizes
    if model_type == "mixtral":
        return settings["num_experts"] is not None and normalizes
    if model_type == "qwen3_moe":
        return settings["num_experts"] is not None
    if model_type in ("llama", "gemma2", "gemma3_text"):  # transformers wants this whatever head_dim says
        return not settings["embedding_dim"] % settings["num_heads"]
    return True


def config_json(settings: Mapping[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    """The config.json of a Llama with these settings. Raises: ConfigError if no member of the family has them"""
    model_type = member_of(settings)
    member = MEMBERS[model_type]
    end_of_text = tokenizer.end_of_text if tokenizer is not None else None
    width, heads, layers = settings["embedding_dim"], settings["num_heads"], settings["num_layers"]
    inner = settings["feed_forward_dim"] or gated_hidden_dim(width)
    return {
        "architectures": [member.architecture],
        "model_type": model_type,
        "vocab_size": settings["vocab_size"],
        "max_position_embeddings": settings["context_length"],
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": settings["num_kv_heads"] or heads,
        "head_dim": settings["head_dim"] or width // heads,
        "intermediate_size": inner,
        "attention_dropout": settings["dropout"],
        "rms_norm_eps": settings["norm_eps"],
        _activation_name(model_type): ACTIVATIONS[settings["activation"]],
        "initializer_range": 0.02,
        "tie_word_embeddings": settings["tie_weights"],
        "attention_bias": settings["output_bias"],
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": None,
        **_rotations_json(settings, member),
        **_windows_json(settings, member),
        **_experts_json(settings, member, inner),
        **_scores_json(settings, member),
    }


def _rotations_json(settings: Mapping[str, Any], member: Member) -> dict[str, Any]:
    base, scaling = settings["rope_base"], settings["rope_scaling"]
    everywhere = rotation_json(base, scaling)
    older = {"rope_theta": base, "rope_scaling": None if scaling is None else everywhere}  # for older readers
    if not member.rope_by_layer_type:
        return {"rope_parameters": everywhere, **older}
    window_base = settings["window_rope_base"]
    in_windows = everywhere if window_base is None else rotation_json(window_base, None)
    if scaling is not None and scaling.get("type") == "yarn":
        if not everywhere.pop("truncate"):
            raise ConfigError("save_pretrained: YaRN must truncate where layers have two rotations; got truncate False")
        in_windows.pop("truncate", None)
    older["rope_local_base_freq"] = in_windows["rope_theta"]
    return {"rope_parameters": {FULL: everywhere, SLIDING: in_windows}, **older}


def _windows_json(settings: Mapping[str, Any], member: Member) -> dict[str, Any]:
    window, layers, full = settings["window"], settings["num_layers"], settings["full_attention_layers"]
    written: dict[str, Any] = {"sliding_window": window}
    if member.switched:
        written["use_sliding_window"] = window is not None
    if member.layer_types == "given" or isinstance(member.layer_types, int):
        kinds = [FULL if window is None or layer in full else SLIDING for layer in range(layers)]
        written["layer_types"] = kinds
        if isinstance(member.layer_types, int):  # transformers needs a number even where no layer uses it
            written["sliding_window"] = settings["context_length"] if window is None else window
        else:  # for older readers
            written["max_window_layers"] = kinds.index(SLIDING) if SLIDING in kinds else layers
    return written


def _experts_json(settings: Mapping[str, Any], member: Member, inner: int) -> dict[str, Any]:
    if settings["num_experts"] is None:
        return {}
    written = {
        "num_local_experts": settings["num_experts"],
        "num_experts_per_tok": settings["experts_per_token"],
        "router_aux_loss_coef": settings["balance"],
    }
    if "expert_dim" in member.fixed:
        return written
    normalizes = settings["normalize_gates"]
    return {
        **written,
        "num_experts": settings["num_experts"],  # the older name
        "moe_intermediate_size": settings["expert_dim"] or inner,
        "norm_topk_prob": settings["experts_per_token"] > 1 if normalizes is None else normalizes,
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(settings["dense_layers"]),
    }


def _scores_json(settings: Mapping[str, Any], member: Member) -> dict[str, Any]:
    if "query_pre_attention_scalar" in member.fixed:
        return {}
    scalar = settings["query_pre_attention_scalar"]
    if scalar is None:
        scalar = settings["head_dim"] or settings["embedding_dim"] // settings["num_heads"]
    return {
        "query_pre_attn_scalar": int(scalar) if scalar == int(scalar) else scalar,
        "attn_logit_softcapping": settings["attention_softcap"],
        "final_logit_softcapping": settings["logit_softcap"],
    }
