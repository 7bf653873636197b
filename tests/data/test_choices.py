"""Random choices: uniform, the same from the same seed, in blocks; a steady share held out."""

from tinygrad_llm import Generator
from tinygrad_llm.data.choices import BLOCK, Choices, is_held_out


def test_choices_are_uniform_and_the_same_from_the_same_seed() -> None:
    draw, again = Choices(Generator(1)), Choices(Generator(1))
    drawn = [draw.below(5) for _ in range(3 * BLOCK)]
    assert drawn == [again.below(5) for _ in range(3 * BLOCK)]
    assert all(abs(drawn.count(value) / len(drawn) - 0.2) < 0.03 for value in range(5))
    assert {draw.one_of("ab") for _ in range(50)} == {"a", "b"}
    assert 0.25 < sum(draw.chance(30) for _ in range(1000)) / 1000 < 0.35
    assert not any(draw.chance(0) for _ in range(100)) and all(draw.chance(100) for _ in range(100))


def test_one_content_in_so_many_is_held_out_in_every_run() -> None:
    held_out = [number for number in range(4000) if is_held_out(f"word {number}", 8)]
    assert abs(len(held_out) / 4000 - 1 / 8) < 0.02 and held_out[:3] == [7, 14, 23]
