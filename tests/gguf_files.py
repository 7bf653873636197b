"""The bytes of GGUF files, valid or not, for tests."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_llm.formats.gguf import TENSOR_TYPES
from tinygrad_llm.nn.feed_forward import gated_hidden_dim

TYPE_NUMBERS = {name: number for number, name in TENSOR_TYPES.items()}


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def value(content: Any) -> bytes:
    """A value with its type: bool, uint32 or int32, float32, string, or an array of one of these."""
    if isinstance(content, bool):
        return struct.pack("<I?", 7, content)
    if isinstance(content, int):
        return struct.pack("<II", 4, content) if content >= 0 else struct.pack("<Ii", 5, content)
    if isinstance(content, float):
        return struct.pack("<If", 6, content)
    if isinstance(content, str):
        return struct.pack("<I", 8) + string(content)
    items = [value(item) for item in content] or [value("")]
    kinds = {item[:4] for item in items}
    kind = items[0][:4] if len(kinds) == 1 else struct.pack("<I", 5)  # unsigned and signed numbers together
    return (
        struct.pack("<I", 9) + kind + struct.pack("<Q", len(content)) + b"".join(item[4:] for item in items if content)
    )


def tensor_entry(name: str | bytes, shape: tuple[int, ...], kind: str | int, offset: int) -> bytes:
    """An entry of the list of tensors; `shape` in NumPy's order."""
    number = kind if isinstance(kind, int) else TYPE_NUMBERS[kind]
    axes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    return string(name) + axes + struct.pack("<IQ", number, offset)


def gguf_bytes(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Any] | None = None,
    *,
    version: int = 3,
    alignment: int = 32,
    kinds: Mapping[str, str] | None = None,
) -> bytes:
    """A file; a tensor is a float32 array, or has its shape and its bytes in the type of `kinds`."""
    entries, data = b"", b""
    for name, content in (tensors or {}).items():
        kind = (kinds or {}).get(name, "F32")
        shape, raw = content if isinstance(content, tuple) else (content.shape, np.asarray(content, "<f4").tobytes())
        data += b"\0" * (-len(data) % alignment)
        entries += tensor_entry(name, shape, kind, len(data))
        data += raw
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors or {}), len(metadata))
    head += b"".join(string(key) + value(content) for key, content in metadata.items()) + entries
    return head + b"\0" * (-len(head) % alignment) + data


# A whole model, as llama.cpp's converter would write it.

NAMES = {
    "norm1": "attn_norm",
    "norm2": "ffn_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.output": "attn_output",
    "attention.query_norm": "attn_q_norm",
    "attention.key_norm": "attn_k_norm",
    "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up",
    "feed_forward.down": "ffn_down",
    "norm1_after": "post_attention_norm",
    "norm2_after": "post_ffw_norm",
    "feed_forward.router": "ffn_gate_inp",
}
EXPERT = re.compile(r"feed_forward\.experts\.(\d+)\.(gate|up|down)")
WHOLE = {"head.linear": "output", "token_embedding": "token_embd", "final_norm": "output_norm", "head": "output"}


def as_llama_cpp_rotates(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of a head that are i and i + half, as rows 2 i and 2 i + 1."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def model_tensors(model: Any, architecture: str) -> dict[str, np.ndarray[Any, Any]]:
    """The weights of a Llama of ours under the names of a GGUF file."""
    config = model.config
    tensors = {}
    for name, array in model.state_dict().items():
        part, _, kind = name.rpartition(".")
        if part in WHOLE:
            theirs = WHOLE[part]
        else:
            _, layer, part = part.split(".", 2)
            expert = EXPERT.fullmatch(part)
            if expert is not None:  # those of a layer are one array
                theirs = f"blk.{layer}.ffn_{expert[2]}_exps.weight"
                tensors[theirs] = np.concatenate([tensors[theirs], array[None]]) if theirs in tensors else array[None]
                continue
            theirs = f"blk.{layer}.{NAMES[part]}"
        if architecture == "llama" and part in ("attention.query", "attention.key"):
            heads = config.num_heads if part == "attention.query" else config.num_kv_heads or config.num_heads
            array = as_llama_cpp_rotates(array, heads)
        if architecture.startswith("gemma") and "norm" in theirs:
            array = array + np.float32(1)
        tensors[f"{theirs}.{kind}"] = array
    return tensors


def model_metadata(model: Any, architecture: str) -> dict[str, Any]:
    """The settings of a Llama of ours under the keys of a GGUF file."""
    config = model.config
    head_dim = config.head_dim or config.embedding_dim // config.num_heads
    settings = {
        "context_length": config.context_length,
        "embedding_length": config.embedding_dim,
        "block_count": config.num_layers,
        "feed_forward_length": config.feed_forward_dim or gated_hidden_dim(config.embedding_dim),
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads or config.num_heads,
        "attention.layer_norm_rms_epsilon": float(config.norm_eps),
        "rope.freq_base": float(config.rope_base),
        "rope.dimension_count": head_dim,
        "vocab_size": config.vocab_size,
    }
    if config.head_dim is not None:
        settings |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if config.window is not None:
        settings["attention.sliding_window"] = config.window
    if config.num_experts is not None:
        settings |= {"expert_count": config.num_experts, "expert_used_count": config.experts_per_token}
    if config.expert_dim is not None:
        settings["expert_feed_forward_length"] = config.expert_dim
    if config.rope_scaling is not None and config.rope_scaling.get("type") == "linear":
        settings |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(config.rope_scaling["factor"])}
    for ours, theirs in (("attention_softcap", "attn_logit"), ("logit_softcap", "final_logit")):
        if getattr(config, ours) is not None:
            settings[f"{theirs}_softcapping"] = float(getattr(config, ours))
    named = {f"{architecture}.{key}": value for key, value in settings.items()}
    return {"general.architecture": architecture, "general.name": "a test", **named}


BPE_TOKENS = ["a", "b", "c", "Ġ", "ab", "Ġa", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "Ċ"]
BPE_TOKENIZER: dict[str, Any] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": BPE_TOKENS,
    "tokenizer.ggml.token_type": [1, 1, 1, 1, 1, 1, 3, 3, 3, 1],
    "tokenizer.ggml.merges": ["a b", "Ġ a"],
    "tokenizer.ggml.bos_token_id": 6,
    "tokenizer.ggml.eos_token_id": 8,
    "tokenizer.ggml.add_bos_token": False,
}
SENTENCEPIECE_TOKENS = ["<unk>", "<s>", "</s>", "<0x41>", "<0xC3>", "<0xA9>", "▁", "a", "b", "ab", "▁a", "<user>"]
SENTENCEPIECE_TOKENIZER: dict[str, Any] = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": SENTENCEPIECE_TOKENS,
    "tokenizer.ggml.token_type": [2, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 4],
    "tokenizer.ggml.scores": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -3.0, -4.0, -5.0, -1.0, -2.0, 0.0],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
}


def model_file(model: Any, architecture: str, tokenizer: Mapping[str, Any] = BPE_TOKENIZER, **changes: Any) -> bytes:
    """A GGUF file of a Llama of ours, float32; `changes` to its metadata, with __ for a dot, None to leave out."""
    metadata = {**model_metadata(model, architecture), **tokenizer}
    metadata |= {name.replace("__", "."): value for name, value in changes.items()}
    metadata = {name: value for name, value in metadata.items() if value is not None}
    return gguf_bytes(metadata, model_tensors(model, architecture))
