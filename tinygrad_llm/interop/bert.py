"""BERT's names and settings in a Hugging Face folder of model type "bert".

    ours                                      theirs
    token_embedding.weight                    bert.embeddings.word_embeddings.weight
    position_embedding, segment_embedding     bert.embeddings.position_embeddings, token_type_embeddings
    embedding_norm                            bert.embeddings.LayerNorm
    blocks.0.attention.query, key, value      bert.encoder.layer.0.attention.self.query, key, value
    blocks.0.attention.output                 bert.encoder.layer.0.attention.output.dense
    blocks.0.norm1                            bert.encoder.layer.0.attention.output.LayerNorm
    blocks.0.feed_forward.up                  bert.encoder.layer.0.intermediate.dense
    blocks.0.feed_forward.down                bert.encoder.layer.0.output.dense
    blocks.0.norm2                            bert.encoder.layer.0.output.LayerNorm
    pooler                                    bert.pooler.dense
    head.transform, head.norm                 cls.predictions.transform.dense, cls.predictions.transform.LayerNorm
    head.bias                                 cls.predictions.bias
    next_sentence                             cls.seq_relationship

The last four lines differ by class: BertModel has the pooler, BertForMaskedLM the head, BertForPreTraining both and the
head of next-sentence prediction. The names of a BertModel have no prefix `bert.`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import read_sharded_safetensors
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.forms import HuggingFaceForm
from tinygrad_llm.interop.huggingface_weights import (
    CONFIG,
    Arrays,
    HuggingFaceConfig,
    Place,
    state_from,
    tensors_from,
    write_folder,
)
from tinygrad_llm.text import Tokenizer

PREFIX, HEADS = "bert.", "cls."
TABLE, DECODER = "embeddings.word_embeddings.weight", "cls.predictions.decoder"
GELU_FORMS = {"gelu": "none", "gelu_python": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
ACTIVATIONS = {"none": "gelu", "tanh": "gelu_new"}
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # in the first uploads
# Options that change the output and are not supported.
MUST_BE_UNSET = ("is_decoder", "add_cross_attention", "is_encoder_decoder", "pruned_heads", "quantization_config")


def places(settings: Mapping[str, Any]) -> Iterator[Place]:
    """The places of all weights of a BERT with these settings, layer by layer."""
    width, vocab_size = settings["embedding_dim"], settings["vocab_size"]
    inner = 4 * width if settings["feed_forward_dim"] is None else settings["feed_forward_dim"]

    def linear(theirs: str, ours: str, size_in: int, size_out: int) -> Iterator[Place]:
        yield Place(f"{theirs}.weight", (size_out, size_in), (f"{ours}.weight",))
        yield Place(f"{theirs}.bias", (size_out,), (f"{ours}.bias",))

    def norm(theirs: str, ours: str) -> Iterator[Place]:
        for part in ("weight", "bias"):
            yield Place(f"{theirs}.LayerNorm.{part}", (width,), (f"{ours}.{part}",))

    yield Place(TABLE, (vocab_size, width), ("token_embedding.weight",))
    for theirs, ours, rows in (
        ("position_embeddings", "position_embedding", settings["context_length"]),
        ("token_type_embeddings", "segment_embedding", settings["num_segments"]),
    ):
        yield Place(f"embeddings.{theirs}.weight", (rows, width), (f"{ours}.weight",))
    yield from norm("embeddings", "embedding_norm")
    for layer in range(settings["num_layers"]):
        block, theirs = f"blocks.{layer}.", f"encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            yield from linear(f"{theirs}attention.self.{part}", f"{block}attention.{part}", width, width)
        yield from linear(f"{theirs}attention.output.dense", f"{block}attention.output", width, width)
        yield from norm(f"{theirs}attention.output", f"{block}norm1")
        yield from linear(f"{theirs}intermediate.dense", f"{block}feed_forward.up", width, inner)
        yield from linear(f"{theirs}output.dense", f"{block}feed_forward.down", inner, width)
        yield from norm(f"{theirs}output", f"{block}norm2")
    if settings["pooler"]:
        yield from linear("pooler.dense", "pooler", width, width)
    if settings["masked_word_head"]:
        yield Place("cls.predictions.bias", (vocab_size,), ("head.bias",))
        yield from linear("cls.predictions.transform.dense", "head.transform", width, width)
        yield from norm("cls.predictions.transform", "head.norm")
    if settings["pooler"] and settings["masked_word_head"]:
        yield from linear("cls.seq_relationship", "next_sentence", width, 2)


# Reading.


def read_bert(folder: str | os.PathLike[str], dropout: float | None = None) -> tuple[dict[str, Any], Arrays]:
    """The settings of the BertConfig and the state dict of the Bert in a folder.

    The arrays are views of the file, copied when they are written; BF16 and F16 become float32 copies.

    Raises: FormatError, naming the file, for one that is missing, damaged or of another model
    """
    folder = Path(folder)
    settings = read_settings(folder / CONFIG, dropout)
    tensors = _plain_names(read_sharded_safetensors(folder, as_float32=True, copy=True), folder)
    settings["pooler"] = any(name.startswith("pooler.") for name in tensors)
    settings["masked_word_head"] = any(name.startswith("cls.predictions.") for name in tensors)
    for name, original in ((f"{DECODER}.weight", TABLE), (f"{DECODER}.bias", "cls.predictions.bias")):
        copy = tensors.pop(name, None)
        if copy is None:
            continue
        if original not in tensors:  # `safetensors.torch.save_model` may keep this copy of tied weights only
            tensors[original] = copy
        elif not np.array_equal(copy, tensors[original]):  # old versions saved both
            raise FormatError(
                f"{folder}: {name!r} must equal {original!r}: an output head with its own weights is not supported"
            )
    return settings, state_from(tensors, places(settings), folder, f"a BERT of {settings['num_layers']} layers")


def _plain_names(tensors: Mapping[str, NDArray[Any]], folder: Path) -> Arrays:
    """The tensors under their names without prefix, in today's spelling."""
    plain: Arrays = {}
    for name, array in tensors.items():
        short = name.removeprefix(PREFIX)
        for old, new in OLD_NAMES.items():
            if short.endswith(old):
                short = short.removesuffix(old) + new
        if short in plain:
            raise FormatError(f"{folder}: holds {shown(short)} twice, under two names; remove one")
        if short != "embeddings.position_ids":  # 0, 1, 2 ..., which old versions saved
            plain[short] = array
    return plain


