"""Random inputs through this package and through safetensors, tokenizers, transformers and PyTorch, where installed.

Wherever both accept an input, they must agree; what this package reads, the others must read too.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz.mutations import mutated
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tinygrad_llm import Tensor
from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import read_safetensors, write_safetensors
from tinygrad_llm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.nn import functional as F
from tinygrad_llm.text import BPETokenizer

DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]
TEXT = "the quick brown fox jumps over the lazy dog, it's 3.14!\n\n  naïve café 你好 🙂"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__")
TENSORS = st.dictionaries(
    NAMES,
    st.sampled_from(DTYPES).flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_side=4))),
    max_size=4,
)


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape)
        assert array.tobytes() == np.ascontiguousarray(theirs[name]).tobytes()


@given(tensors=TENSORS)
def test_safetensors_files_are_read_alike_both_ways(tensors: dict[str, Any]) -> None:
    library = pytest.importorskip("safetensors.numpy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        write_safetensors(path, tensors)
        assert_same(tensors, library.load_file(path))
        if "" not in tensors:
            library.save_file(tensors, path)
            assert_same(read_safetensors(path), tensors)


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_a_damaged_safetensors_file_that_is_read_here_is_read_alike_by_the_library(dice: Any) -> None:
    library = pytest.importorskip("safetensors.numpy")
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((0, 2), np.int64)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        write_safetensors(path, tensors, {"format": "np"})
        path.write_bytes(mutated(path.read_bytes(), dice))
        try:
            ours = read_safetensors(path)
        except FormatError:
            return
        assert_same(ours, library.load_file(path))


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(list(TEXT)), max_size=40))
def test_byte_level_bpe_has_the_ids_of_tokenizers(text: str) -> None:
    library = pytest.importorskip("tokenizers")
    tokenizer = BPETokenizer.train(TEXT * 3, vocab_size=320)
    with tempfile.TemporaryDirectory() as folder:
        GPT(GPTConfig(320, 4, 4, 1, 1)).save_pretrained(folder, tokenizer)
        theirs = library.Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
    ids = tokenizer.encode(text)
    assert theirs.encode(text).ids == list(ids)
    assert theirs.decode(list(ids)) == tokenizer.decode(ids)


@st.composite
def models(draw: Any) -> Any:
    """A random tiny GPT or Llama."""
    heads, layers, positions = draw(st.sampled_from([1, 2, 4])), draw(st.integers(1, 2)), draw(st.integers(4, 12))
    if draw(st.booleans()):
        flags = {name: draw(st.booleans()) for name in ("tie_weights",)}
        return GPT(
            GPTConfig(30, positions, heads * draw(st.sampled_from([2, 4])), heads, layers, qkv_bias=True, **flags)
        )
    flags = {name: draw(st.booleans()) for name in ("tie_weights", "qk_norm")}
    shared = draw(st.sampled_from([one for one in (1, 2, 4) if heads % one == 0]))
    return Llama(LlamaConfig(30, positions, heads * 4, heads, layers, shared, **flags))


@settings(max_examples=15)
@given(model=models(), seed=st.integers(0, 99))
def test_random_tiny_models_have_the_logits_of_transformers(model: Any, seed: int) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    ids = np.random.default_rng(seed).integers(0, 30, (2, model.config.context_length))
    tokenizer = BPETokenizer({bytes([i]): i for i in range(256)}) if model.config.vocab_size >= 256 else None
    with tempfile.TemporaryDirectory() as folder:
        model.eval().save_pretrained(folder, tokenizer)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(model(ids).data, expected, rtol=1e-4, atol=1e-5)


SCALES = st.sampled_from([1e-3, 1.0, 10.0, 100.0])
OPS: dict[str, Any] = {
    "softmax": (F.softmax, lambda torch, x: torch.nn.functional.softmax(x, -1)),
    "log_softmax": (F.log_softmax, lambda torch, x: torch.nn.functional.log_softmax(x, -1)),
    "gelu": (F.gelu, lambda torch, x: torch.nn.functional.gelu(x)),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, np.arange(len(x.data)) % x.shape[-1]),
        lambda torch, x: torch.nn.functional.cross_entropy(x, torch.arange(len(x)) % x.shape[-1]),
    ),
    "attention": (
        lambda x: F.scaled_dot_product_attention(x, x * 0.5, x, is_causal=True),
        lambda torch, x: torch.nn.functional.scaled_dot_product_attention(x, x * 0.5, x, is_causal=True),
    ),
}


@pytest.mark.parametrize("name", OPS)
@given(rows=st.integers(1, 5), width=st.integers(1, 6), scale=SCALES, offset=st.sampled_from([0.0, 10.0, 1e4]))
def test_random_ops_have_pytorchs_values_and_gradients(
    name: str, rows: int, width: int, scale: float, offset: float
) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = OPS[name]
    data = np.random.default_rng(rows * 10 + width).standard_normal((rows, width)) * scale + offset
    x, y = Tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    found, expected = ours(x), theirs(torch, y)
    np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol=1e-9, atol=1e-9 * max(1, abs(offset)))
    dy = np.random.default_rng(0).standard_normal(found.shape)
    found.backward(dy)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(x.grad, y.grad.numpy(), rtol=1e-8, atol=1e-9 * max(1, abs(offset)) * max(1, scale))
