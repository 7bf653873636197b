"""Rotary positions in a config.json: rope_parameters of transformers 5, and the older rope_theta and rope_scaling.

    rope_parameters   {"rope_type": ..., "rope_theta": ..., and the settings of the type}
                      or {"full_attention": such an object, "sliding_attention": another}
    rope_scaling      such an object without rope_theta; in models with two of them, of full attention only

A setting has transformers' meaning, also where that is surprising; each such place says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tinygrad_llm.checks import is_number
from tinygrad_llm.errors import ConfigError, FormatError
from tinygrad_llm.interop.huggingface_weights import HuggingFaceConfig
from tinygrad_llm.layers.rotary_scaling import OPTIONAL, REQUIRED, complete_scaling, rotary_magnitude

FULL, SLIDING = "full_attention", "sliding_attention"
ORIGINAL_LENGTH = "original_max_position_embeddings"
THEIRS = {"original_context_length": ORIGINAL_LENGTH}  # the other names are the same


class Rotation(NamedTuple):
    """`rope_base` and `rope_scaling` of a LlamaConfig."""

    base: Any
    scaling: dict[str, Any] | None


def read_rotation(config: HuggingFaceConfig, default_base: float) -> Rotation:
    """The rotation of a model whose layers have the same. Raises: FormatError, naming what is not supported"""
    name = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = _object(config, name)
    if FULL in rope or SLIDING in rope:
        raise config.refusal(name, "must be one object for all layers of this model, not one for each layer type")
    if config.get(ORIGINAL_LENGTH) is not None:  # beside the object: goes before the one inside
        rope = rope | {ORIGINAL_LENGTH: config.get(ORIGINAL_LENGTH)}
    base = rope.get("rope_theta", config.get("rope_theta", default_base))
    return Rotation(base, _read_scaling(config, name, rope))


def read_rotations(config: HuggingFaceConfig, default_base: float) -> tuple[Rotation, Rotation]:
    """The rotations of layers without and with a window, of a model that has two.

    Raises: FormatError, naming what is not supported
    """
    name = "rope_parameters"
    nested = _object(config, name)
    if not nested.keys() <= {FULL, SLIDING}:  # transformers ignores what else is there
        raise config.refusal(name, f"must have an object {FULL} and one {SLIDING}, and nothing beside them")
    full, sliding = (_object(config, name, nested.get(kind)) for kind in (FULL, SLIDING))
    base, local_base = config.get("rope_theta", default_base), config.get("rope_local_base_freq", default_base)
    if config.model_type == "olmo3":
        local_base = default_base
        if "rope_theta" not in sliding and base != default_base:
            raise config.refusal(
                "rope_theta",
                f"must be {default_base:g} where {name} does not say it for {SLIDING}: transformers 5 takes another "
                f"number for {FULL} only",
            )
    full = full | _object(config, "rope_scaling")
    if not all(rope.get("truncate", True) for rope in (full, sliding)):
        raise config.refusal(name, "must not turn off truncate for a layer type: transformers 5 ignores it there")
    return (
        Rotation(full.get("rope_theta", base), _read_scaling(config, name, full)),
        Rotation(sliding.get("rope_theta", local_base), _read_scaling(config, name, sliding)),
    )


def _object(config: HuggingFaceConfig, name: str, *value: Any) -> dict[str, Any]:
    rope = (value[0] if value else config.get(name)) or {}
    if not isinstance(rope, dict):
        raise config.refusal(name, "must be an object")
    return rope


def _read_scaling(config: HuggingFaceConfig, name: str, rope: Mapping[str, Any]) -> dict[str, Any] | None:
    """Our scaling of an object of transformers'."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    if rope.get("partial_rotary_factor", 1) != 1:
        raise config.refusal(name, "must not have a partial_rotary_factor: it is not supported")
    if kind == "default" or (kind == "linear" and rope.get("factor") == 1):  # positions divided by 1
        return None
    if not isinstance(kind, str) or kind not in REQUIRED:
        reason = ": its frequencies change with the length of the text" if kind in ("dynamic", "longrope") else ""
        raise config.refusal(
            name, f"must have rope_type 'default', {', '.join(map(repr, REQUIRED))}: others are not supported{reason}"
        )
    rope = {ORIGINAL_LENGTH: config.get("max_position_embeddings")} | dict(rope)  # the default, as in transformers
    names = [*REQUIRED[kind], *OPTIONAL.get(kind, {})]
    scaling = {ours: rope[THEIRS.get(ours, ours)] for ours in names if THEIRS.get(ours, ours) in rope}
    if kind == "yarn":
        scaling = _yarn_as_transformers_reads_it(config, scaling, rope)
    missing = [THEIRS.get(ours, ours) for ours in REQUIRED[kind] if ours not in scaling]
    if missing:
        wanted = ", ".join(THEIRS.get(ours, ours) for ours in REQUIRED[kind])
        raise config.refusal(name, f"must have {wanted}; {', '.join(missing)} is missing")
    try:
        scaling = complete_scaling({"type": kind, **scaling})
    except ConfigError as error:
        raise FormatError(f"{config.path}: {name}: {str(error).removeprefix('rotary_frequencies: ')}") from None
    if kind == "yarn":
        return scaling | {"attention_factor": rotary_magnitude(scaling)}
    return scaling


def _yarn_as_transformers_reads_it(
    config: HuggingFaceConfig, scaling: dict[str, Any], rope: Mapping[str, Any]
) -> dict[str, Any]:
    """null and 0 mean the default, apart from truncate's; mscale and mscale_all_dim give the attention factor."""
    truncate = bool(scaling.pop("truncate", True))
    if "factor" in scaling and scaling["factor"] is None:
        original, length = rope[ORIGINAL_LENGTH], config.get("max_position_embeddings")
        if is_number(original) and is_number(length) and original:
            scaling["factor"] = length / original
    scaling = {
        name: value
        for name, value in scaling.items()
        if value is not None and not (name.startswith("beta") and value == 0)
    }
    factor, numerator, denominator = (scaling.get("factor"), rope.get("mscale"), rope.get("mscale_all_dim"))
    if "attention_factor" not in scaling and numerator and denominator:
        if not all(is_number(value) and value > 0 for value in (factor, numerator, denominator)):  # type: ignore[operator]
            raise config.refusal("rope_parameters", "must have factor, mscale and mscale_all_dim above 0")
        growth = 0.1 * math.log(max(float(factor or 1), 1.0))
        scaling["attention_factor"] = (growth * numerator + 1) / (growth * denominator + 1)
    return scaling | {"truncate": truncate}


def rotation_json(base: float, scaling: Mapping[str, Any] | None) -> dict[str, Any]:
    """The object of transformers'."""
    if scaling is None:
        return {"rope_type": "default", "rope_theta": base}
    settings = complete_scaling(scaling)
    kind = settings.pop("type", "llama3")
    if kind == "yarn":
        settings["attention_factor"] = rotary_magnitude(scaling)
    return {
        "rope_type": kind,
        "rope_theta": base,
        **{THEIRS.get(ours, ours): value for ours, value in settings.items()},
    }
