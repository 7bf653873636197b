"""The random stream against values that PyTorch 2.13 printed on a CPU, and against its own promises."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import AnomalyError, ConfigError, DTypeError, ShapeError, TinygradLLMError
from tinygrad_llm.random import Generator, default_generator, manual_seed, pandas_sample_order

# What PyTorch drew ------------------------------------------------------------------------------------------------


def test_uniforms_are_pytorchs() -> None:
    expected = np.array([0.29611194133758545, 0.516562283039093, 0.2516707181930542, 0.6885567903518677], np.float32)
    np.testing.assert_array_equal(Generator(123).rand(4), expected)
    doubles = [0.9700530018065531, 0.707819864399788, 0.45938294312745087]
    np.testing.assert_array_equal(Generator(0).rand(3, dtype=np.float64), doubles)
    ranged = [0.4737151861190796, 0.5956078171730042, 0.6432619690895081, 0.05426055192947388]
    np.testing.assert_array_equal(Generator(789).uniform(-0.3, 0.7, 4), np.array(ranged, np.float32))


def test_first_row_of_a_linear_layer_is_pytorchs() -> None:
    generator, bound = Generator(123), 1 / math.sqrt(5)
    weight = generator.uniform(-bound, bound, (6, 5))
    bias = generator.uniform(-bound, bound, 6)
    row = [-0.18236301839351654, 0.014813756570219994, -0.22211246192455292, 0.1686503142118454, -0.38105061650276184]
    np.testing.assert_array_equal(weight[0], np.array(row, np.float32))
    start = [0.38176199793815613, 0.21355092525482178, 0.19488094747066498]
    np.testing.assert_array_equal(bias[:3], np.array(start, np.float32))


def test_embedding_of_the_book() -> None:
    np.testing.assert_array_equal(Generator(123).randn(6, 3)[0].round(4), np.float32([0.3374, -0.1778, -0.1690]))


def test_normals_in_blocks_of_sixteen_with_a_redone_tail() -> None:
    generator = Generator(123)
    drawn = generator.randn(17)
    some = [0.3373701870441437, -1.0204719305038452, -0.16895627975463867]
    tail = [0.32547101378440857, -0.6315053701400757, -2.839993953704834, -0.7848533391952515]
    np.testing.assert_allclose(drawn[[0, 1, 2, 13, 14, 15, 16]], some + tail, atol=1e-6)
    assert generator.rand(1)[0] == np.float32(0.7058374285697937)
    doubles = [-2.310411800234176, -0.3732508612577643, 0.23871805816817063, 0.7335283685272841]
    doubles += [0.6748575435940039, 1.0468653769814655]
    drawn = Generator(0).randn(18, dtype=np.float64)
    np.testing.assert_allclose(drawn[[0, 1, 8, 9, 16, 17]], doubles, rtol=1e-14)


def test_second_normal_of_a_pair_waits_through_other_draws() -> None:
    generator = Generator(123)
    first = [-0.11146711558103561, 0.12036294490098953, -0.3696345090866089]
    np.testing.assert_allclose(generator.randn(3), first, rtol=1e-6)
    generator.randn(20)  # a long draw neither takes nor drops it
    np.testing.assert_allclose(generator.randn(2), [-0.2404179722070694, -0.38861599564552307], rtol=1e-6)
    generator.manual_seed(123)  # seeding drops the one that waits now
    np.testing.assert_allclose(generator.randn(3), first, rtol=1e-6)


def test_integers_permutations_and_waiting_times_are_pytorchs() -> None:
    generator = Generator(123)
    assert generator.randint(-5, 1000, 6).tolist() == [227, 359, 877, 40, 215, 12]
    assert generator.randint(0, 2**40, 3).tolist() == [990931205137, 358591625322, 531631171129]
    assert Generator(123).randperm(12).tolist() == [10, 4, 1, 3, 8, 2, 6, 9, 11, 0, 5, 7]
    waits = [0.23014220595359802, 0.006728039123117924, 0.4479745626449585]
    np.testing.assert_allclose(Generator(123).exponential(3, 2.0), waits, rtol=1e-6)
    assert Generator(123).seed_word() == 3624216819017203053


def test_dropout_mask_of_the_book() -> None:
    mask = Generator(123).dropout_mask((6, 6), 0.5)
    assert mask.dtype == np.bool_
    assert mask[0].tolist() == [True, True, False, True, True, False]


def test_dropout_of_0_or_1_draws_no_random_numbers() -> None:
    generator = Generator(5)
    assert generator.dropout_mask((2, 3), 0.0).all()
    assert not generator.dropout_mask((2, 3), 1.0).any()
    np.testing.assert_array_equal(generator.rand(3), Generator(5).rand(3))


def test_multinomial_is_pytorchs() -> None:
    generator, p = Generator(123), np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    assert [generator.multinomial(p).item() for _ in range(12)] == [1, 3, 3, 2, 3, 3, 3, 3, 1, 0, 3, 2]
    rows = np.stack([p, p[::-1]])
    assert Generator(123).multinomial(rows, 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    several = Generator(123).multinomial(rows, 6, replacement=True)
    assert several.tolist() == [[2, 0, 2, 0, 2, 2], [1, 1, 3, 0, 2, 0]]


def test_multinomial_counts_of_the_book() -> None:
    logits = np.array([4.51, 0.89, -1.9, 6.75, 1.63, -1.62, -1.89, 6.28, 1.79], np.float32)
    p = np.exp(logits - logits.max())
    p /= p.sum()
    generator = Generator(123)
    drawn = [generator.multinomial(p).item() for _ in range(1000)]
    assert np.bincount(drawn, minlength=9).tolist() == [73, 0, 0, 582, 2, 0, 0, 343, 0]


# What the stream promises -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [70_001, 3 * 65_536, 65_537, 65_535])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_draws_do_not_show_their_chunks(size: int, dtype: type) -> None:
    """The definition, written over the whole array at once, gives the same normals and leaves the same place."""
    generator, whole = Generator(7), Generator(7)
    drawn = generator.randn(size, dtype=dtype)

    def blocks(u: np.ndarray) -> np.ndarray:
        u1, u2 = 1 - u.reshape(-1, 2, 8)[:, 0], u.reshape(-1, 2, 8)[:, 1]
        r, theta = np.sqrt(-2 * np.log(u1)), 2 * math.pi * u2
        return np.stack([r * np.cos(theta), r * np.sin(theta)], axis=1).reshape(-1)

    uniforms = whole.rand(size, dtype=dtype)
    full = size // 16 * 16
    expected = np.concatenate([blocks(uniforms[:full]), np.empty(size - full, dtype)])
    if size % 16:
        expected[-16:] = blocks(whole.rand(16, dtype=dtype))
    np.testing.assert_allclose(drawn, expected, atol=2e-6 if dtype == np.float32 else 1e-13)
    np.testing.assert_array_equal(generator.rand(3), whole.rand(3))


DRAWS = {
    "rand": lambda g: g.rand(5),
    "rand64": lambda g: g.rand(2, 3, dtype=np.float64),
    "normal": lambda g: g.normal(1.0, 2.0, 3),
    "randn": lambda g: g.randn(19),
    "randint": lambda g: g.randint(0, 2**40, 4),
    "randperm": lambda g: g.randperm(9),
    "mask": lambda g: g.dropout_mask((3, 4), 0.1),
    "multinomial": lambda g: g.multinomial(np.full((2, 6), 1 / 6), 2),
}


@given(st.integers(0, 2**64 - 1), st.lists(st.sampled_from(sorted(DRAWS))), st.lists(st.sampled_from(sorted(DRAWS))))
def test_state_resumes_every_later_draw(seed: int, before: list[str], after: list[str]) -> None:
    generator = Generator(seed)
    for name in before:
        DRAWS[name](generator)
    state = generator.state()
    kept = json.dumps({**state, "key": state["key"].tolist()})
    expected = [DRAWS[name](generator) for name in after]
    for given_state in (state, json.loads(kept)):
        resumed = Generator(1)
        resumed.set_state(given_state)
        assert resumed.seed == seed
        for name, draw in zip(after, expected, strict=True):
            np.testing.assert_array_equal(DRAWS[name](resumed), draw)


def test_children_are_their_own_and_leave_the_parent_alone() -> None:
    parent, untouched = Generator(3), Generator(3)
    early = parent.spawn("dropout").rand(4)
    np.testing.assert_array_equal(parent.rand(4), untouched.rand(4))
    np.testing.assert_array_equal(parent.spawn("dropout").rand(4), early)
    others = [parent.spawn("shuffle"), Generator(4).spawn("dropout"), Generator(3)]
    for other in others:
        assert not np.array_equal(other.rand(4), early)


def test_manual_seed_seeds_the_default_generator() -> None:
    assert manual_seed(11) is default_generator()
    np.testing.assert_array_equal(default_generator().rand(3), Generator(11).rand(3))
    assert default_generator().seed == 11


@given(st.integers(0, 300), st.integers(0, 2**32))
def test_permutations_hold_each_number_once(n: int, seed: int) -> None:
    assert sorted(Generator(seed).randperm(n).tolist()) == list(range(n))


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.sampled_from([np.float32, np.float64]))
def test_uniform_stays_inside_its_range(a: float, b: float, dtype: type) -> None:
    low, high = sorted([dtype(a), dtype(b)])
    drawn = Generator(1).uniform(low, high, 50, dtype)
    assert drawn.dtype == dtype
    assert (drawn >= low).all()
    assert (drawn < high).all() or low == high


def test_uniform_never_rounds_up_to_its_open_end() -> None:
    assert (Generator(1).uniform(2**24 - 1, 2**24, 100) == 2**24 - 1).all()


def test_multinomial_never_takes_an_impossible_category() -> None:
    p = np.tile(np.float32([0, 1e-30, 0, 1, 0]), (500, 1))
    generator = Generator(0)
    assert set(generator.multinomial(p, 2).reshape(-1).tolist()) == {1, 3}
    assert set(generator.multinomial(p, 3, replacement=True).reshape(-1).tolist()) == {3}


def test_shapes_and_dtypes() -> None:
    generator = Generator(0)
    assert generator.rand().shape == () == generator.randn().shape
    assert generator.rand((2, 3)).shape == generator.rand(2, 3).shape == (2, 3)
    assert generator.rand(0, 3).shape == (0, 3)
    assert generator.randn(np.int64(4), 5, dtype=np.float64).dtype == np.float64
    assert generator.normal(shape=4).dtype == generator.uniform(0, 1, 4).dtype == np.float32
    assert generator.randint(0, 3, (2, 2)).dtype == generator.randperm(3).dtype == np.int64
    assert generator.multinomial(np.ones((0, 3))).shape == (0, 1)
    assert generator.randperm(0).shape == (0,)


def test_pandas_sample_order() -> None:
    order = pandas_sample_order(10, 4, 123)  # what pandas' frame.sample(4, random_state=123) indexes
    assert order.tolist() == [4, 0, 7, 5]
    assert sorted(pandas_sample_order(30, 30, 1).tolist()) == list(range(30))
    assert pandas_sample_order(0, 0, 1).size == 0
    for size, n, seed in [(3, 4, 0), (3, -1, 0), (3, 1, -1), (3, 1, 2**32), (-1, 0, 0)]:
        with pytest.raises(ConfigError, match="pandas_sample_order"):
            pandas_sample_order(size, n, seed)


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "error", "says"),
    [
        (lambda g: Generator(-1), ConfigError, "seed must be in"),
        (lambda g: Generator(2**64), ConfigError, "seed must be in"),
        (lambda g: Generator(1.5), ConfigError, "seed must be an integer"),
        (lambda g: g.rand(-1), ShapeError, "at least 0"),
        (lambda g: g.rand(2.5), ShapeError, "integers"),
        (lambda g: g.rand("ab"), ShapeError, "integers"),
        (lambda g: g.rand(2, dtype=np.float16), DTypeError, "float16"),
        (lambda g: g.rand(2, dtype="nonsense"), DTypeError, "nonsense"),
        (lambda g: g.uniform(1, 0, 3), ConfigError, "low <= high"),
        (lambda g: g.uniform(0, math.inf, 3), ConfigError, "finite"),
        (lambda g: g.uniform(-3e38, 3e38, 3), ConfigError, "fit float32"),
        (lambda g: g.normal(0, -1, 3), ConfigError, "std"),
        (lambda g: g.normal(math.nan, 1, 3), ConfigError, "mean"),
        (lambda g: g.exponential(3, 0.0), ConfigError, "rate"),
        (lambda g: g.randint(3, 3), ConfigError, "low < high"),
        (lambda g: g.randint(0, 2**63), ConfigError, "int64"),
        (lambda g: g.randint(0, 2.5), ConfigError, "high must be an integer"),
        (lambda g: g.randperm(-1), ConfigError, "n must be"),
        (lambda g: g.dropout_mask(3, 1.1), ConfigError, r"\[0, 1\]; got 1.1"),
        (lambda g: g.dropout_mask(3, math.nan), ConfigError, "nan"),
        (lambda g: g.multinomial(np.array([0.5, math.nan])), AnomalyError, "NaN"),
        (lambda g: g.multinomial(np.array([0.5, math.inf])), AnomalyError, "infinity"),
        (lambda g: g.multinomial(np.array([0.5, -0.1])), AnomalyError, "negative"),
        (lambda g: g.multinomial(np.array([[0.5, 0.5], [0.0, 0.0]])), AnomalyError, "zeros"),
        (lambda g: g.multinomial(np.array([0.5, 0.5, 0.0]), 3), ConfigError, "got 2"),
        (lambda g: g.multinomial(np.array([0.5, 0.5]), 0), ConfigError, "num_samples"),
        (lambda g: g.multinomial(np.array([1, 2])), DTypeError, "int64"),
        (lambda g: g.multinomial(np.array(0.5)), ShapeError, r"got \(\)"),
        (lambda g: g.multinomial(np.empty((3, 0))), ShapeError, "V > 0"),
    ],
)
def test_bad_arguments_are_refused_and_draw_nothing(draw: st.DrawFn, error: type[TinygradLLMError], says: str) -> None:
    generator = Generator(9)
    with pytest.raises(error, match=says):
        draw(generator)
    np.testing.assert_array_equal(generator.rand(3), Generator(9).rand(3))


@pytest.mark.parametrize(
    "change",
    [
        {"key": [1, 2, 3]},
        {"key": [-1] * 624},
        {"key": ["x"] * 624},
        {"key": None},
        {"position": 625},
        {"position": "0"},
        {"next_normal": math.nan},
        {"next_normal": "x"},
        {"seed": -1},
    ],
)
def test_a_broken_state_is_refused_and_changes_nothing(change: dict) -> None:
    generator = Generator(9)
    with pytest.raises(ConfigError, match=r"Generator\.state|seed"):
        generator.set_state({**Generator(1).state(), **change})
    with pytest.raises(ConfigError, match="seed"):
        generator.set_state({})
    np.testing.assert_array_equal(generator.rand(3), Generator(9).rand(3))
