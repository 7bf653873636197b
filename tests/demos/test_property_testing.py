"""The demo of property-based testing finds that its wrong op is wrong, and shrinks the counterexample."""

import re

from demo_figures import run


def test_the_counterexample_shrinks_to_the_first_number_below_minus_one() -> None:
    output = run("property_testing")
    assert "cube holds for 100 inputs" in output
    assert "its gradient is right for the examples" in output
    assert len(re.findall(r"^  shape \(.*?\): \[", output, re.MULTILINE)) >= 3
    assert "the smallest counterexample has shape (): -1.0625" in output
    assert "no counterexample" not in output
