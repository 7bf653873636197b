"""Every member of the Llama family, opened from a config.json in its own spelling: transformers' figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_llama_family import CONFIGS, FIGURES, IDS, TARGETS, write_member

from tinygrad_llm import no_grad
from tinygrad_llm.finetune import apply_lora
from tinygrad_llm.interop.llama_members import MEMBERS
from tinygrad_llm.models import Llama

RECORDED = json.loads(FIGURES.read_text("utf-8"))
each_config = pytest.mark.parametrize("name", CONFIGS)


def gradient_norm(model: Any) -> float:
    return float(np.sqrt(sum((p.grad**2).sum() for p in model.parameters() if p.grad is not None)))


@each_config
def test_loss_logits_and_gradient_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    write_member(tmp_path / "model", name)
    model, recorded = Llama.from_pretrained(tmp_path / "model"), RECORDED[name]
    loss = model.loss(IDS, TARGETS)
    loss.backward()
    assert loss.item() == pytest.approx(recorded["loss"], rel=1e-9)
    assert gradient_norm(model) == pytest.approx(recorded["gradient_norm"], rel=1e-9)
    with no_grad():
        cache = model.new_cache()
        in_parts = [model(part, cache).data for part in np.split(IDS, [3, 4, 15], axis=1)]
        np.testing.assert_allclose(model(IDS).data[1, -1], recorded["last_logits"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(in_parts[-1][1, -1], recorded["last_logits"], rtol=0, atol=1e-8)


@each_config
def test_a_folder_that_was_written_again_opens_as_the_same_model(tmp_path: Path, name: str) -> None:
    write_member(tmp_path / "model", name)
    model = Llama.from_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "again")
    again = Llama.from_pretrained(tmp_path / "again")
    assert again.config == model.config
    np.testing.assert_array_equal(again(IDS).data, model(IDS).data)


@pytest.mark.parametrize("name", ["gemma2", "gemma3_text", "qwen3_moe", "olmo3"])
def test_lora_trains_only_its_updates(tmp_path: Path, name: str) -> None:
    write_member(tmp_path / "model", name)
    model = Llama.from_pretrained(tmp_path / "model")
    before = model(IDS).data
    adapted = apply_lora(model, rank=2, alpha=4.0)
    assert any(layer.endswith("attention.query") for layer in adapted)
    np.testing.assert_allclose(model(IDS).data, before, rtol=0, atol=1e-12)
    model.train().loss(IDS, TARGETS).backward()
    assert {name.rsplit(".", 1)[1] for name, p in model.named_parameters() if p.grad is not None} <= {
        "lora_A",
        "lora_B",
    }


def test_every_member_has_figures() -> None:
    assert {config["model_type"] for config in CONFIGS.values()} == set(MEMBERS)
    assert RECORDED.keys() == CONFIGS.keys()
