"""The Llama family's names in Hugging Face folders.

ours                                      theirs
token_embedding.weight                    model.embed_tokens.weight
blocks.0.norm1, norm2                     model.layers.0.input_layernorm, post_attention_layernorm
    Gemma 2 and 3: norm1, norm1_after     model.layers.0.input_layernorm, post_attention_layernorm
        and norm2, norm2_after            model.layers.0.pre_feedforward_layernorm, post_feedforward_layernorm
    OLMo: norm1_after, norm2_after        model.layers.0.post_attention_layernorm, post_feedforward_layernorm
blocks.0.attention.query, key, value      model.layers.0.self_attn.q_proj, k_proj, v_proj
blocks.0.attention.query_norm, key_norm   model.layers.0.self_attn.q_norm, k_norm
blocks.0.attention.output                 model.layers.0.self_attn.o_proj
blocks.0.feed_forward.gate, up, down      model.layers.0.mlp.gate_proj, up_proj, down_proj
    or .router                            model.layers.0.mlp.gate                               Qwen3-MoE
    and .experts.0.gate, up, down         model.layers.0.mlp.experts.0.gate_proj, up_proj, down_proj
    or .router                            model.layers.0.block_sparse_moe.gate                  Mixtral
    and .experts.0.gate, up, down         model.layers.0.block_sparse_moe.experts.0.w1, w3, w2
final_norm                                model.norm
head.weight (head.linear.weight           lm_head.weight              absent if tied to embed_tokens
    with a logit_softcap)

The settings are in llama_settings.py, the members of the family in llama_members.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinygrad_llm.formats import read_sharded_safetensors
from tinygrad_llm.interop.forms import HuggingFaceForm
from tinygrad_llm.interop.huggingface_weights import (
    CONFIG,
    HEAD,
    Arrays,
    Place,
    head_is_tied,
    state_from,
    tensors_from,
    write_folder,
)
from tinygrad_llm.interop.llama_members import MEMBERS, Member
from tinygrad_llm.interop.llama_settings import config_json, member_of, read_settings, with_windows_by_layer
from tinygrad_llm.nn.feed_forward import gated_hidden_dim
from tinygrad_llm.text import Tokenizer

# Not read: frequencies that old versions saved, and the parts of Gemma 3 that read images.
LEFT_OUT = re.compile(r"(.*\.)?rotary_emb\.inv_freq|(model\.)?(vision_tower|multi_modal_projector)\..*")
TEXT_PART = re.compile(r"language_model\.(?=(model|lm_head)\.)|(?<=^model\.)language_model\.")


def places(settings: Mapping[str, Any], member: Member) -> Iterator[Place]:
    """The places of all weights of a Llama with these settings, layer by layer."""
    width, heads = settings["embedding_dim"], settings["num_heads"]
    inner = settings["feed_forward_dim"] or gated_hidden_dim(width)
    head_dim = settings["head_dim"] or width // heads
    kv_heads = settings["num_kv_heads"] or heads
    yield Place("model.embed_tokens.weight", (settings["vocab_size"], width), ("token_embedding.weight",))
    for layer in range(settings["num_layers"]):
        block, layer_name = f"blocks.{layer}.", f"model.layers.{layer}."
        for ours, theirs in member.norm_names:
            yield Place(f"{layer_name}{theirs}.weight", (width,), (f"{block}{ours}.weight",))
        for ours, theirs, rows, columns, bias in (
            ("query", "q_proj", heads * head_dim, width, settings["qkv_bias"]),
            ("key", "k_proj", kv_heads * head_dim, width, settings["qkv_bias"]),
            ("value", "v_proj", kv_heads * head_dim, width, settings["qkv_bias"]),
            ("output", "o_proj", width, heads * head_dim, settings["output_bias"]),
        ):
            ours, theirs = f"{block}attention.{ours}", f"{layer_name}self_attn.{theirs}"
            yield Place(f"{theirs}.weight", (rows, columns), (f"{ours}.weight",))
            if bias:
                yield Place(f"{theirs}.bias", (rows,), (f"{ours}.bias",))
        if settings["qk_norm"] or settings["joint_qk_norm"]:
            for ours, theirs, count in (("query_norm", "q_norm", heads), ("key_norm", "k_norm", kv_heads)):
                size = head_dim * count if settings["joint_qk_norm"] else head_dim
                yield Place(f"{layer_name}self_attn.{theirs}.weight", (size,), (f"{block}attention.{ours}.weight",))
        if settings["num_experts"] is None or layer in settings["dense_layers"]:
            yield from _gated(f"{layer_name}mlp.", f"{block}feed_forward.", width, inner)
            continue
        experts_name, ours = f"{layer_name}{member.experts_name}.", f"{block}feed_forward."
        yield Place(f"{experts_name}gate.weight", (settings["num_experts"], width), (f"{ours}router.weight",))
        expert_inner = settings["expert_dim"] or inner
        for expert in range(settings["num_experts"]):
            theirs = f"{experts_name}experts.{expert}."
            yield from _gated(theirs, f"{ours}experts.{expert}.", width, expert_inner, member.expert_parts)
    yield Place("model.norm.weight", (width,), ("final_norm.weight",))
    if not settings["tie_weights"]:
        head = "head.weight" if settings["logit_softcap"] is None else "head.linear.weight"
        yield Place(HEAD, (settings["vocab_size"], width), (head,))


def _gated(
    theirs: str, ours: str, width: int, inner: int, parts: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
) -> Iterator[Place]:
    """The three weights of one gated feed-forward layer."""
    for part, name, shape in zip(parts, ("gate", "up", "down"), (*[(inner, width)] * 2, (width, inner)), strict=True):
        yield Place(f"{theirs}{part}.weight", shape, (f"{ours}{name}.weight",))


def read_llama(folder: str | os.PathLike[str], dropout: float | None = None) -> tuple[dict[str, Any], Arrays]:
    """The settings of the LlamaConfig and the state dict of the Llama in a folder.

    The arrays are views of the file, copied when they are written; BF16 and F16 become float32 copies.

    Raises: FormatError, naming the file, for one that is missing, damaged or of another model
    """
    folder = Path(folder)
    settings, member = read_settings(folder / CONFIG, dropout)
    return with_state(settings, member, read_sharded_safetensors(folder, as_float32=True, copy=True), folder)


def with_state(
    settings: dict[str, Any], member: Member, tensors: Arrays, source: Path
) -> tuple[dict[str, Any], Arrays]:
    """The settings of a LlamaConfig, and the state dict made of the `tensors` of `source`.

    Raises: FormatError for tensors that do not fit the settings
    """
    tensors = {TEXT_PART.sub("", name): array for name, array in tensors.items() if not LEFT_OUT.fullmatch(name)}
    settings["tie_weights"] = head_is_tied(tensors, "model.embed_tokens.weight", settings["tie_weights"])
    return settings, state_from(
        tensors, places(settings, member), source, f"a Llama of {settings['num_layers']} layers"
    )


def write_llama(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write a Llama of these settings and weights, and its tokenizer, as transformers opens them.

    Raises: ConfigError, StateDictError, TokenizerError, CheckpointError
    """
    settings = with_windows_by_layer(settings)
    tensors = tensors_from(state, places(settings, MEMBERS[member_of(settings)]), "Llama")
    write_folder(Path(folder), config_json(settings, tokenizer), tensors, tokenizer, settings)


FORM = HuggingFaceForm((*MEMBERS, "gemma3"), read_llama, write_llama)
