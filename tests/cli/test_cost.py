"""`cost`: GPT-3's table, one model's arithmetic, and refusals."""

from typing import Any

import pytest
from tiny_base import call

from tinygrad_llm.models.presets import GPT3


def test_the_table_of_gpt3(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(capsys, "cost")
    lines = printed.splitlines()
    assert (code, errors) == (0, []) and max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[2:10]] == list(GPT3)
    largest = lines[9].split()
    assert largest[1:6] == ["96", "12,288", "96", "174,604", "174,600"] and largest[6:8] == ["3.14e+23", "3.14e+23"]
    half = call(capsys, "cost", "--tokens", "150B", "--utilisation", "0.15")[1].splitlines()
    assert half[9].split()[6:8] == ["1.57e+23", "-"] and half[21].split()[2] == lines[21].split()[2]


def test_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "cost",
        "--preset",
        "micro",
        "--num-layers",
        "2",
        "--tokens",
        "1M",
        "--peak",
        "5e10",
        "--utilisation",
        "0.5",
    ]
    code, printed, errors = call(capsys, *words, "--price", "0.1", "--watts", "20", "--overhead", "1")
    assert (code, errors) == (0, []) and "a GPT of 2 layers, 192 wide" in printed
    values = {line[:16].strip(): line[16:34].strip() for line in printed.splitlines()[1:]}
    assert float(values["operations"]) == pytest.approx(
        float(values["products"]) + float(values["attention"]), rel=1e-3
    )
    assert float(values["device-days"]) == pytest.approx(float(values["operations"]) / (5e10 * 0.5 * 86400), rel=1e-3)


@pytest.mark.parametrize("options", [[], ["--utilisation", "1"], ["--preset", "micro"], ["--preset", "gpt3-175b"]])
def test_each_line_fits_80_columns(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(capsys, "cost", *options, "--devices", "999999999")
    assert (code, errors) == (0, []) and [line for line in printed.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "gpt5"], "--preset must be one of gpt2-small"),
        (["--device", "abacus"], '--device must be "v100", "a100" or "h100"; got'),
        (["--utilisation", "2"], "--utilisation must be a share of the device's peak, 1e-06 to 1; got 2.0: 30% is 0.3"),
        (["--utilisation", "0"], "--utilisation must be a share of the device's peak, 1e-06 to 1; got 0.0"),
        (["--devices", "0"], "--devices must be a number, at least 1"),
        (["--peak", "nan"], "--peak must be a number"),
        (["--num-heads", "7"], "--embedding-dim must be a multiple of --num-heads"),
    ],
)
def test_misuse_is_one_line(options: list[Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = call(capsys, "cost", *options)
    assert (code, len(errors)) == (2, 1) and message in errors[0], errors
