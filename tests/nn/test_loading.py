"""Models are built without memory and opened without being in memory twice."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import manual_seed, nn
from tinygrad_llm.errors import StateDictError
from tinygrad_llm.formats import read_safetensors, write_safetensors
from tinygrad_llm.models import GPT, OPT, Bert, BertConfig, GPTConfig, Llama, LlamaConfig, OPTConfig, language_model
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.nn.loading import adopt_state_dict

SMALL = {"vocab_size": 11, "context_length": 8, "embedding_dim": 8, "num_heads": 2, "num_layers": 2}
LARGE = {"vocab_size": 9000, "context_length": 8, "embedding_dim": 1024, "num_heads": 8, "num_layers": 6}
MODELS: dict[str, Any] = {
    "gpt": lambda sizes: GPT(GPTConfig(**sizes, qkv_bias=True), init="gpt2"),
    "llama": lambda sizes: Llama(LlamaConfig(**sizes, num_experts=2, qkv_bias=True)),
    "opt": lambda sizes: OPT(OPTConfig(**sizes)),
    "bert": lambda sizes: Bert(BertConfig(**sizes)),
    "encoder-decoder": lambda sizes: EncoderDecoder(EncoderDecoderConfig(**sizes)),
}


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", list(MODELS))
def test_without_initial_values_no_weight_is_written(name: str) -> None:
    before = resident()
    with nn.init.no_initial_values():
        model = MODELS[name](LARGE)
    assert model.num_parameters() > 50_000_000
    assert resident() - before < 20_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_counting_seven_billion_parameters_takes_no_memory() -> None:
    before = resident()
    with nn.init.no_initial_values():
        model = Llama(LlamaConfig(feed_forward_dim=11008))
    assert model.num_parameters() == 6_738_415_616  # Touvron et al. 2023, Llama 2 7B
    assert resident() - before < 20_000_000


@pytest.mark.parametrize("size", [2**35, 2**62])
def test_an_impossible_size_is_a_memory_error(size: int) -> None:
    with nn.init.no_initial_values(), pytest.raises(MemoryError, match="takes more memory than"):
        nn.Linear(size, 2**20)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_state_is_loaded_in_place_of_the_missing_values(name: str) -> None:
    manual_seed(1)
    source = MODELS[name](SMALL)
    for load in (lambda model, state: model.load_state_dict(state), adopt_state_dict):
        with nn.init.no_initial_values():
            model = MODELS[name](SMALL)
        load(model, {key: array.copy() for key, array in source.state_dict().items()})
        for key, array in model.state_dict().items():
            assert np.array_equal(array, source.state_dict()[key]), key
        assert model.num_parameters() == source.num_parameters()  # tied weights stay tied


def test_loading_copies_and_adopting_does_not() -> None:
    state = {"weight": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)}
    with nn.init.no_initial_values():
        copied, adopted = nn.Linear(3, 2), nn.Linear(3, 2)
    copied.load_state_dict(state)
    assert not np.shares_memory(copied.weight.data, state["weight"])
    weight = state["weight"]
    adopt_state_dict(adopted, state)
    assert adopted.weight.data is weight
    assert state == {}


def test_adopted_arrays_are_made_fit_for_training() -> None:
    frozen = np.zeros(2, np.float32)
    frozen.flags.writeable = False
    layer = nn.Linear(3, 2)
    adopt_state_dict(layer, {"weight": np.arange(6, dtype=np.float16).reshape(3, 2).T, "bias": frozen}, np.float64)
    assert layer.weight.data.flags.c_contiguous
    assert layer.weight.data.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert {layer.weight.dtype, layer.bias.dtype} == {np.dtype(np.float64)}
    assert layer.bias.data.flags.writeable
    layer = nn.Linear(3, 2)
    adopt_state_dict(layer, {"weight": np.zeros((2, 3)), "bias": frozen})
    assert {layer.weight.dtype, layer.bias.dtype} == {np.dtype(np.float32)}


def test_nothing_is_adopted_unless_everything_fits() -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.data
    with pytest.raises(StateDictError, match="missing bias"):
        adopt_state_dict(layer, {"weight": np.zeros((2, 3), np.float32)})
    assert layer.weight.data is before


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_a_folder_is_opened_without_its_weights_in_memory_twice(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # tracemalloc counts the zeros in place of values, though the system gives them no memory.
    for module in (nn.init, language_model):
        monkeypatch.setattr(module, "normal", lambda shape, std=1.0: np.broadcast_to(np.float32(0), shape))
    monkeypatch.setattr(nn.init, "uniform", lambda bound, shape: np.broadcast_to(np.float32(0), shape))
    manual_seed(0)
    source = GPT(GPTConfig(4001, 16, 64, 2, 6, qkv_bias=True, tie_weights=True), init="gpt2")
    source.save_pretrained(tmp_path)
    weights = {name: array.astype(dtype) for name, array in read_safetensors(tmp_path / "model.safetensors").items()}
    write_safetensors(tmp_path / "model.safetensors", weights, {"format": "pt"})
    size = 4 * source.num_parameters()
    largest = 4 * source.token_embedding.weight.size
    tracemalloc.start()
    model = GPT.from_pretrained(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if dtype == "f4":  # GPT-2's matrices are transposed in the file; its two tables are used where they are
        assert peak < size - 0.9 * largest
        assert not model.token_embedding.weight.data.flags.owndata
    else:
        assert peak < size + 0.3 * largest
    assert np.allclose(model.head.weight.data, source.head.weight.data, atol=1e-3)
