"""The demo of Llama and its variants: the book's figures, costs by formula, and models that learn."""

import re

import pytest
from demo_figures import Figure, check, section

BOOK = [
    Figure("5", "32 heads of keys", "17.18 3.14"),
    Figure("5", "\n  8 heads of keys", "4.29 0.78"),
    Figure("5", "latents of 1,024:", "0.81"),
    Figure("5", "feed-forward of width 14,336:", "308281344"),
    Figure("5", "8 experts of width 1,792:", "308338688 77127680"),
]


@pytest.mark.slow
def test_the_estimators_print_the_book_s_figures(printed) -> None:
    for figure in BOOK:
        check(printed("llama_and_variants"), figure)


@pytest.mark.slow
def test_every_part_keeps_its_promise(printed) -> None:
    output = printed("llama_and_variants")
    rows = dict(re.findall(r"^( *[A-Za-z0-9][\w ,]*?)  +([\d.,][\d., ]*)$", section(output, "3"), re.MULTILINE))
    table = {name.strip(): [float(x.replace(",", "")) for x in row.split()] for name, row in rows.items()}
    assert len(table) == 8
    for name, (parameters, in_use, loss, _, cached, size) in table.items():
        assert in_use <= parameters and loss < 3.2  # an even guess among 103 letters costs 4.6
        assert size == cached * (39 if "window" in name else 64) * 4
    assert table["one head of keys"][4] == table["Llama"][4] / 4
    assert table["latents of 32"][4] == 4 * (32 + 8)
    assert abs(table["GPT"][0] / table["Llama"][0] - 1) < 0.03
    counted = re.findall(r"^ *([A-Za-z0-9][\w ,]*?)  +([\d,]+) .* ([\d.]+) MB$", section(output, "4.1"), re.MULTILINE)
    costs = {name: (int(operations.replace(",", "")), float(cache)) for name, operations, cache in counted}
    assert costs.keys() == table.keys()
    assert costs["one head of keys"][1] == pytest.approx(costs["Llama"][1] / 4, abs=0.01)
    assert costs["one head of keys"][0] < costs["Llama"][0] > costs["a window of 16"][0]
    assert costs["Llama"][0] < 2 * costs["latents of 32"][0]
    assert table["8 experts, 2 in use"][0] > 2.9 * table["8 experts, 2 in use"][1]
    differences = re.findall(r"worst difference (\S+)", section(output, "2"))
    assert len(differences) == 8 and max(map(float, differences)) < 1e-7
    for layer in re.findall(r"^layer \d: (.+)$", section(output, "6"), re.MULTILINE):
        shares = [float(share.rstrip("%")) for share in layer.split()]
        assert len(shares) == 8 and max(shares) < 50 and abs(sum(shares) - 100) < 1
