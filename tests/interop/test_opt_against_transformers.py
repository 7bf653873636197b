"""OPT and transformers' OPT open each other's folders and compute the same logits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_weights import with_random_weights

from tinygrad_llm import Generator, manual_seed, no_grad
from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import read_header
from tinygrad_llm.generate import generate
from tinygrad_llm.models import OPT, OPTConfig
from tinygrad_llm.text import BPETokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}


@pytest.fixture(autouse=True)
def seeded_and_quiet() -> None:
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)


def theirs(dtype: Any = torch.float32, **changes: Any) -> Any:
    settings = {
        "vocab_size": 37,
        "max_position_embeddings": 40,
        "hidden_size": 24,
        "ffn_dim": 20,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "init_std": 0.4,
    }
    model = transformers.OPTForCausalLM(transformers.OPTConfig(**settings | changes)).eval()
    for name, parameter in model.named_parameters():  # a fresh model's biases are zeros, and its scales ones
        if name.endswith("bias") or "layer_norm" in name:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return model.to(dtype)


def agree(model: Any, other: Any) -> None:
    """Whether both give the same logits, relative to the largest; read at once and through the cache."""
    ids = Generator(3).randint(0, model.config.vocab_size, (2, model.config.context_length))
    other = other.to(torch.float64 if model.head.weight.dtype == np.float64 else torch.float32)
    with torch.no_grad():
        reference = other(torch.tensor(ids)).logits.numpy()
    with no_grad():
        cache = model.new_cache()
        in_parts = [model(part, cache).data for part in np.array_split(ids, 3, axis=1)]
        for ours in (model(ids).data, np.concatenate(in_parts, axis=1)):
            assert ours.dtype == reference.dtype and ours.shape == reference.shape
            assert np.abs(ours - reference).max() <= TOLERANCE[ours.dtype] * np.abs(reference).max()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"hidden_size": 15, "num_attention_heads": 5, "ffn_dim": 7, "vocab_size": 3, "num_hidden_layers": 1},
        {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2, "attention_dropout": 0.3, "dropout": 0.0},
    ],
    ids=str,
)
def test_transformers_models_load(tmp_path: Path, dtype: str, changes: dict[str, Any]) -> None:
    other = theirs(getattr(torch, dtype), **changes)
    other.save_pretrained(tmp_path)
    model = OPT.from_pretrained(tmp_path)
    assert not model.training
    assert model.config.tie_weights == changes.get("tie_word_embeddings", True)
    assert (model.head.weight is model.token_embedding.weight) == model.config.tie_weights
    agree(model, other)


def test_a_model_without_head_and_prefix_loads(tmp_path: Path) -> None:
    other = theirs()
    other.model.save_pretrained(tmp_path)
    assert "decoder.embed_tokens.weight" in read_header(tmp_path / "model.safetensors").tensors
    agree(OPT.from_pretrained(tmp_path), other)


def test_transformers_shards_load(tmp_path: Path) -> None:
    other = theirs()
    other.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    agree(OPT.from_pretrained(tmp_path), other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tie_weights", [True, False])
def test_transformers_opens_our_models(tmp_path: Path, dtype: str, tie_weights: bool) -> None:
    manual_seed(1)
    config = OPTConfig(
        280, 17, 12, 4, 2, dropout=0.25, attention_dropout=0.125, tie_weights=tie_weights, feed_forward_dim=10
    )
    model = with_random_weights(OPT(config).to(dtype).eval(), 0.3)
    tokenizer = BPETokenizer.train("to and fro, to and fro ", 270)
    model.save_pretrained(tmp_path, tokenizer)
    other, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values()), loading
    assert isinstance(other, transformers.OPTForCausalLM)
    assert other.dtype == getattr(torch, dtype)
    assert (other.lm_head.weight is other.model.decoder.embed_tokens.weight) == tie_weights
    assert (other.config.dropout, other.config.attention_dropout) == (0.25, 0.125)
    assert other.config.eos_token_id == tokenizer.end_of_text
    agree(model, other.eval())
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert opened.encode("and to<|endoftext|>fro") == tokenizer.encode("and to<|endoftext|>fro", "all")
    other.save_pretrained(tmp_path / "again")
    again = OPT.from_pretrained(tmp_path / "again")
    assert again.config == model.config
    for name, array in model.state_dict().items():
        assert np.array_equal(array, again.state_dict()[name])


def test_both_generate_the_same_text(tmp_path: Path) -> None:
    other = theirs(torch.float64)
    other.save_pretrained(tmp_path)
    model, prompt = OPT.from_pretrained(tmp_path), [3, 14, 15]
    expected = other.generate(torch.tensor([prompt]), max_new_tokens=30, do_sample=False)
    assert generate(model, np.array(prompt), 30).tolist() == expected[0].tolist()


@pytest.mark.parametrize("changes", [{"do_layer_norm_before": False}, {"word_embed_proj_dim": 12}], ids=str)
def test_opt_350m_s_form_is_refused_by_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    theirs(**changes).save_pretrained(tmp_path)
    with pytest.raises(FormatError, match=next(iter(changes))):
        OPT.from_pretrained(tmp_path)
