"""The book's code, typed in its own vocabulary, prints here what it prints in PyTorch."""

import json
import warnings
from pathlib import Path

import pytest
from torch_words.chapters import CHAPTERS, NEED_TEXTS, PRINTED, generate_text_simple, gpt_classes, printed

import tinygrad_llm.torch

EXPECTED = json.loads(PRINTED.read_text("utf-8"))
OF_THE_BOOK = {  # figures that the book prints, to see that the chapters above are its own
    "appendix A": [
        "tensor(0.0852",
        "(tensor([-0.0898]),)",
        "(tensor([-0.0817]),)",
        "parameters: 2213",
        "[-0.1262,  0.1080",
    ],
    "chapter 2": ["20479 4690 1130", "0.3374, -0.1778, -0.1690"],
    "chapter 3": [
        "0.9544, 1.4950, 1.4754, 0.8434, 0.7070, 1.0865",
        "0.4306, 1.4551",
        "0.3061, 0.8210",
        "-0.4519,  0.2216",
    ],
    "chapter 4": ["0.2260, 0.3470, 0.0000, 0.2216", "[0.1324]", "[0.0231]"],
    "chapter 5": ["[ 73,   0,   0, 582,   2,   0,   0, 343,   0]", "0.0615, 0.0000, 0.0000, 0.5775"],
    "chapter 7": ["50256,  -100,  -100,  -100", "tensor(1.1269)", "tensor(0.7936)", "loss_1 == loss_3: tensor(True)"],
    "appendix D": ["27"],
}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_prints_what_it_prints_in_pytorch(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue("data_folder") if name in NEED_TEXTS else Path()
    assert printed(name, tinygrad_llm.torch, folder) == EXPECTED[name]


@pytest.mark.parametrize("name", OF_THE_BOOK)
def test_the_books_figures_are_among_them(name: str) -> None:
    text = "\n".join(EXPECTED[name])
    assert [figure for figure in OF_THE_BOOK[name] if figure not in text] == []


def test_what_is_recorded_is_what_pytorch_prints(data_folder: Path) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert {name: printed(name, torch, data_folder) for name in CHAPTERS} == EXPECTED


@pytest.mark.slow
def test_the_model_of_124_million_parameters_prints_the_books_numbers() -> None:
    torch = tinygrad_llm.torch
    torch.manual_seed(123)
    gpt = {"vocab_size": 50257, "context_length": 1024, "emb_dim": 768, "n_heads": 12, "n_layers": 12}
    model = gpt_classes(tinygrad_llm.torch)[-1]({**gpt, "drop_rate": 0.1, "qkv_bias": False})
    logits = model(torch.tensor([[6109, 3626, 6100, 345], [6109, 1110, 6622, 257]]))
    assert repr(logits).startswith("tensor([[[ 0.3613,  0.4222, -0.0711,  ...,  0.3483,  0.4661, -0.2838],")
    assert repr(logits).endswith("grad_fn=<UnsafeViewBackward0>)")
    model.eval()
    ids = generate_text_simple(torch, model, torch.tensor([[15496, 11, 314, 716]]), 6, 1024)
    assert ids.tolist() == [[15496, 11, 314, 716, 27018, 24086, 47843, 30961, 42348, 7267]]
    total = sum(p.numel() for p in model.parameters())
    assert f"{total:,}" == "163,009,536"
    assert f"{total - sum(p.numel() for p in model.out_head.parameters()):,}" == "124,412,160"
    assert f"{total * 4 / (1024 * 1024):.2f} MB" == "621.83 MB"
