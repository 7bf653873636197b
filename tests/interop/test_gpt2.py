"""Hugging Face folders of GPT-2: round trips to the bit, every option, refusals by name, damaged files."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_gpt import CONFIG, random_gpt
from random_weights import same

from tinygrad_llm import no_grad
from tinygrad_llm.errors import CheckpointError, ConfigError, FormatError, StateDictError, TokenizerError
from tinygrad_llm.formats import read_header, read_json, read_safetensors, write_json, write_safetensors
from tinygrad_llm.models import GPT
from tinygrad_llm.nn import Linear
from tinygrad_llm.text import BPETokenizer, CharTokenizer

TOKENIZER = BPETokenizer.train("to and fro to and fro to and fro ", 262)


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    random_gpt().save_pretrained(tmp_path)
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {name: v for name, v in (config | changes).items() if v != "leave out"})


def rewrite(folder: Path, change: Any, metadata: Any = None) -> None:
    tensors = read_safetensors(folder / "model.safetensors", copy=True)
    write_safetensors(folder / "model.safetensors", change(tensors), metadata)


# -- there and back


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("changes", [{}, {"tie_weights": False, "feed_forward_dim": None, "gelu": "tanh"}], ids=str)
def test_round_trip_to_the_bit(tmp_path: Path, dtype: Any, changes: dict[str, Any]) -> None:
    model = random_gpt(**changes).to(dtype)
    model.save_pretrained(tmp_path / "a", TOKENIZER)
    back = GPT.from_pretrained(tmp_path / "a")
    assert back.config == model.config
    assert same(back, model) and not back.training
    back.save_pretrained(tmp_path / "b", TOKENIZER)
    names = sorted(os.listdir(tmp_path / "a"))
    assert names == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_missing_qkv_bias_is_written_as_zeros(tmp_path: Path) -> None:
    model = random_gpt(qkv_bias=False)
    model.save_pretrained(tmp_path)
    back = GPT.from_pretrained(tmp_path)
    assert back.config == dataclasses.replace(model.config, qkv_bias=True)
    assert not back.blocks[1].attention.key.bias.data.any()
    with no_grad():
        assert np.array_equal(model([[1, 2, 3]]).data, back([[1, 2, 3]]).data)


def test_arrays_are_written_under_transformers_names(folder: Path) -> None:
    header = read_header(folder / "model.safetensors")
    assert header.metadata == {"format": "pt"}
    assert header.tensors["transformer.h.1.attn.c_attn.weight"].shape == (6, 18)
    assert header.tensors["transformer.h.0.mlp.c_proj.weight"].shape == (5, 6)
    tensors, model = read_safetensors(folder / "model.safetensors"), random_gpt()
    for place, part in enumerate(("query", "key", "value")):
        linear = getattr(model.blocks[1].attention, part)
        columns = slice(6 * place, 6 * place + 6)
        assert np.array_equal(tensors["transformer.h.1.attn.c_attn.weight"][:, columns], linear.weight.data.T)
        assert np.array_equal(tensors["transformer.h.1.attn.c_attn.bias"][columns], linear.bias.data)
    assert np.array_equal(tensors["transformer.h.0.ln_2.weight"], model.blocks[0].norm2.weight.data)
    assert "lm_head.weight" not in header.tensors
    config = read_json(folder / "config.json")
    assert config["n_ctx"] == config["n_positions"] == 7
    assert config["tie_word_embeddings"] is True and config["eos_token_id"] is None


def test_the_end_of_text_is_the_tokenizer_s_or_that_of_gpt2_s_own_vocabulary(tmp_path: Path) -> None:
    random_gpt().save_pretrained(tmp_path / "a", TOKENIZER)
    assert read_json(tmp_path / "a" / "config.json")["eos_token_id"] == TOKENIZER.end_of_text == 261
    random_gpt(vocab_size=50257, embedding_dim=3).save_pretrained(tmp_path / "b")
    assert read_json(tmp_path / "b" / "config.json")["eos_token_id"] == 50256


def test_names_without_prefix_and_mask_buffers(folder: Path) -> None:
    def plain(tensors: Any) -> Any:
        masks = {"h.0.attn.bias": np.tril(np.ones((1, 1, 7, 7), bool)), "h.1.attn.masked_bias": np.float32(-1e4)}
        return {name.removeprefix("transformer."): array for name, array in tensors.items()} | masks

    rewrite(folder, plain)
    assert same(GPT.from_pretrained(folder), random_gpt())


def test_half_precision_is_read_exactly(folder: Path) -> None:
    rewrite(folder, lambda tensors: {name: array.astype(np.float16) for name, array in tensors.items()})
    model = GPT.from_pretrained(folder)
    for name, array in random_gpt().state_dict().items():
        assert model.state_dict()[name].dtype == np.float32
        assert np.array_equal(model.state_dict()[name], array.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(("promised", "factor", "tied"), [(True, 1, True), (True, 2, False), (False, 1, False)])
def test_a_head_in_the_file(folder: Path, promised: bool, factor: Any, tied: bool) -> None:
    rewrite(folder, lambda tensors: tensors | {"lm_head.weight": tensors["transformer.wte.weight"] * factor})
    edit(folder, tie_word_embeddings=promised)
    model = GPT.from_pretrained(folder)
    assert model.config.tie_weights == (model.head.weight is model.token_embedding.weight) == tied
    assert np.array_equal(model.head.weight.data, model.token_embedding.weight.data * factor)


def test_tied_weights_under_the_head_s_name(folder: Path) -> None:
    """As `safetensors.torch.save_model` writes them."""
    rewrite(folder, lambda tensors: tensors | {"lm_head.weight": tensors.pop("transformer.wte.weight")})
    model = GPT.from_pretrained(folder)
    assert model.head.weight is model.token_embedding.weight
    assert same(model, random_gpt())
    edit(folder, tie_word_embeddings=False)
    with pytest.raises(FormatError, match=r"must hold 'wte\.weight'"):
        GPT.from_pretrained(folder)


def test_every_layer_takes_the_settings(folder: Path) -> None:
    model = GPT.from_pretrained(folder)
    norms = [norm for block in model.blocks for norm in (block.norm1, block.norm2)] + [model.final_norm]
    assert [norm.eps for norm in norms] == [1e-3] * 5
    assert [block.feed_forward.activation.approximate for block in model.blocks] == ["none"] * 2
    assert [block.feed_forward.up.out_features for block in model.blocks] == [5] * 2


# -- shards


def shard(folder: Path, cut: int = 5) -> Any:
    """The folder's weights in two files with an index."""
    tensors = read_safetensors(folder / "model.safetensors", copy=True)
    names = list(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:cut], "model-00002-of-00002.safetensors": names[cut:]}
    for file, held in parts.items():
        write_safetensors(folder / file, {name: tensors[name] for name in held})
    weight_map = {name: file for file, held in parts.items() for name in held}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    (folder / "model.safetensors").unlink()
    return weight_map


