"""The weights of a run folder are mapped, and the file stays as it is whatever is done with the model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_llm
from tinygrad_llm import manual_seed
from tinygrad_llm.formats import write_safetensors
from tinygrad_llm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.optim import AdamW
from tinygrad_llm.runs import RunFolder
from tinygrad_llm.text import BPETokenizer

BPE = BPETokenizer.train("low lower lowest low low", vocab_size=262)


@pytest.fixture(params=["gpt", "llama"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run folder with weights of random weights."""
    manual_seed(0)
    model: Any = {
        "gpt": lambda: GPT(GPTConfig(262, 16, 64, 2, 1), init="gpt2"),
        "llama": lambda: Llama(LlamaConfig(262, 16, 64, 2, 1, tie_weights=True)),
    }[request.param]()
    folder = tmp_path / "run"
    with RunFolder.create(folder) as made:
        write_safetensors(folder / "model.safetensors", model.state_dict())
        made.begin({"model_type": request.param, "model": model.config.to_dict()}, BPE)
    return folder


def digest(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def test_opening_a_run_copies_no_weights(run: Path) -> None:
    model, _ = tinygrad_llm.load(run)
    assert all(not p.data.flags.owndata for p in model.parameters())


def test_training_a_run_leaves_its_file_as_it_is(run: Path) -> None:
    before = digest(run)
    model: Any
    model, _ = tinygrad_llm.load(run)
    first = model.token_embedding.weight.data.copy()
    optimizer = AdamW(model.parameters(), lr=0.1)
    model.train()
    for _ in range(2):
        model.loss(np.arange(8)[None], np.arange(1, 9)[None]).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not np.array_equal(model.token_embedding.weight.data, first)
    assert digest(run) == before
    again: Any = tinygrad_llm.load(run)[0]
    assert np.array_equal(again.token_embedding.weight.data, first)


def test_a_run_that_is_replaced_or_deleted_stays_open(run: Path) -> None:
    model: Any
    model, _ = tinygrad_llm.load(run)
    expected = tinygrad_llm.load(run)[0].token_embedding.weight.data.copy()  # type: ignore[attr-defined]
    write_safetensors(run / "model.safetensors", {"x": np.zeros(3, np.float32)})
    (run / "model.safetensors").unlink()
    assert np.array_equal(model.token_embedding.weight.data, expected)
