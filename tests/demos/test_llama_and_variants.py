"""The demo of Llama and its variants: costs by formula, and models that learn."""

import re
from collections.abc import Callable

import pytest
from demo_figures import section


@pytest.mark.slow
def test_every_variant_has_the_costs_of_its_formula_and_learns(printed: Callable[[str], str]) -> None:
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
