"""One random stream for everything: the Mersenne Twister, used as PyTorch's CPU generator uses it.

A pseudo-random generator is a long, fixed sequence of numbers and a place in it. Ours is MT19937 (Matsumoto and
Nishimura 1998, doi:10.1145/272991.272995): 624 words of 32 bits are the state; each step mixes three of them into a
new one; the period is 2**19937 - 1. The seed fills the 624 words, so equal seeds give equal sequences. NumPy and
PyTorch fill them alike, so `Generator(s)` has the same words as `torch.manual_seed(s)` on a CPU, and each draw
must use as many of them as PyTorch's, in the same way. With `u32` the next word and
`u64` = (the next word << 32) | (the one after):

    uniform, float32   (u32 mod 2**24) / 2**24         24 bits: the precision of a float32
    uniform, float64   (u64 mod 2**53) / 2**53
    integer            low + u32 mod (high - low)      u64 where the range is 2**28 or more, to hide mod's bias
    normal             r·cos θ and r·sin θ             r = √(-2 ln u1), θ = 2π·u2 (Box and Muller 1958)
    exponential        -ln(1 - u) / rate               the inverse of the distribution function
    permutation        for i = 0, 1, ...: swap place i with place i + u32 mod (n - i)   (Fisher and Yates)
    dropout            keep where a float64 uniform is < 1 - p
    one category       argmax of p / q, q exponential: each has probability p / Σp

Fewer than 16 normals are drawn one by one: a pair of float64 uniforms gives two, and the second waits in the
generator for the next such draw. From 16 on, the array is filled with uniforms and turned into normals in blocks of
16, the first eight paired with the last eight; if its length is no multiple of 16, its last 16 values are drawn again.

Uniform (float32), integer and boolean draws equal PyTorch's to the bit; those that pass through log and cos differ
in the last digits, as those functions do, and float64 `uniform(low, high)` by at most one rounding. Draws are made in
chunks, so that their scratch memory stays small.
"""

import hashlib
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_llm.errors import AnomalyError, ConfigError, DTypeError, ShapeError

CHUNK = 1 << 16  # values per chunk: scratch stays in the L2 cache; a multiple of 16 keeps the normals' blocks whole
WIDE_RANGE = 1 << 28  # from this range on, an integer draw takes two words
LONGEST_PERMUTATION = (2**32 - 1) // 20  # beyond it a 32-bit word mod n would be visibly biased

Shape = int | Sequence[int]


