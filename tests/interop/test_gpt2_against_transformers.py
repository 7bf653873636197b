"""GPT and transformers' GPT-2 open each other's folders and compute the same logits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, manual_seed, no_grad
from tinygrad_llm.formats import read_header
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import BPETokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}


@pytest.fixture(autouse=True)
def seeded_and_quiet() -> None:
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)


def theirs(dtype: Any = None, **changes: Any) -> Any:
    settings = {
        "vocab_size": 37,
        "n_positions": 19,
        "n_embd": 24,
        "n_layer": 3,
        "n_head": 3,
        "bos_token_id": None,
        "eos_token_id": None,
        "initializer_range": 0.4,
    }
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings | changes)).eval()
    for name, parameter in model.named_parameters():  # a fresh model's biases are zeros, and its scales ones
        if name.endswith("bias") or ".ln_" in name:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return model.to(dtype) if dtype else model


def agree(model: Any, other: Any) -> None:
    """Whether both give the same logits, relative to the largest."""
    ids = Generator(3).randint(0, model.config.vocab_size, (2, model.config.context_length))
    with no_grad():
        ours = model(ids).data
    other = other.to(torch.float64 if ours.dtype == np.float64 else torch.float32)
    with torch.no_grad():
        reference = other(torch.tensor(ids)).logits.numpy()
    assert ours.dtype == reference.dtype and ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= TOLERANCE[ours.dtype] * np.abs(reference).max()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"n_embd": 15, "n_head": 5, "n_inner": 7, "vocab_size": 3, "n_layer": 1, "n_positions": 1},
        {"layer_norm_epsilon": 0.1, "activation_function": "gelu"},
        {"activation_function": "gelu_pytorch_tanh", "reorder_and_upcast_attn": True},
    ],
    ids=str,
)
def test_transformers_models_load(tmp_path: Path, dtype: Any, changes: dict[str, Any]) -> None:
    other = theirs(getattr(torch, dtype), **changes)
    other.save_pretrained(tmp_path)
    model = GPT.from_pretrained(tmp_path)
    assert not model.training
    assert model.config.tie_weights == changes.get("tie_word_embeddings", True)
    assert (model.head.weight is model.token_embedding.weight) == model.config.tie_weights
    agree(model, other)


def test_transformers_shards_load(tmp_path: Path) -> None:
    other = theirs()
    other.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    agree(GPT.from_pretrained(tmp_path), other)


def test_a_model_without_head_and_prefix_loads(tmp_path: Path) -> None:
    other = theirs()
    other.transformer.save_pretrained(tmp_path)
    assert "wte.weight" in read_header(tmp_path / "model.safetensors").tensors
    agree(GPT.from_pretrained(tmp_path), other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_transformers_opens_our_models(tmp_path: Path, dtype: Any, tie_weights: bool, qkv_bias: Any) -> None:
    manual_seed(1)
    config = GPTConfig(
        280,
        17,
        12,
        4,
        2,
        dropout=0.25,
        qkv_bias=qkv_bias,
        tie_weights=tie_weights,
        feed_forward_dim=10,
        norm_eps=1e-3,
        gelu="none",
    )
    model = GPT(config).to(dtype).eval()
    tokenizer = BPETokenizer.train("to and fro, to and fro ", 270)
    model.save_pretrained(tmp_path, tokenizer)
    other, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values()), loading
    assert isinstance(other, transformers.GPT2LMHeadModel)
    assert other.dtype == getattr(torch, dtype)
    assert (other.lm_head.weight is other.transformer.wte.weight) == tie_weights
    assert other.config.attn_pdrop == other.config.resid_pdrop == other.config.embd_pdrop == 0.25
    assert other.config.eos_token_id == tokenizer.end_of_text
    agree(model, other.eval())
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert opened.encode("and to<|endoftext|>fro") == tokenizer.encode("and to<|endoftext|>fro", "all")
    assert opened.model_max_length == 17
    other.save_pretrained(tmp_path / "again")
    again = GPT.from_pretrained(tmp_path / "again")
    for name, array in model.state_dict().items():
        assert np.array_equal(array, again.state_dict()[name])


def test_an_untied_head_is_used_although_the_config_says_tied(tmp_path: Path) -> None:
    theirs(tie_word_embeddings=False).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    model = GPT.from_pretrained(tmp_path)
    assert not model.config.tie_weights
    agree(model, transformers.GPT2LMHeadModel.from_pretrained(tmp_path))


def test_files_of_save_model_load(tmp_path: Path) -> None:
    """`safetensors.torch.save_model` keeps one name of tied weights, and not the one that `save_pretrained` keeps."""
    other = theirs()
    other.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    pytest.importorskip("safetensors.torch").save_model(other, str(tmp_path / "model.safetensors"))
    names = read_header(tmp_path / "model.safetensors").tensors
    assert "lm_head.weight" in names and "transformer.wte.weight" not in names
    agree(GPT.from_pretrained(tmp_path), transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval())