def test_shards_are_put_together(folder: Path) -> None:
    shard(folder)
    assert same(GPT.from_pretrained(folder), random_gpt())


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "a\\b.safetensors",
        "C:x.safetensors",
        "..",
        "",
        5,
        None,
        ".safetensors",
        "x.bin",
        "a\0.safetensors",
        "a\n.safetensors",
        "-rf.safetensors",
    ],
)
def test_a_shard_is_a_plain_file_of_the_folder(folder: Path, name: str) -> None:
    weight_map = shard(folder)
    first = next(iter(weight_map))
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map | {first: name}})
    with pytest.raises(FormatError, match="plain name"):
        GPT.from_pretrained(folder)


def test_index_and_shards_must_agree(folder: Path) -> None:
    weight_map = shard(folder)
    index = folder / "model.safetensors.index.json"
    name, *others = weight_map
    for changed, message in (
        ({other: weight_map[other] for other in others}, f"{name}' is not in the index"),
        (weight_map | {"more": weight_map[name]}, "'more' is promised"),
        (weight_map | {"more": "model-3.safetensors"}, "model-3.safetensors: must be a file"),
        ({}, "weight_map"),
        ([], "weight_map"),
    ):
        write_json(index, {"weight_map": changed})
        with pytest.raises(FormatError, match=message):
            GPT.from_pretrained(folder)


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(FormatError, match="neither"):
        GPT.from_pretrained(folder)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(FormatError, match="pickle"):
        GPT.from_pretrained(folder)
    with pytest.raises(FormatError, match=r"config\.json"):
        GPT.from_pretrained(folder / "none")