class Generator:
    """A random stream from one seed: uniform and normal numbers, integers, permutations, dropout masks, categories.

    Seeds run from 0 to 2**64 - 1; as in PyTorch, MT19937 is filled from the low 32 bits.

    >>> print(Generator(123).rand(3).round(4))
    [0.2961 0.5166 0.2517]

    Raises: ConfigError for a seed, range or probability outside its bounds; ShapeError for an impossible shape;
    DTypeError for a dtype that is neither float32 nor float64.
    """

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed})"

    def manual_seed(self, seed: int) -> "Generator":
        """Go to the start of the stream of `seed`, and drop a normal kept for the next draw."""
        self.seed = _checked_seed(seed)
        self._words_of_seed = np.random.RandomState(self.seed & 0xFFFFFFFF)
        self._next_normal: float | None = None  # the r·sin θ of a pair whose r·cos θ has been given out
        return self

    # Raw words ------------------------------------------------------------------------------------------------

    def _words(self, count: int) -> NDArray[np.uint32]:
        """The next `count` 32-bit words."""
        return self._words_of_seed.randint(0, 2**32, size=count, dtype=np.uint32)

    def _double_words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` 64-bit words, each from two: the first is the high half."""
        halves = self._words(2 * count).astype(np.uint64)
        return (halves[0::2] << np.uint64(32)) | halves[1::2]

    def seed_word(self) -> int:
        """A 63-bit integer from the stream: what PyTorch draws to seed a shuffle or the workers of a loader."""
        return int(self._double_words(1)[0]) & (2**63 - 1)

    def _fill_uniform(self, flat: NDArray[Any]) -> None:
        """Fill a 1-D float array with uniforms in [0, 1)."""
        for part in _chunks(flat):
            if part.dtype == np.float32:
                words = self._words(part.size)
                words &= np.uint32(0xFFFFFF)
                part[...] = words  # exact: 24 bits fit a float32
                part *= np.float32(2.0**-24)
            else:
                # (u64 mod 2**53) without a 64-bit integer: the low 21 bits of the high half, then the low half.
                halves = self._words(2 * part.size)
                np.bitwise_and(halves[0::2], np.uint32(0x1FFFFF), out=part, casting="unsafe")
                part *= 2.0**32
                part += halves[1::2]  # exact: 53 bits fit a float64
                part *= 2.0**-53

    # Uniform and normal ---------------------------------------------------------------------------------------

    def rand(self, *shape: int | Sequence[int], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Uniform numbers in [0, 1), as `torch.rand`. Shapes: (*shape)."""
        drawn = _empty(shape, dtype)
        self._fill_uniform(drawn.reshape(-1))
        return drawn

    def uniform(self, low: float, high: float, shape: Shape = (), dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Uniform numbers in [low, high), as `tensor.uniform_(low, high)`: low + (high - low) · u."""
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ConfigError(f"uniform: needs finite low <= high; got {low}, {high}")
        drawn = _empty((shape,), dtype)
        kind = drawn.dtype.type
        start, stop = kind(low), kind(high)
        with np.errstate(over="ignore"):
            span = stop - start
        if not np.isfinite(span):
            raise ConfigError(f"uniform: high - low must fit {drawn.dtype}; got {low}, {high}")
        for part in _chunks(drawn.reshape(-1)):
            if part.dtype == np.float32:
                # PyTorch multiplies and adds in one rounding; in float64 both steps are exact, the cast rounds once.
                words = self._words(part.size)
                words &= np.uint32(0xFFFFFF)
                wide = words * (float(span) * 2.0**-24)
                wide += float(start)
                part[...] = wide
            else:
                self._fill_uniform(part)
                part *= span
                part += start
            np.copyto(part, start, where=part == stop)  # rounding can reach the open end
        return drawn

    def randn(self, *shape: int | Sequence[int], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Normal numbers of mean 0 and deviation 1, as `torch.randn`. Shapes: (*shape)."""
        return self._normal(_empty(shape, dtype), 0.0, 1.0)

    def normal(
        self, mean: float = 0.0, std: float = 1.0, shape: Shape = (), dtype: DTypeLike = np.float32
    ) -> NDArray[Any]:
        """Normal numbers of the given mean and standard deviation, as `tensor.normal_(mean, std)`."""
        if not (math.isfinite(mean) and math.isfinite(std) and std >= 0):
            raise ConfigError(f"normal: needs a finite mean and a finite std >= 0; got {mean}, {std}")
        return self._normal(_empty((shape,), dtype), mean, std)

    def _normal(self, drawn: NDArray[Any], mean: float, std: float) -> NDArray[Any]:
        flat = drawn.reshape(-1)
        if flat.size < 16:
            for i in range(flat.size):
                flat[i] = self._one_normal() * std + mean
            return drawn
        whole = flat.size // 16 * 16
        for part in _chunks(flat[:whole]):
            self._fill_uniform(part)
            _uniforms_to_normals(part, mean, std)
        if whole < flat.size:
            # PyTorch fills the whole array first, so the remainder's uniforms are drawn before the new 16.
            self._fill_uniform(flat[whole:])
            self._fill_uniform(flat[-16:])
            _uniforms_to_normals(flat[-16:], mean, std)
        return drawn

    def _one_normal(self) -> float:
        if self._next_normal is not None:
            kept, self._next_normal = self._next_normal, None
            return kept
        pair = np.empty(2)
        self._fill_uniform(pair)
        radius = math.sqrt(-2.0 * math.log1p(-pair[1]))
        theta = 2.0 * math.pi * float(pair[0])
        self._next_normal = radius * math.sin(theta)
        return radius * math.cos(theta)

    def exponential(self, shape: Shape = (), rate: float = 1.0, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Waiting times with `rate` events per unit, as `tensor.exponential_(rate)`: -ln(1 - u) / rate."""
        if not (math.isfinite(rate) and rate > 0):
            raise ConfigError(f"exponential: rate must be finite and > 0; got {rate}")
        drawn = _empty((shape,), dtype)
        for part in _chunks(drawn.reshape(-1)):
            uniforms = np.empty(part.size)
            self._fill_uniform(uniforms)
            np.negative(uniforms, out=uniforms)
            np.log1p(uniforms, out=uniforms)
            np.multiply(uniforms, -1.0 / rate, out=part, casting="same_kind")
        return drawn

    # Integers, masks, categories ------------------------------------------------------------------------------

    def randint(self, low: int, high: int, shape: Shape = ()) -> NDArray[np.int64]:
        """Integers from low to high - 1, as `torch.randint(low, high, shape)`: int64."""
        low, high = _integer("randint: low", low), _integer("randint: high", high)
        if not -(2**63) <= low < high <= 2**63 - 1:
            raise ConfigError(f"randint: needs low < high within int64; got {low}, {high}")
        drawn = np.empty(_shape((shape,)), np.int64)
        span = high - low
        for part in _chunks(drawn.reshape(-1)):
            if span < WIDE_RANGE:
                part[...] = self._words(part.size) % np.uint32(span)
            else:
                part[...] = (self._double_words(part.size) % np.uint64(span)).view(np.int64)
            part += low  # wraps as PyTorch's int64 if the span exceeds it
        return drawn

    def randperm(self, n: int) -> NDArray[np.int64]:
        """The numbers 0 .. n - 1 in random order, as `torch.randperm(n)`. Shapes: (n,)."""
        n = _integer("randperm: n", n)
        if not 0 <= n < LONGEST_PERMUTATION:
            raise ConfigError(f"randperm: n must be in 0..{LONGEST_PERMUTATION - 1}; got {n}")
        order = list(range(n))  # a list: swapping single elements is several times faster than in an array
        places = np.arange(max(n - 1, 0))
        for part in _chunks(places):
            start = int(part[0])
            part += self._words(part.size) % (n - part)
            for i, j in enumerate(part.tolist(), start):
                order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)

    def dropout_mask(self, shape: Shape, p: float) -> NDArray[np.bool_]:
        """True where dropout with probability `p` keeps a value (Srivastava et al. 2014): u < 1 - p.

        As in PyTorch, p = 0 and p = 1 draw no random numbers.
        """
        if not 0.0 <= p <= 1.0:
            raise ConfigError(f"dropout: p must be in [0, 1]; got {p}")
        keep = np.empty(_shape((shape,)), np.bool_)
        if p in (0.0, 1.0):
            keep[...] = p == 0.0
            return keep
        uniforms = np.empty(min(keep.size, CHUNK))
        for part in _chunks(keep.reshape(-1)):
            drawn = uniforms[: part.size]
            self._fill_uniform(drawn)
            np.less(drawn, 1.0 - p, out=part)
        return keep

    def skip_dropout_mask(self, count: int, p: float) -> None:
        """Advance the stream as `dropout_mask` of `count` values does, in about half the time."""
        for start in range(0, 0 if p in (0.0, 1.0) else count, CHUNK):
            # A double uses two words, as each value of a mask does.
            self._words_of_seed.random_sample(min(CHUNK, count - start))

    def multinomial(
        self, probabilities: NDArray[Any], num_samples: int = 1, replacement: bool = False
    ) -> NDArray[np.int64]:
        """Categories drawn with probabilities proportional to `probabilities`, as `torch.multinomial`.

        One sample, or several without replacement: the largest p / q with q exponential, which is equal to sampling
        one after the other (exponential clocks of rates p). Several with replacement: the first
        category whose cumulative probability reaches a uniform number.

        Shapes: (V,) -> (num_samples,); (B, V) -> (B, num_samples)
        Raises: AnomalyError for NaN, infinite or negative probabilities, or a row without a positive one;
        ConfigError if a row has fewer categories of positive probability than samples to draw.
        """
        chances = np.asarray(probabilities)
        num_samples = _integer("multinomial: num_samples", num_samples)
        _check_probabilities(chances, num_samples, replacement)
        if replacement and num_samples > 1:
            rows = [self._from_cumulative(row, num_samples) for row in np.atleast_2d(chances)]
            return np.array(rows, np.int64).reshape(*chances.shape[:-1], num_samples)
        waits = self.exponential(chances.shape, dtype=chances.dtype)
        np.maximum(waits, np.finfo(chances.dtype).tiny, out=waits)  # u may be 0: keep 0 / 0 out
        with np.errstate(over="ignore"):
            np.divide(chances, waits, out=waits)
        if num_samples == 1:
            return waits.argmax(axis=-1, keepdims=True)
        return np.argsort(-waits, axis=-1, kind="stable")[..., :num_samples]

    def _from_cumulative(self, row: NDArray[Any], num_samples: int) -> NDArray[np.int64]:
        cumulative = np.cumsum(row, dtype=row.dtype)
        cumulative /= cumulative[-1]
        cumulative[-1] = 1.0
        return np.searchsorted(cumulative.astype(np.float64), self.rand(num_samples, dtype=np.float64))

    # Saving, restoring and dividing the stream ----------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The state of the stream, for `set_state`: seed, MT19937's 624 words, the position in them, a kept normal."""
        twister: Any = self._words_of_seed.get_state(legacy=False)
        return {
            "seed": self.seed,
            "key": twister["state"]["key"].copy(),
            "position": int(twister["state"]["pos"]),
            "next_normal": self._next_normal,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `state()`: the draws after it are repeated. The key may be an array or a list.

        Raises: ConfigError if it is not a state; the generator is then unchanged.
        """
        try:
            seed = _checked_seed(state["seed"])
            key = np.asarray(state["key"])
            position = operator.index(state["position"])
            kept = state["next_normal"]
            next_normal = None if kept is None else float(kept)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"set_state: needs what Generator.state() gave; {error!r}") from error
        if key.shape != (624,) or key.dtype.kind not in "iu" or key.min() < 0 or key.max() >= 2**32:
            raise ConfigError(
                f"set_state: key must be 624 words of 32 bits; got {key.shape} of {key.dtype}: "
                "pass what Generator.state() gave"
            )
        if not 0 <= position <= 624 or (next_normal is not None and not math.isfinite(next_normal)):
            raise ConfigError(
                f"set_state: needs a position in 0..624 and a finite or no next_normal; "
                f"got {position}, {next_normal}: pass what Generator.state() gave"
            )
        self.seed = seed
        self._words_of_seed.set_state(("MT19937", key.astype(np.uint32), position, 0, 0.0))
        self._next_normal = next_normal

    def spawn(self, name: str) -> "Generator":
        """A new generator for one purpose, derived from this one's seed and a name.

        It draws nothing from this generator, so it returns the same child at every call. With a child each for
        shuffling, dropout and evaluation, none of them changes the random numbers of another.
        """
        digest = hashlib.sha256(f"{self.seed}/{name}".encode("utf-8", "surrogatepass")).digest()
        return Generator(int.from_bytes(digest[:4], "big"))


def _uniforms_to_normals(flat: NDArray[Any], mean: float, std: float) -> None:
    """Box and Muller in place, in blocks of 16: uniforms u1 in the first eight, u2 in the last eight."""
    kind = flat.dtype.type
    blocks = flat.reshape(-1, 2, 8)
    radius = 1 - blocks[:, 0]  # in (0, 1], where the logarithm is finite
    np.log(radius, out=radius)
    radius *= kind(-2.0)
    np.sqrt(radius, out=radius)
    theta = blocks[:, 1] * kind(2.0 * math.pi)
    np.multiply(radius, np.cos(theta), out=blocks[:, 0])
    np.multiply(radius, np.sin(theta), out=blocks[:, 1])
    if (mean, std) != (0.0, 1.0):
        flat *= kind(std)
        flat += kind(mean)


def pandas_sample_order(size: int, n: int, seed: int) -> NDArray[np.int64]:
    """The `n` row numbers, in order, that pandas' `frame.sample(n, random_state=seed)` takes of `size` rows.

    pandas shuffles with NumPy's own permutation, not with PyTorch's: another stream than `Generator`'s.

    Raises: ConfigError unless 0 <= n <= size and the seed is in 0 .. 2**32 - 1.
    """
    size, n, seed = _integer("size", size), _integer("n", n), _integer("seed", seed)
    if not 0 <= n <= size:
        raise ConfigError(f"pandas_sample_order: n must be in 0..{size}, the number of rows; got {n}")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"pandas_sample_order: seed must be in 0..2**32 - 1; got {seed}")
    if size == 0:
        return np.empty(0, np.int64)
    return np.random.RandomState(seed).choice(size, n, replace=False).astype(np.int64)


def _chunks(flat: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of `flat`, CHUNK elements each, the last one shorter."""
    for start in range(0, flat.size, CHUNK):
        yield flat[start : start + CHUNK]


def _integer(what: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ConfigError(f"{what} must be an integer; got {value!r}") from None


def _checked_seed(seed: Any) -> int:
    number = _integer("seed", seed)
    if not 0 <= number < 2**64:
        raise ConfigError(f"seed must be in 0..2**64 - 1; got {number}")
    return number


def _shape(given: Sequence[int | Sequence[int]]) -> tuple[int, ...]:
    """The shape meant by rand(2, 3), rand((2, 3)) or shape=5."""
    sizes: Any = given[0] if len(given) == 1 and not hasattr(given[0], "__index__") else given
    try:
        shape = tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise ShapeError(f"a shape must be integers; got {sizes!r}") from None
    if any(size < 0 for size in shape):
        raise ShapeError(f"a shape must have sizes of at least 0; got {shape}")
    return shape


def _empty(shape: Sequence[int | Sequence[int]], dtype: DTypeLike) -> NDArray[Any]:
    try:
        kind = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"random numbers are float32 or float64; got {dtype!r}") from None
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError(f"random numbers are float32 or float64; got {kind}")
    return np.empty(_shape(shape), kind)


def _check_probabilities(chances: NDArray[Any], num_samples: int, replacement: bool) -> None:
    if chances.dtype not in (np.float32, np.float64):
        raise DTypeError(f"multinomial: probabilities must be float32 or float64; got {chances.dtype}")
    if chances.ndim not in (1, 2) or chances.shape[-1] == 0:
        raise ShapeError(f"multinomial: probabilities must be (V,) or (B, V) with V > 0; got {chances.shape}")
    if num_samples < 1:
        raise ConfigError(f"multinomial: num_samples must be at least 1; got {num_samples}")
    if not np.isfinite(chances).all() or (chances < 0).any():
        raise AnomalyError(
            "multinomial: probabilities must be finite and >= 0; got NaN, infinity or a negative number: "
            "look at the logits they came from"
        )
    possible = np.count_nonzero(chances, axis=-1).min(initial=chances.shape[-1])
    if possible == 0:
        raise AnomalyError("multinomial: each row needs a positive probability; got a row of zeros")
    if not replacement and num_samples > possible:
        raise ConfigError(
            f"multinomial: {num_samples} samples without replacement need as many categories of positive "
            f"probability; got {possible}: draw fewer or pass replacement=True"
        )


_default = Generator(0)


def default_generator() -> Generator:
    """The generator that is used if none is given."""
    return _default


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it: the counterpart of `torch.manual_seed`."""
    return _default.manual_seed(seed)
