"""Llama and transformers' Llama, Mistral, Mixtral, Qwen2, Qwen3 and Gemma open each other's folders, and agree.

transformers computes angles and norms in float32 whatever the model's dtype. To compare float64 to more digits than
that, its modules are shown a PyTorch whose float32 is float64.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, manual_seed, no_grad
from tinygrad_llm.formats import read_json, read_safetensors, write_json, write_safetensors
from tinygrad_llm.generate import generate
from tinygrad_llm.models import Llama, LlamaConfig
from tinygrad_llm.text import BPETokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}
SCALING = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
FAMILY = {
    "llama": ("Llama", {}),
    "llama with grouped queries": ("Llama", {"num_key_value_heads": 2}),
    "llama with scaled rotation": ("Llama", {"rope_parameters": SCALING, "num_key_value_heads": 1}),
    "llama with wide heads": ("Llama", {"head_dim": 10, "rope_parameters": {"rope_theta": 77.0}}),
    "llama with biases": ("Llama", {"attention_bias": True, "rms_norm_eps": 0.1}),
    "llama tied": ("Llama", {"tie_word_embeddings": True, "hidden_act": "gelu"}),
    "mistral": ("Mistral", {"num_key_value_heads": 2, "sliding_window": 5}),
    "mistral without window": ("Mistral", {"num_key_value_heads": 2, "sliding_window": None}),
    "mixtral": ("Mixtral", {"num_key_value_heads": 2, "num_local_experts": 5, "num_experts_per_tok": 2}),
    "mixtral with three": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 3, "sliding_window": 4}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 8}),
    "gemma": ("Gemma", {"num_key_value_heads": 1, "head_dim": 8}),
}
each_member = pytest.mark.parametrize("name", FAMILY)


class WiderTorch:
    """PyTorch, whose float32 is float64."""

    float = float32 = torch.float64

    @staticmethod
    def tensor(data: Any) -> Any:
        return torch.tensor(data, dtype=torch.float64)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@pytest.fixture(autouse=True)
def seeded_and_quiet() -> None:
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)


@pytest.fixture
def all_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.modeling_rope_utils

    for family in ("llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma"):
        name = f"transformers.models.{family}.modeling_{family}"
        __import__(name)
        monkeypatch.setattr(sys.modules[name], "torch", WiderTorch())
    monkeypatch.setattr(transformers.modeling_rope_utils, "torch", WiderTorch())
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def theirs(name: str, dtype: Any = torch.float32, **changes: Any) -> Any:
    family, settings = FAMILY[name]
    base = {
        "vocab_size": 37,
        "max_position_embeddings": 64,
        "hidden_size": 24,
        "intermediate_size": 20,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "initializer_range": 0.3,
    }
    config = getattr(transformers, f"{family}Config")(**base | settings | changes)
    if family == "Mixtral":
        config._experts_implementation = "eager"  # the default one has no float64
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    for name, parameter in model.named_parameters():  # a fresh model's biases are zeros, and its scales ones
        if name.endswith("bias") or "norm" in name:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return model.to(dtype)


def agree(model: Any, other: Any) -> None:
    """Whether both give the same logits, relative to the largest; read at once and through the cache."""
    ids = Generator(3).randint(0, model.config.vocab_size, (2, 40))
    other = other.to(torch.float64 if model.head.weight.dtype == np.float64 else torch.float32)
    with torch.no_grad():
        reference = other(torch.tensor(ids)).logits.numpy()
    with no_grad():
        cache = model.new_cache()
        in_parts = [model(part, cache).data for part in np.split(ids, [7, 8, 30], axis=1)]
        for ours in (model(ids).data, np.concatenate(in_parts, axis=1)):
            assert ours.dtype == reference.dtype and ours.shape == reference.shape
            assert np.abs(ours - reference).max() <= TOLERANCE[ours.dtype] * np.abs(reference).max()


@each_member
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_models_load(tmp_path: Path, name: str, dtype: Any) -> None:
    other = theirs(name, getattr(torch, dtype))
    other.save_pretrained(tmp_path)
    model = Llama.from_pretrained(tmp_path)
    assert not model.training
    assert (model.head.weight is model.token_embedding.weight) == other.config.tie_word_embeddings
    agree(model, type(other).from_pretrained(tmp_path, dtype=torch.float32))  # not rounded frequencies as well


@each_member
def test_they_agree_in_float64(tmp_path: Path, name: str, all_in_float64: Any) -> None:
    other = theirs(name, torch.float64)
    other.save_pretrained(tmp_path)
    agree(Llama.from_pretrained(tmp_path), other)


@each_member
def test_round_trip_from_transformers_and_back(tmp_path: Path, name: str) -> None:
    theirs(name).save_pretrained(tmp_path / "theirs")
    model = Llama.from_pretrained(tmp_path / "theirs")
    model.save_pretrained(tmp_path / "ours")
    other, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(loading.values()), loading
    agree(model, other.eval())
    again = Llama.from_pretrained(tmp_path / "ours")
    assert again.config == model.config
    for key, array in model.state_dict().items():
        assert np.array_equal(array, again.state_dict()[key])


def test_transformers_shards_load(tmp_path: Path) -> None:
    other = theirs("qwen3")
    other.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    agree(Llama.from_pretrained(tmp_path), other)


def test_texts_of_unequal_length_are_continued_as_each_alone(tmp_path: Path) -> None:
    other = theirs("mistral")
    other.save_pretrained(tmp_path)
    model = Llama.from_pretrained(tmp_path)
    prompts = [np.array([3, 1, 4, 1, 5, 9, 2, 6]), np.array([2, 7])]
    padded = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [0, 0, 0, 0, 0, 0, 2, 7]])
    mask = torch.tensor([[1] * 8, [0] * 6 + [1] * 2])
    with torch.no_grad():
        reference = other.generate(padded, attention_mask=mask, max_new_tokens=20, do_sample=False, pad_token_id=0)
    for ours, right in zip(generate(model, prompts, 20), reference[:, 8:].numpy(), strict=True):
        assert np.array_equal(np.asarray(ours)[-20:], right)


def test_transformers_opens_our_models_with_their_tokenizer(tmp_path: Path) -> None:
    manual_seed(1)
    tokenizer = BPETokenizer.train("to and fro, to and fro ", 270)
    model = Llama(LlamaConfig(280, 64, 12, 2, 2, num_kv_heads=1)).eval()
    model.save_pretrained(tmp_path, tokenizer)
    other, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values()), loading
    assert isinstance(other, transformers.LlamaForCausalLM)
    agree(model, other.eval())
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert opened.encode("and to<|endoftext|>fro") == tokenizer.encode("and to<|endoftext|>fro", "all")


def test_files_of_save_model_load(tmp_path: Path) -> None:
    """`safetensors.torch.save_model` keeps one name of tied weights, and not the one that `save_pretrained` keeps."""
    other = theirs("qwen2", tie_word_embeddings=True)
    other.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    pytest.importorskip("safetensors.torch").save_model(other, str(tmp_path / "model.safetensors"))
    agree(Llama.from_pretrained(tmp_path), type(other).from_pretrained(tmp_path).eval())


SHORT_SCALING = {
    name: SCALING[name] for name in SCALING if name not in ("original_max_position_embeddings", "rope_theta")
}


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": {"type": "linear", "factor": 1.0}},
        {"rope_scaling": SHORT_SCALING},
        {"rope_scaling": SHORT_SCALING, "original_max_position_embeddings": 24},
    ],
    ids=str,
)
def test_other_spellings_of_the_rotation_agree(tmp_path: Path, changes: dict[str, Any]) -> None:
    theirs("llama").save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json") | changes
    write_json(tmp_path / "config.json", {name: config[name] for name in config if name != "rope_parameters"})
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    agree(Llama.from_pretrained(tmp_path), other.eval())


@pytest.mark.parametrize("name", ["rotary_emb.inv_freq", "model.layers.1.self_attn.rotary_emb.inv_freq"])
def test_saved_rotary_frequencies_are_ignored_by_both(tmp_path: Path, name: str) -> None:
    theirs("llama").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {**read_safetensors(path, copy=True), name: np.ones(3, np.float32)}, {"format": "pt"})
    other, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values()), loading
    agree(Llama.from_pretrained(tmp_path), other.eval())