# -- what is not computed, or contradicts itself


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "model_type"),
        ({"model_type": "leave out"}, "model_type"),
        ({"activation_function": "relu"}, "activation_function must be one of gelu_new"),
        ({"activation_function": ["gelu"]}, "activation_function"),
        ({"scale_attn_weights": False}, "scale_attn_weights"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"attn_pdrop": 0.5}, "attn_pdrop must be equal.*dropout="),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"tie_word_embeddings": False}, "lm_head.weight.*tie_word_embeddings false"),
        ({"n_head": 4}, "multiple of num_heads"),
        ({"n_head": True}, "n_head must be an integer"),
        ({"n_layer": 0}, "n_layer must be an integer"),
        ({"n_layer": 1}, "nothing else; also holds 12"),
        ({"n_layer": 10**12}, r"h\.2\.ln_1"),
        ({"vocab_size": 10**15}, r"wte\.weight' must be \(1000000000000000, 6\)"),
        ({"n_embd": 12}, r"wte\.weight"),
        ({"n_embd": "leave out"}, r"\(262, 768\)"),
        ({"n_inner": None}, r"c_fc\.weight' must be \(6, 24\)"),
        ({"n_inner": 5.0}, "n_inner must be an integer"),
        ({"layer_norm_epsilon": -1}, "norm_eps"),
        ({"layer_norm_epsilon": 10**300}, "norm_eps"),
        ({"resid_pdrop": 1.0, "embd_pdrop": 1.0, "attn_pdrop": 1.0}, "dropout"),
        ({"hidden_size": 8}, "n_embd and hidden_size are two names of one setting"),
    ],
    ids=str,
)
def test_unsupported_options_are_refused_by_name(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(FormatError, match=message) as caught:
        GPT.from_pretrained(folder)
    assert str(folder) in str(caught.value)


def test_second_names_of_settings_and_a_chosen_dropout(folder: Path) -> None:
    edit(folder, n_head="leave out", num_attention_heads=3, attn_pdrop=0.5)
    model = GPT.from_pretrained(folder, dropout=0.125)
    assert model.config == dataclasses.replace(CONFIG, dropout=0.125)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"score.weight": t["transformer.ln_f.bias"]}, "also holds 1 more: 'score.weight'"),
        (lambda t: {n: a for n, a in t.items() if "ln_f.bias" not in n}, "'ln_f.bias'.*there is none"),
        (lambda t: t | {"ln_f.bias": t["transformer.ln_f.bias"]}, "'ln_f.bias' twice"),
        (lambda t: t | {"transformer.ln_f.bias": np.zeros(6, np.int64)}, "int64"),
        (lambda t: t | {"transformer.h.0.attn.c_attn.weight": np.zeros((18, 6), np.float32)}, r"\(6, 18\)"),
    ],
)
def test_weights_that_do_not_fit(folder: Path, change: Any, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(FormatError, match=message):
        GPT.from_pretrained(folder)


# -- what cannot be written


def test_added_or_replaced_layers_are_refused(tmp_path: Path) -> None:
    classifier = random_gpt()
    classifier.head = Linear(6, 2)
    with pytest.raises(StateDictError, match=r"head\.weight must have the shape \(262, 6\)"):
        classifier.save_pretrained(tmp_path / "a")
    more = random_gpt()
    more.adapter = Linear(6, 2)
    with pytest.raises(StateDictError, match=r"no place for adapter\.bias, adapter\.weight"):
        more.save_pretrained(tmp_path / "a")
    with pytest.raises(TokenizerError, match="hold BPE"):
        random_gpt().save_pretrained(tmp_path / "a", CharTokenizer("ab"))
    with pytest.raises(ConfigError, match="262 tokens; it has 5"):
        random_gpt(vocab_size=5).save_pretrained(tmp_path / "a", TOKENIZER)
    with pytest.raises(ConfigError, match="a GPT-2 has no sliding window, and this GPT has one of 3 tokens"):
        random_gpt(window=3).save_pretrained(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_folder_of_another_model_is_not_overwritten(tmp_path: Path) -> None:
    for content in ('{"model_type": "gpt", "version": 1}', "no json", "{}"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(CheckpointError, match="choose a new folder"):
            random_gpt().save_pretrained(tmp_path)
        assert os.listdir(tmp_path) == ["config.json"]
        assert (tmp_path / "config.json").read_text() == content
    (tmp_path / "file").touch()
    for name in ("file/below", "null\0byte"):
        with pytest.raises(CheckpointError):
            random_gpt().save_pretrained(tmp_path / name)


# -- hostile folders

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("fuzzed")
    random_gpt().save_pretrained(folder)
    shard(folder)
    return folder


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200)
@given(data=st.data())
def test_damaged_files_raise_only_errors_of_this_package(fuzzed: Any, data: Any) -> None:
    originals = {name: (fuzzed / name).read_bytes() for name in ("config.json", "model.safetensors.index.json")}
    name = data.draw(st.sampled_from(sorted(originals)))
    content = json.loads(originals[name])
    how = data.draw(st.sampled_from(["value", "whole", "cut", "flip"]))
    try:
        if how == "value":
            place = content.get("weight_map", content)
            place[data.draw(st.sampled_from(sorted(place)))] = data.draw(anything)
            (fuzzed / name).write_text(json.dumps(content))
        elif how == "whole":
            (fuzzed / name).write_text(json.dumps(data.draw(anything)))
        else:
            raw = bytearray(originals[name])
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at:] = b"" if how == "cut" else bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :]
            (fuzzed / name).write_bytes(raw)
        try:
            model = GPT.from_pretrained(fuzzed)
        except FormatError as error:
            assert str(fuzzed) in str(error)
        else:
            assert same(model, random_gpt(tie_weights=model.config.tie_weights))
    finally:
        for file, before in originals.items():
            (fuzzed / file).write_bytes(before)
