"""Hugging Face folders of OPT: round trips to the bit, tied weights, refusals by name."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_weights import same, with_random_weights

from tinygrad_llm import manual_seed
from tinygrad_llm.errors import FormatError, StateDictError
from tinygrad_llm.formats import read_header, read_json, read_safetensors, write_json, write_safetensors
from tinygrad_llm.interop import load_huggingface
from tinygrad_llm.models import OPT, OPTConfig
from tinygrad_llm.nn import Linear
from tinygrad_llm.text import BPETokenizer

CONFIG = OPTConfig(
    vocab_size=262,
    context_length=7,
    embedding_dim=6,
    num_heads=3,
    num_layers=2,
    dropout=0.25,
    attention_dropout=0.125,
    feed_forward_dim=5,
)
TOKENIZER = BPETokenizer.train("to and fro to and fro to and fro ", 262)


def random_opt(**changes: Any) -> Any:
    manual_seed(0)
    return with_random_weights(OPT(dataclasses.replace(CONFIG, **changes)).eval(), 0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_opt().save_pretrained(tmp_path)
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {name: v for name, v in (config | changes).items() if v != "leave out"})


def rewrite(folder: Path, change: Any) -> None:
    tensors = read_safetensors(folder / "model.safetensors", copy=True)
    write_safetensors(folder / "model.safetensors", change(tensors))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tie_weights", [True, False])
def test_round_trip_to_the_bit(tmp_path: Path, dtype: Any, tie_weights: bool) -> None:
    model = random_opt(tie_weights=tie_weights).to(dtype)
    model.save_pretrained(tmp_path / "a", TOKENIZER)
    back, tokenizer = load_huggingface(tmp_path / "a")
    assert type(back) is OPT and back.config == model.config
    assert same(back, model) and not back.training
    back.save_pretrained(tmp_path / "b", tokenizer)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_usual_feed_forward_size_is_written_as_a_number(tmp_path: Path) -> None:
    random_opt(feed_forward_dim=None).save_pretrained(tmp_path)
    assert read_json(tmp_path / "config.json")["ffn_dim"] == 24
    assert OPT.from_pretrained(tmp_path).config == dataclasses.replace(CONFIG, feed_forward_dim=24)


def test_arrays_are_written_under_transformers_names(folder: Path) -> None:
    tensors, model = read_safetensors(folder / "model.safetensors"), random_opt()
    assert read_header(folder / "model.safetensors").metadata == {"format": "pt"}
    assert "lm_head.weight" not in tensors
    assert tensors["model.decoder.embed_positions.weight"].shape == (9, 6)
    block = "model.decoder.layers.1."
    for theirs, ours in (
        (f"{block}self_attn.q_proj.weight", model.blocks[1].attention.query.weight),
        (f"{block}self_attn.v_proj.bias", model.blocks[1].attention.value.bias),
        (f"{block}final_layer_norm.weight", model.blocks[1].norm2.weight),
        (f"{block}fc1.weight", model.blocks[1].feed_forward.up.weight),
        ("model.decoder.final_layer_norm.bias", model.final_norm.bias),
    ):
        assert np.array_equal(tensors[theirs], ours.data)


def test_the_end_of_text_is_the_tokenizer_s_or_that_of_opt_s_own_vocabulary(tmp_path: Path) -> None:
    random_opt().save_pretrained(tmp_path / "a", TOKENIZER)
    assert read_json(tmp_path / "a" / "config.json")["eos_token_id"] == TOKENIZER.end_of_text == 261
    random_opt(vocab_size=50272, embedding_dim=3).save_pretrained(tmp_path / "b")
    assert read_json(tmp_path / "b" / "config.json")["eos_token_id"] == 2


def test_names_without_prefix_and_an_old_buffer(folder: Path) -> None:
    def plain(tensors: Any) -> Any:
        short = {name.removeprefix("model."): array for name, array in tensors.items()}
        return short | {"decoder.version": np.array([3.0], np.float32)}

    rewrite(folder, plain)
    assert same(OPT.from_pretrained(folder), random_opt())


@pytest.mark.parametrize(("promised", "factor", "tied"), [(True, 1, True), (True, 2, False), (False, 1, False)])
def test_a_head_in_the_file(folder: Path, promised: bool, factor: Any, tied: bool) -> None:
    table = "model.decoder.embed_tokens.weight"
    rewrite(folder, lambda tensors: tensors | {"lm_head.weight": tensors[table] * factor})
    edit(folder, tie_word_embeddings=promised)
    model = OPT.from_pretrained(folder)
    assert model.config.tie_weights == (model.head.weight is model.token_embedding.weight) == tied
    assert np.array_equal(model.head.weight.data, model.token_embedding.weight.data * factor)


def test_tied_weights_under_the_head_s_name(folder: Path) -> None:
    """As `safetensors.torch.save_model` writes them."""
    table = "model.decoder.embed_tokens.weight"
    rewrite(folder, lambda tensors: tensors | {"lm_head.weight": tensors.pop(table)})
    model = OPT.from_pretrained(folder)
    assert model.head.weight is model.token_embedding.weight and same(model, random_opt())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type must be 'opt'"),
        ({"model_type": "leave out"}, "model_type"),
        ({"do_layer_norm_before": False}, "do_layer_norm_before must be true"),
        ({"enable_bias": False}, "enable_bias must be true"),
        ({"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine must be true"),
        ({"_remove_final_layer_norm": True}, "_remove_final_layer_norm must be unset or false"),
        ({"layerdrop": 0.1}, "layerdrop must be unset or false"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"word_embed_proj_dim": 3}, "word_embed_proj_dim must be hidden_size, 6"),
        ({"activation_function": "gelu"}, "activation_function must be one of relu"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"tie_word_embeddings": False}, "lm_head.weight.*tie_word_embeddings false"),
        ({"num_attention_heads": 4}, "multiple of num_heads"),
        ({"num_hidden_layers": True}, "num_hidden_layers must be an integer"),
        ({"num_hidden_layers": 1}, "nothing else; also holds 16"),
        ({"num_hidden_layers": 10**12}, r"layers\.2\.self_attn_layer_norm"),
        ({"max_position_embeddings": 9}, r"embed_positions\.weight' must be \(11, 6\)"),
        ({"ffn_dim": "leave out"}, r"fc1\.weight' must be \(3072, 6\)"),
        ({"dropout": 1.0}, "dropout"),
        ({"attention_dropout": "x"}, "attention_dropout"),
    ],
    ids=str,
)
def test_unsupported_options_are_refused_by_name(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(FormatError, match=message) as caught:
        OPT.from_pretrained(folder)
    assert str(folder) in str(caught.value)


def test_options_that_are_left_out_have_opt_s_defaults_and_dropout_can_be_chosen(folder: Path) -> None:
    names = ("do_layer_norm_before", "enable_bias", "layer_norm_elementwise_affine", "_remove_final_layer_norm")
    edit(folder, **dict.fromkeys((*names, "word_embed_proj_dim", "activation_function", "layerdrop"), "leave out"))
    edit(folder, dropout="leave out", attention_dropout="leave out")
    assert OPT.from_pretrained(folder).config == dataclasses.replace(CONFIG, dropout=0.1, attention_dropout=0.0)
    chosen = OPT.from_pretrained(folder, dropout=0.5).config
    assert chosen == dataclasses.replace(CONFIG, dropout=0.5, attention_dropout=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"score.weight": np.zeros(6, np.float32)}, "weights of an OPT .* 1 more: 'score.weight'"),
        (lambda t: {n: a for n, a in t.items() if "fc2.bias" not in n}, "fc2.bias'.*there is none"),
        (lambda t: t | {"decoder.final_layer_norm.bias": np.zeros(6, np.float32)}, "norm.bias' twice"),
    ],
)
def test_weights_that_do_not_fit(folder: Path, change: Any, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(FormatError, match=message):
        OPT.from_pretrained(folder)


def test_added_layers_are_refused(tmp_path: Path) -> None:
    model = random_opt()
    model.adapter = Linear(6, 2)
    with pytest.raises(StateDictError, match=r"OPT has no place for adapter\.bias, adapter\.weight"):
        model.save_pretrained(tmp_path / "a")
    assert not (tmp_path / "a").exists()
