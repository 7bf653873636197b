"""The demo that times generation; its figures belong to the machine, so only their form is tested."""

import re

from demo_figures import run


def test_generation_looks_ahead_and_writes_the_same_tokens() -> None:
    output = run("generation_speed", "--preset", "nano", "--tokens", "20", "--rounds", "1")
    assert "809,856 parameters" in output
    assert re.search(r"^looking ahead: [\d.]+ tokens/s", output, re.MULTILINE)
    assert "one at a time: the first 20 of 20 tokens are the same\n" in output
    for count in (2, 4, 8):
        assert re.search(rf"^{count} texts at once: [\d.]+ times the tokens/s of one", output, re.MULTILINE)
    assert "the first of eight has the tokens that it has alone: yes\n" in output
    passes, accepted = map(int, re.search(r"^(\d+) passes, (\d+) of \d+ drafted tokens", output, re.MULTILINE).groups())
    assert passes + accepted == 20