def read_settings(path: Path, dropout: float | None = None) -> dict[str, Any]:
    """The settings of a BertConfig in a BERT's config.json, except for its heads. The defaults are BERT-base's.

    `dropout`, if given, replaces the two rates of the file.

    Raises: FormatError, naming an option that is not supported
    """
    config = HuggingFaceConfig(path)
    if config.model_type != "bert":
        raise config.refusal("model_type", "must be 'bert'")
    config.expect_unset(*MUST_BE_UNSET)
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise config.refusal("position_embedding_type", "must be 'absolute': others are not supported")
    if config.get("tie_word_embeddings", True) is not True:
        raise config.refusal(
            "tie_word_embeddings", "must be true: an output head with its own weights is not supported"
        )
    return {
        "vocab_size": config.size("vocab_size", 30522),
        "context_length": config.size("max_position_embeddings", 512),
        "embedding_dim": config.size("hidden_size", 768),
        "num_heads": config.size("num_attention_heads", 12),
        "num_layers": config.size("num_hidden_layers", 12),
        "dropout": config.dropout(DROPOUTS, "Bert") if dropout is None else dropout,
        "num_segments": config.size("type_vocab_size", 2),
        "feed_forward_dim": config.size("intermediate_size", 3072),
        "norm_eps": config.get("layer_norm_eps", 1e-12),
        "gelu": config.choice("hidden_act", "gelu", GELU_FORMS),
    }


# Writing.


def write_bert(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write a BERT of these settings and weights, and its tokenizer, as transformers opens them.

    Raises: StateDictError, TokenizerError, ConfigError, CheckpointError
    """
    prefix = PREFIX if settings["masked_word_head"] else ""
    tensors = {
        name if name.startswith(HEADS) else prefix + name: array
        for name, array in tensors_from(state, places(settings), "Bert").items()
    }
    write_folder(Path(folder), _config_json(settings), tensors, tokenizer, settings)


def _config_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    model = "BertModel"
    if settings["masked_word_head"]:
        model = "BertForPreTraining" if settings["pooler"] else "BertForMaskedLM"
    width = settings["embedding_dim"]
    return {
        "architectures": [model],
        "model_type": "bert",
        "vocab_size": settings["vocab_size"],
        "max_position_embeddings": settings["context_length"],
        "hidden_size": width,
        "num_attention_heads": settings["num_heads"],
        "num_hidden_layers": settings["num_layers"],
        **dict.fromkeys(DROPOUTS, settings["dropout"]),
        "type_vocab_size": settings["num_segments"],
        "intermediate_size": 4 * width if settings["feed_forward_dim"] is None else settings["feed_forward_dim"],
        "layer_norm_eps": settings["norm_eps"],
        "hidden_act": ACTIVATIONS[settings["gelu"]],
        "initializer_range": 0.02,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "pad_token_id": 0,
    }


FORM = HuggingFaceForm(("bert",), read_bert, write_bert)
