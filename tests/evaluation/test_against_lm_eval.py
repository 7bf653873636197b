"""The metrics of one model here and in lm-evaluation-harness, which opens the exported model with PyTorch."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_base import call, save_base

from tinygrad_llm import manual_seed
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import BPETokenizer

SENTENCES = [
    f"The {one} of {two} is not {two}, naïve as {one} may be." for one in ("bee", "sea") for two in ("ice", "ash")
]
CHOICES = [
    {
        "question": f"{'word ' * (count % 3 * 30)}{sentence}",
        "choices": [f"{count} ice", "naïveté, être", "a long, long answer", "no"],
        "answer": count % 4,
    }
    for count, sentence in enumerate(SENTENCES * 3)
]
QUESTIONS = [{"question": sentence, "answer": answer} for sentence, answer in zip(SENTENCES, "abcd", strict=True)]
DOCUMENTS = [{"text": sentence * count} for count, sentence in enumerate(SENTENCES, 1)] + [{"text": " ice\n\n bee \n"}]
PLAIN = {"doc_to_text": "Question: {{question}}\nAnswer:", "target_delimiter": " "}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose random weights are large enough that it prefers some tokens to others."""
    tokenizer = BPETokenizer.train(SENTENCES, vocab_size=300)
    manual_seed(5)
    model = GPT(GPTConfig(tokenizer.vocab_size, 64, embedding_dim=32, num_heads=2, num_layers=2))
    for parameter in model.parameters():
        parameter.data *= 1.5
    return save_base(tmp_path_factory.mktemp("run") / "base", "gpt", model, tokenizer)


def written(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)))
    return path


@pytest.mark.slow
def test_each_metric_and_each_sample_agrees(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("torch", "transformers", "lm_eval"):
        pytest.importorskip(package)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    files = {
        name: written(tmp_path / f"{name}.jsonl", records)
        for name, records in (("choices", CHOICES), ("answers", QUESTIONS), ("documents", DOCUMENTS))
    }
    log, exported = tmp_path / "log.jsonl", tmp_path / "exported"
    options = ["--filter", "none", "--ignore-case", "--ignore", "[aeiou ]", "--max-new-tokens", 8, "--stop", "e"]
    ours: dict[str, Any] = {}
    samples: dict[str, list[dict[str, Any]]] = {}
    for shots in (0, 2):
        code, printed, errors = call(
            capsys, "evaluate", "--task", *files.values(), "--model", run, "--shots", shots, *options, "--json",
            "--log-samples", log,
        )  # fmt: skip
        assert (code, errors) == (0, [])
        for name, figures in json.loads(printed)["tasks"].items():
            ours[f"{name}-{shots}"] = figures
        for line in log.read_text().splitlines():
            samples.setdefault(f"{(entry := json.loads(line))['task']}-{shots}", []).append(entry)
    assert call(capsys, "export", "--model", run, "--out", exported)[0] == 0

    def task(name: str, shots: int, **config: Any) -> dict[str, Any]:
        """The task of the harness on the records that were scored here, with the examples that were shown here."""
        source = {"choices": CHOICES, "answers": QUESTIONS, "documents": DOCUMENTS}[name]
        scored = [source[sample["record"]] for sample in samples[f"{name}-{shots}"]]
        shown = [source[place] for place in order(len(source))[:shots]]
        data = {"test": str(written(tmp_path / f"test-{name}-{shots}.jsonl", scored))}
        if shots:
            data["shots"] = str(written(tmp_path / f"shots-{name}.jsonl", shown))
            config |= {"fewshot_split": "shots", "num_fewshot": shots, "fewshot_config": {"sampler": "first_n"}}
        return {
            "task": f"{name}-{shots}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": data},
            "test_split": "test",
            **config,
        }

    perplexities = [{"metric": one} for one in ("word_perplexity", "byte_perplexity", "bits_per_byte")]
    accuracies = [{"metric": one} for one in ("acc", "acc_norm", "acc_bytes")]
    match = {"metric": "exact_match", "ignore_case": True, "regexes_to_ignore": ["[aeiou ]"]}
    until = {"until": ["e"], "max_gen_toks": 8, "do_sample": False}
    rolling = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"}
    choice = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "answer", **PLAIN}
    generated = {"output_type": "generate_until", "generation_kwargs": until, "doc_to_target": "answer", **PLAIN}
    tasks = [task("documents", 0, **rolling, metric_list=perplexities)]
    for shots in (0, 2):
        tasks.append(task("choices", shots, **choice, metric_list=accuracies))
        tasks.append(task("answers", shots, **generated, metric_list=[match]))
    model = HFLM(pretrained=str(exported), dtype="float32", device="cpu", batch_size=4)
    theirs = simple_evaluate(model, tasks=tasks, log_samples=True, bootstrap_iters=10, verbosity="ERROR")
    compared = 0
    for name, figures in theirs["results"].items():
        for key, value in figures.items():
            metric, _, kind = key.partition(",")
            if kind != "none" or value == "N/A" or metric not in ours[name]:
                continue
            assert ours[name][metric] == pytest.approx(value, rel=1e-6), (name, metric)
            compared += 1
    assert compared == 3 + 2 * (6 + 2)
    for name, entries in theirs["samples"].items():
        for entry, sample in zip(sorted(entries, key=lambda one: one["doc_id"]), samples[name], strict=True):
            answers = [found[0] for found in entry["resps"]]
            if name.startswith("choices"):
                assert sample["prompt"].endswith(entry["arguments"][0][0])
                assert sample["log_likelihoods"] == pytest.approx([float(one[0]) for one in answers], abs=1e-4)
                assert sample["greedy"] == [str(one[1]) == "True" for one in answers]
            elif name.startswith("answers"):
                assert sample["responses"] == answers
            else:
                assert sample["log_likelihood"] == pytest.approx(float(answers[0]), rel=1e-6)


def order(count: int) -> list[int]:
    """The order in which `evaluate --seed 0` takes questions as examples."""
    from tinygrad_llm.random import Generator

    return [int(place) for place in Generator(0).randperm(count)]
