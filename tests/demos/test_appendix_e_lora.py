"""The demo of LoRA: the adapted model learns while the weights below stay as they were."""

import re
from collections.abc import Callable

import pytest
from demo_figures import percentages, section


@pytest.mark.slow
@pytest.mark.usefixtures("data_folder")
def test_lora_learns_while_the_weights_below_stay(printed: Callable[[str], str]) -> None:
    output = section(printed("appendix_e_lora"), "E.4")
    before = percentages(section(printed("appendix_e_lora"), "E.3"), "untrained, accuracy")
    assert percentages(output, "untrained, accuracy with LoRA") == before
    assert "largest gradient of any A: 0.0, of any B above 0: True" in output
    losses = [float(loss) for loss in re.findall(r"^step \d+: training loss ([\d.]+)$", output, re.MULTILINE)]
    assert losses[-1] < 0.7 * losses[0]
    assert percentages(output, "trained, test accuracy")[0] > max(80, before[2] + 15)
