"""Llama and the members of its family in transformers open each other's folders, and agree."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, manual_seed, no_grad
from tinygrad_llm.formats import read_json, read_safetensors, write_json, write_safetensors
from tinygrad_llm.generate import generate
from tinygrad_llm.interop.huggingface_weights import HEAD, tensors_from
from tinygrad_llm.interop.llama import places
from tinygrad_llm.interop.llama_members import MEMBERS
from tinygrad_llm.interop.llama_settings import member_of
from tinygrad_llm.models import Llama, LlamaConfig
from tinygrad_llm.text import BPETokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from wider_torch import widen  # noqa: E402  (it imports PyTorch)

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}
SCALING = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
FULL, SLIDING = "full_attention", "sliding_attention"
FAMILY: dict[str, tuple[str, dict[str, Any]]] = {
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
    "qwen3_moe": ("Qwen3Moe", {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "head_dim": 8}),
    "gemma2": ("Gemma2", {"head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 12}),
    "gemma3": ("Gemma3", {"head_dim": 8, "sliding_window": 5, "layer_types": [SLIDING, FULL, SLIDING]}),
    "olmo2": ("Olmo2", {"num_key_value_heads": 2}),
    "olmo3": ("Olmo3", {"sliding_window": 5, "layer_types": [SLIDING, SLIDING, FULL]}),
}
each_member = pytest.mark.parametrize("name", FAMILY)


@pytest.fixture(autouse=True)
def seeded_and_quiet() -> None:
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)


@pytest.fixture
def all_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    widen(monkeypatch.setattr, *MEMBERS)


def theirs(name: str, dtype: Any = torch.float32, **changes: Any) -> Any:
    family, settings = FAMILY[name]
    return model_of(family, dtype, **settings | changes)


def model_of(family: str, dtype: Any, **settings: Any) -> Any:
    """A small model of a family of transformers, with large weights."""
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
    config_class = "Gemma3TextConfig" if family == "Gemma3" else f"{family}Config"
    config = getattr(transformers, config_class)(**base | settings, attn_implementation="eager")
    if family in ("Mixtral", "Qwen3Moe"):
        config._experts_implementation = "eager"  # the default one has no float64
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    for name, parameter in model.named_parameters():  # a fresh model's biases are zeros, and its scales ones
        if name.endswith("bias") or "norm" in name:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
        elif name.endswith(("block_sparse_moe.gate.weight", "mlp.gate.weight")):  # a fresh router chooses by chance
            torch.nn.init.normal_(parameter, 0.0, 0.5)
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


# -- random models of every family


def random_rotation(pick: random.Random, by_layer_type: bool) -> dict[str, Any]:
    kind = pick.choice(["default", "linear", "llama3", "yarn"])
    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": pick.choice([50.0, 500.0, 1e4])}
    if kind != "default":
        rope["factor"] = pick.choice([1.5, 4.0])
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 24}
    if kind == "yarn":
        rope["original_max_position_embeddings"] = 16
        rope |= pick.choice([{}, {"beta_fast": 8.0, "beta_slow": 0.5}])
        rope |= pick.choice([{}, {"attention_factor": 1.3}, {"mscale": 0.7, "mscale_all_dim": 1.2}])
        if not by_layer_type:
            rope |= pick.choice([{}, {"truncate": False}])
    if not by_layer_type:
        return rope
    return {FULL: rope, SLIDING: {"rope_type": "default", "rope_theta": pick.choice([20.0, 1e4])}}


def random_settings(family: str, pick: random.Random) -> dict[str, Any]:
    """Settings of a config of `family`, of which each model type uses its own."""
    layers, window = pick.randint(2, 5), pick.randint(2, 12)
    settings: dict[str, Any] = {
        "num_hidden_layers": layers,
        "num_key_value_heads": pick.choice([1, 2, 4]),
        "rms_norm_eps": pick.choice([1e-6, 1e-2]),
        "tie_word_embeddings": pick.random() < 0.5,
        "rope_parameters": random_rotation(pick, family in ("Gemma3", "Olmo3")),
        "sliding_window": window,
    }
    if family not in ("Qwen2", "Olmo2", "Olmo3"):
        settings["head_dim"] = pick.choice([6, 8, 10])
    if family not in ("Qwen2", "Mistral", "Ministral", "Mixtral"):
        settings["attention_bias"] = pick.random() < 0.3
    if family in ("Mistral", "Mixtral"):
        settings["sliding_window"] = pick.choice([None, window])
    if family in ("Qwen2", "Qwen3", "Qwen3Moe"):
        settings |= {"use_sliding_window": pick.random() < 0.7, "max_window_layers": pick.randint(0, layers + 1)}
    by_layer = family in ("Ministral", "Gemma2", "Gemma3", "Olmo3") or settings.get("use_sliding_window", False)
    if by_layer and family != "Qwen3Moe" and pick.random() < 0.6:
        settings["layer_types"] = [pick.choice([FULL, SLIDING]) for _ in range(layers)]
    elif family == "Gemma3":
        settings["sliding_window_pattern"] = pick.randint(1, 3)
    if family in ("Gemma2", "Gemma3"):
        settings |= {
            "query_pre_attn_scalar": pick.choice([5, 24, 144]),
            "final_logit_softcapping": pick.choice([None, 2.0, 30.0]),
            "attn_logit_softcapping": pick.choice([None, 1.5, 50.0]),
        }
    if family == "Mixtral":
        settings |= {"num_local_experts": pick.randint(2, 5), "num_experts_per_tok": pick.randint(1, 2)}
    if family == "Qwen3Moe":
        settings |= {
            "num_experts": pick.randint(2, 5),
            "num_experts_per_tok": pick.randint(1, 2),
            "moe_intermediate_size": pick.choice([8, 12]),
            "decoder_sparse_step": pick.randint(1, 3),
            "norm_topk_prob": pick.random() < 0.5,
            "mlp_only_layers": pick.choice([[], [0], [1, 7]]),
        }
    return settings


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "family",
    [member.architecture.removesuffix("ForCausalLM") for member in MEMBERS.values()],
)
def test_random_models_agree_in_logits_and_gradients(
    tmp_path: Path, family: str, seed: int, all_in_float64: Any
) -> None:
    """On texts longer than any window, read at once and through the cache; and after we wrote the folder again."""
    torch.manual_seed(seed)
    other = model_of(family, torch.float64, **random_settings(family, random.Random(f"{family} {seed}")))
    other.save_pretrained(tmp_path / "theirs")
    model = Llama.from_pretrained(tmp_path / "theirs")
    agree(model, other)

    model.save_pretrained(tmp_path / "ours")
    again, loading = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float64, attn_implementation="eager"
    )
    assert not any(loading.values()), loading
    again.config._experts_implementation = "eager"
    agree(model, again.eval())

    ids, targets = (Generator(seed).randint(0, 37, (2, 40)) for seed in (3, 4))
    torch.nn.functional.cross_entropy(
        other(torch.tensor(ids)).logits.flatten(0, 1), torch.tensor(targets).flatten()
    ).backward()
    model.loss(ids, targets).backward()
    with torch.no_grad():  # the gradients in the names of files
        for parameter in other.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    other.save_pretrained(tmp_path / "gradients")
    expected = read_safetensors(tmp_path / "gradients" / "model.safetensors")
    settings = model.config.to_dict()
    gradients = {name: np.zeros(p.shape) if p.grad is None else p.grad for name, p in model.named_parameters()}
    found = tensors_from(gradients, places(settings, MEMBERS[member_of(settings)]), "Llama")
    assert found.keys() == expected.keys() - ({HEAD} if settings["tie_weights"] else set())
    for name, gradient in found.items():  # the router of a single, normalised expert has no gradient but rounding
        np.testing.assert_allclose(gradient, expected[name], rtol=0, atol=1e-10 * max(1e-3, np.abs(gradient).max()))


def test_a_gemma_3_that_reads_images_is_opened_as_its_text_part(tmp_path: Path) -> None:
    text = transformers.Gemma3TextConfig(
        vocab_size=37,
        hidden_size=24,
        intermediate_size=20,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=5,
        sliding_window_pattern=2,
        max_position_embeddings=64,
    )
    vision = transformers.SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    other = transformers.Gemma3ForConditionalGeneration(config).eval()
    other.save_pretrained(tmp_path / "theirs")
    model = Llama.from_pretrained(tmp_path / "theirs")
    agree(model, other)
    model.save_pretrained(tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["model_type"] == "gemma3_text"
    agree(model, transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval())
