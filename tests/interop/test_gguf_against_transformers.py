"""transformers reads the same GGUF files to the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interop.test_gguf_settings import MODELS, load, tiny, write

from tinygrad_llm import no_grad

# The architectures that transformers opens from such files. Some settings it does not read there, and takes the
# defaults of its config; so these are the values in the file.
READ: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 128},
    "qwen3moe": {"expert_dim": 768},
    "gemma2": {"head_dim": 256, "query_pre_attention_scalar": 256, "attention_softcap": 50.0, "logit_softcap": 30.0},
    "gemma3": {"head_dim": 256, "query_pre_attention_scalar": 256, "rope_scaling": None},
}


@pytest.mark.parametrize("name", list(READ))
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("gguf")
    path = write(tmp_path / "x.gguf", tiny(name, **READ[name]), MODELS[name][0])
    model: Any = transformers.AutoModelForCausalLM
    theirs = model.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32).eval()
    ids = np.array([[3, 1, 4, 1, 5, 9, 2, 6]])
    with torch.no_grad(), no_grad():
        expected = theirs(torch.tensor(ids)).logits.numpy()
        np.testing.assert_allclose(load(path)(ids).data, expected, rtol=1e-4, atol=1e-4)
