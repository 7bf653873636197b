"""A run folder: its weights are mapped and the file stays as it is; its log is complete where it must be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_llm
from tinygrad_llm import Tensor, manual_seed
from tinygrad_llm.data import WindowLoader
from tinygrad_llm.errors import DataError
from tinygrad_llm.formats import read_metrics, write_safetensors
from tinygrad_llm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.optim import AdamW
from tinygrad_llm.runs import RunFolder, run_folder
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import Callback, Trainer, TrainingSettings

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


def test_the_log_is_written_now_and_then_and_is_complete_before_a_checkpoint_and_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "SECONDS_BETWEEN_WRITES", 1e9)
    log, found = tmp_path / "run" / "metrics.jsonl", list[tuple[str, int, int]]()

    class Looks(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            found.append(("step", trainer.step, len(read_metrics(log))))

        def checkpoint_due(self, trainer: Trainer) -> None:
            found.append(("checkpoint", trainer.step, len(read_metrics(log))))

    def loss(model: Any, batch: Any) -> Tensor:
        if trainer.step == 5:
            raise DataError("a bad batch")
        return model.loss(*batch)

    settings = TrainingSettings(steps=6, batch_size=2, eval_interval=3, workers=1)
    loader = WindowLoader(np.arange(40) % 7, 4, 2)
    with pytest.raises(DataError, match="a bad batch"), RunFolder.create(tmp_path / "run") as folder:
        trainer = Trainer(GPT(GPTConfig(7, 4, 8, 1, 1)), loader, settings, loss=loss, callbacks=[folder, Looks()])
        folder.begin({"model_type": "gpt", "model": trainer.model.config.to_dict()}, None)  # type: ignore[attr-defined]
        trainer.train()
    assert found == [
        ("step", 1, 1),
        ("step", 2, 1),
        ("step", 3, 1),
        ("checkpoint", 3, 3),
        ("step", 4, 3),
        ("step", 5, 3),
    ]
    assert [record["step"] for record in read_metrics(log)] == [1, 2, 3, 4, 5]


def test_a_bad_figure_of_the_loss_is_an_error_at_its_step_and_loses_no_record(tmp_path: Path) -> None:
    class Counts:
        def __call__(self, model: Any, batch: Any) -> Tensor:
            return model.loss(*batch)

        def log_figures(self) -> dict[str, Any]:
            return {"figures": [1, 2] if trainer.step == 3 else 1}

    settings = TrainingSettings(steps=6, batch_size=2, eval_interval=0, workers=1)
    loader = WindowLoader(np.arange(40) % 7, 4, 2)
    with pytest.raises(DataError, match="figures"), RunFolder.create(tmp_path / "run") as folder:
        trainer = Trainer(GPT(GPTConfig(7, 4, 8, 1, 1)), loader, settings, loss=Counts(), callbacks=[folder])
        folder.begin({"model_type": "gpt", "model": trainer.model.config.to_dict()}, None)  # type: ignore[attr-defined]
        trainer.train()
    assert trainer.step == 3
    assert [record["step"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1, 2]
