"""`classify`: a classifier trained, stopped, resumed and asked, from a file of texts to lines of classes."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_base import call, make_base, save_base

from tinygrad_llm import manual_seed
from tinygrad_llm.cli.classify import describe
from tinygrad_llm.finetune import Classifier, classify
from tinygrad_llm.formats import read_safetensors
from tinygrad_llm.models import Bert, BertConfig, Llama, LlamaConfig
from tinygrad_llm.text import BPETokenizer, WordPieceTokenizer
from tinygrad_llm.train import load

ROWS = [(f"win {n} prizes!!", "spam") for n in range(30)] + [(f"see you at {n}", "ham") for n in range(50)]
STEPS = ["--steps", "8", "--eval-interval", "4", "--warmup-steps", "2", "--learning-rate", "0.01"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    path.write_text("label,text\n" + "".join(f'{label},"{text}"\n' for text, label in ROWS))
    return path


@pytest.fixture
def trained(base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Any, ...]:
    out = tmp_path / "run"
    code, printed, errors = call(
        capsys, "classify", "train", "--model", base, "--data", data, "--out", out, *STEPS, "--steps", "40"
    )
    assert (code, errors) == (0, [])
    return out, printed


def test_training_reports_every_split_before_and_after(trained: tuple[Any, ...]) -> None:
    out, printed = trained
    assert "60 texts of 2 classes: 42 for train, 6 for validation, 12 for test" in printed
    assert "predicted" in printed and "step 40/40 | loss" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["before"].keys() == report["after"].keys() == {"train", "validation", "test"}
    assert report["after"]["train"]["loss"] < 0.3 < report["before"]["train"]["loss"]
    assert report["after"]["test"]["accuracy"] == 1 and report["after"]["test"]["f1"] == [1, 1]
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 40


def test_what_is_not_trainable_stays_as_it_was(base: Path, trained: tuple[Any, ...]) -> None:
    before, after = read_safetensors(base / "model.safetensors"), read_safetensors(trained[0] / "model.safetensors")
    changed = {name for name in before if "head" not in name and (before[name] != after[f"body.{name}"]).any()}
    assert changed and all(name.startswith(("blocks.1.", "final_norm.")) for name in changed)


def test_arguments_and_lines_of_stdin_get_the_same_predictions(
    trained: tuple[Any, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = trained
    code, printed, errors = call(capsys, "classify", "predict", "--model", out, "win 7 prizes!!", "see you at 7")
    assert (code, errors) == (0, [])
    assert [line.split("\t")[0] for line in printed.splitlines()] == ["spam", "ham"]
    monkeypatch.setattr("sys.stdin", io.StringIO("win 7 prizes!!\n\nsee you at 7\n"))
    assert call(capsys, "classify", "predict", "--model", out)[1] == printed
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8"))
    code, _, errors = call(capsys, "classify", "predict", "--model", out)
    assert code == 2 and len(errors) == 1 and "UTF-8" in errors[0]


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "win", "see", "you", "at", "prizes", "!"]
PIECES += [mark + str(digit) for mark in ("", "##") for digit in range(10)]
SHAPE = {"context_length": 16, "embedding_dim": 16, "num_heads": 2, "num_layers": 1, "dropout": 0.0}


def another_base(kind: str, folder: Path) -> Path:
    manual_seed(3)
    if kind == "llama":
        tokenizer = BPETokenizer.train("", vocab_size=257)
        return save_base(folder, kind, Llama(LlamaConfig(257, num_kv_heads=1, **SHAPE)), tokenizer)
    model = Bert(BertConfig(len(PIECES), pooler=kind == "bert with pooler", **SHAPE))
    return save_base(folder, "bert", model, WordPieceTokenizer(PIECES))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", []),
        pytest.param("bert with pooler", ["--trainable", "last_block"], marks=pytest.mark.slow),
        pytest.param("bert", ["--pooling", "mean"], marks=pytest.mark.slow),
        pytest.param("llama", [], marks=pytest.mark.slow),
        ("llama", ["--pooling", "mean", "--no-causal"]),
    ],
)
def test_a_bert_and_a_llama_learn_to_classify_too(
    kind: str, options: list[Any], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, out = another_base(kind, tmp_path / "base"), tmp_path / "run"
    code, printed, errors = call(
        capsys,
        "classify",
        "train",
        "--model",
        base,
        "--data",
        data,
        "--out",
        out,
        *STEPS,
        "--steps",
        "40",
        "--trainable",
        "all",
        *options,
    )
    assert (code, errors) == (0, [])
    model, tokenizer = load(out)
    is_bert = kind.startswith("bert")
    assert type(model.body) is (Bert if is_bert else Llama)
    assert model.config.causal is (not is_bert and "--no-causal" not in options)
    expected = "mean" if "mean" in options else "first" if is_bert else "last"
    assert model.config.pooling == expected
    assert json.loads((out / "report.json").read_text())["after"]["test"]["accuracy"] == 1
    read = []
    model.body.token_embedding.register_forward_hook(lambda module, args, output: read.append(args[0].tolist()))
    classify(model, tokenizer, ["win 7"])
    assert read == ([[[2, 5, 18, 3]]] if is_bert else [[list(b"win 7")]])
    code, printed, errors = call(capsys, "classify", "predict", "--model", out, "win 7 prizes!!", "see you at 7")
    assert (code, errors) == (0, [])
    assert [line.split("\t")[0] for line in printed.splitlines()] == ["spam", "ham"]


def test_a_resumed_run_is_the_run_that_was_not_stopped(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, stops in ((tmp_path / "whole", ()), (tmp_path / "parts", (3, 6))):
        argv = ["classify", "train", "--model", base, "--data", data, "--out", out, *STEPS]
        for stop in stops:
            code, printed, _ = call(capsys, *argv, "--stop-at", stop)
            assert code == 0 and f"stopped after step {stop} of 8" in printed
            assert isinstance(load(out)[0], Classifier)
            argv = ["classify", "train", "--resume", "--out", out]
        assert call(capsys, *argv)[0] == 0
    whole, parts = (read_safetensors(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "parts")]
    assert reports[0] == reports[1]
    code, printed, _ = call(capsys, "classify", "train", "--resume", "--out", tmp_path / "whole")
    assert code == 0 and "is finished" in printed


def test_misfitting_options_are_one_line_of_error(
    base: Path, data: Path, trained: tuple[Any, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = trained
    new = ["--out", tmp_path / "new"]
    one_class, few, many = (tmp_path / f"{name}.csv" for name in ("one", "few", "many"))
    one_class.write_text("text,label\n" + "a word,good\n" * 20)
    few.write_text("text,label\n" + "a word,good\nanother,bad\n" * 2)
    many.write_text("text,label\n" + "".join(f"word {n},{'good' if n % 2 else 'bad'}\n" for n in range(60)))
    swapped = ["--text-column", "label", "--label-column", "text"]
    for argv, said in (
        (["train", "--model", base, "--data", one_class, *new], "at least two classes; got 20 of 'good' only"),
        (["train", "--model", base, "--data", few, *new], "one text must be left for validation; got 4 in all"),
        (["train", "--model", base, "--data", many, *swapped, *new], "got 60 of 60 classes: check --label-column"),
        (["train", *new], "--data must name"),
        (["train", "--data", "sentiment", "--texts", "2000000", *new], "--texts must be at most 1,000,000"),
        (["train", "--data", data, "--max-length", "9" * 20, *new], "GB of memory to be trained"),
        (["train", "--model", base, "--data", data, "--text-column", "words", *new], "must name the column 'words'"),
        (["train", "--model", base, "--data", data, "--max-length", "999", *new], "--max-length must be 0 to 128"),
        (
            ["train", "--model", base, "--data", data, "--train-fraction", "2", *new],
            "--train-fraction must be a number in (0, 1)",
        ),
        (
            ["train", "--model", base, "--data", data, "--train-fraction", "0.9", "--validation-fraction", "0.2", *new],
            "--train-fraction and --validation-fraction must be at most 1 together; got 0.9 and 0.2",
        ),
        (["train", "--model", base, "--data", data, "--out", out], "already holds a run"),
        (["train", "--model", out, "--data", data, *new], " or a BERT; "),
        (["train", "--resume", "--out", base], "was imported, and has none"),
        (["train", "--resume", "--out", out, "--trainable", "all"], "--trainable was auto, got all"),
        (["predict", "--model", base, "x"], "must be a classifier"),
        (["predict", "--model", out, ""], "at least one token"),
    ):
        code, _, errors = call(capsys, "classify", *argv)
        assert code in (1, 2) and len(errors) == 1 and said in errors[0], (argv, errors)


def test_a_resumed_run_wants_its_data_and_its_base_as_they_were(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, texts, out = make_base(tmp_path / "base"), tmp_path / "texts.csv", tmp_path / "run"
    texts.write_text(data.read_text())
    argv = ["classify", "train", "--model", base, "--data", texts, "--out", out, *STEPS, "--stop-at", "4"]
    assert call(capsys, *argv)[0] == 0
    texts.write_text(data.read_text() + "ham,more\n")
    code, _, errors = call(capsys, "classify", "train", "--resume", "--out", out)
    assert code == 2 and "texts.csv has changed" in errors[0]
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "options": {**config["options"], "max_length": "x"}}))
    code, _, errors = call(capsys, "classify", "train", "--resume", "--out", out)
    assert code == 1 and "options must be what `classify train` wrote" in errors[0]


def test_generated_reviews_train_a_new_model_beside_the_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["classify", "train", "--data", "sentiment", "--texts", "200", "--new-model", "bert", "--out", "run", *STEPS]
    code, printed, errors = call(capsys, *argv, "--steps", "2", "--max-length", "48", "--test-texts", "20")
    assert (code, errors) == (0, [])
    assert "1,700 texts of 2 classes: 200 for train, 500 for validation, 1,000 for test" in printed
    report = json.loads(Path("run/report.json").read_text())
    kinds = {"plain", "negation", "contrast", "opinion", "nested"}
    assert report["after"].keys() == report["bag_of_words"].keys() == {"train", "validation", "test"} | kinds
    assert report["after"]["test"]["count"] == report["bag_of_words"]["test"]["count"] == 20
    assert report["bag_of_words"]["plain"]["accuracy"] > 0.9
    assert all(f"\n{name:<10} loss " in printed for name in report["after"])
    assert json.loads(Path("run/config.json").read_text())["options"]["data"] == "sentiment"
    resume = ["classify", "train", "--resume", "--out", "run", "--data", "sentiment", "--steps", "3"]
    assert call(capsys, *resume)[0] == 0
    assert call(capsys, "classify", "predict", "--model", "run", "The plot is dull.")[0] == 0


def test_a_file_named_like_the_generated_reviews_is_read_by_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sentiment").write_text("text,label\n" + "good,yes\nbad,no\n" * 20)
    code, printed, _ = call(capsys, "classify", "train", "--data", "./sentiment", "--out", tmp_path / "run", *STEPS)
    assert code == 0 and "40 texts of 2 classes" in printed


def test_a_class_without_a_training_text_is_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rare = tmp_path / "rare.csv"
    rare.write_text("text,label\n" + "good,yes\nbad,no\n" * 20 + "odd,maybe\n")
    argv = ["classify", "train", "--data", rare, "--no-balance", *STEPS, "--steps", "1"]
    for seed in range(10):  # until the training part lacks the rare class
        out = tmp_path / str(seed)
        assert call(capsys, *argv, "--out", out, "--seed", seed, "--train-fraction", "0.2")[0] == 0
        labels = json.loads((out / "config.json").read_text())["model"]["labels"]
        assert labels == ["maybe", "no", "yes"]
        if json.loads((out / "report.json").read_text())["after"]["train"]["confusion"][0] == [0, 0, 0]:
            return
    raise AssertionError("no seed left the rare class out of the training part")


def test_the_confusion_of_many_classes_is_left_to_the_report() -> None:
    figures = {"loss": 1.0, "accuracy": 0.5, "count": 2}
    for count, lines in ((20, 1 + 22), (21, 2)):
        test = {**figures, "confusion": [[0] * count] * count, "f1": [0.0] * count}
        labels = [f"class {n}" for n in range(count)]
        assert len(describe(labels, {}, {"test": figures}, {"test": test}).splitlines()) == lines


def test_bytes_that_are_no_text_are_refused_in_any_locale(
    trained: tuple[Any, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for errors_handler in ("strict", "surrogateescape"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\xffb\n"), "utf-8", errors_handler))
        code, _, errors = call(capsys, "classify", "predict", "--model", trained[0])
        assert (code, len(errors)) == (2, 1) and "standard input must be UTF-8; " in errors[0]
