"""Hugging Face folders whose JSON files hold wrong values: a model or one short error, never another exception."""

import json
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.interop import load_huggingface
from tinygrad_llm.models import GPT, OPT, GPTConfig, Llama, LlamaConfig, OPTConfig
from tinygrad_llm.text import BPETokenizer

WRONG = [5, "x", [1], {}, None, -1, 1e30, True, [], "a" * 6000, [[1]], {"a": 1}, ["x"], 10**30]
OTHER_SETTINGS = ["layer_types", "sliding_window", "rope_scaling", "head_dim", "torch_dtype", "quantization_config"]


@pytest.mark.parametrize(
    "model",
    [
        Llama(LlamaConfig(257, 32, 16, 2, 2, 1)),
        pytest.param(GPT(GPTConfig(257, 32, 16, 2, 2)), marks=pytest.mark.slow),
        pytest.param(OPT(OPTConfig(257, 32, 16, 2, 2)), marks=pytest.mark.slow),
    ],
)
def test_any_wrong_value_is_one_short_error(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, BPETokenizer.train("", 257))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        path = tmp_path / name
        whole = json.loads(path.read_text())
        for setting in [*whole, *(OTHER_SETTINGS if name == "config.json" else ())]:
            for value in WRONG:
                path.write_text(json.dumps({**whole, setting: value}))
                try:
                    load_huggingface(tmp_path)
                except TinygradLLMError as error:
                    assert len(str(error)) < 800, error
        path.write_text(json.dumps(whole))
