"""How the loss falls with the size of the model and the tokens of its training, and the best size for a given time.

    L(N, D) = E + A / N^α + B / D'^β          (Hoffmann et al. 2022, arXiv:2203.15556, equation 2)

N counts parameters, D the tokens that are trained on. Where a text of U tokens is read several times, a repeated token
is worth less than a new one; D' is the number of new tokens that D is worth:

    D' = U + U · R* · (1 - exp(-R / R*)),   R = D / U - 1 repetitions
                                            (Muennighoff et al. 2023, arXiv:2305.16264, equation 5)

A larger model takes longer for each token, so in a given time it reads fewer of them. The best size is that with the
lowest L(N, D) where D is what the time allows at the speed measured on this machine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import DataError

REPETITIONS = 15.4  # R* of Muennighoff et al.: repetitions after which a repeated token is worth 1/e of a new one
EXPONENTS = np.linspace(0.1, 1.0, 31)  # of the fit: all pairs are tried
LEAST_POINTS = 6  # five numbers are fitted
SIZES = np.geomspace(1e5, 1e8, 400)  # parameters, among which the best size is searched


@dataclass(frozen=True)
class TrainedPoint:
    """A training: parameters of the model, tokens read (with repetitions), and the validation loss it reached."""

    parameters: int
    tokens: int
    loss: float


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) with its fitted numbers; see above. Units: of the loss that was fitted, such as bits per byte"""

    irreducible: float  # E
    size_factor: float  # A
    size_exponent: float  # α
    data_factor: float  # B
    data_exponent: float  # β
    repetitions: float = REPETITIONS  # R*

    def loss(self, parameters: Any, tokens: Any, unique: float) -> Any:
        """The loss of a model of N parameters after D tokens of a text of `unique` tokens. Shapes: any that broadcast

        >>> law = ScalingLaw(1.0, 10.0, 0.5, 100.0, 0.5)
        >>> round(float(law.loss(10_000, 1_000_000, unique=2_000_000)), 6)
        1.2
        """
        effective = effective_tokens(tokens, unique, self.repetitions)
        by_size = self.size_factor * np.asarray(parameters, np.float64) ** -self.size_exponent
        return self.irreducible + by_size + self.data_factor * effective**-self.data_exponent

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def effective_tokens(tokens: Any, unique: float, repetitions: float = REPETITIONS) -> Any:
    """D': the number of new tokens that `tokens` of a text of `unique` tokens are worth.

    >>> float(effective_tokens(500, 1000)), round(float(effective_tokens(4000, 1000)))
    (500.0, 3726)
    """
    tokens = np.asarray(tokens, np.float64)
    repeated = np.maximum(tokens / unique - 1, 0)
    return np.minimum(tokens, unique) + unique * repetitions * -np.expm1(-repeated / repetitions)


def fit_law(points: Sequence[TrainedPoint], unique: float, repetitions: float = REPETITIONS) -> ScalingLaw:
    """The law with the least squared relative errors over `points`: for each pair of exponents, E, A and B ≥ 0 by
    linear least squares.

    Raises: DataError for too few points
    """
    if len(points) < LEAST_POINTS:
        raise DataError(f"a scaling law has five numbers, and needs at least {LEAST_POINTS} points; got {len(points)}")
    parameters = np.array([point.parameters for point in points], np.float64)
    effective = effective_tokens([point.tokens for point in points], unique, repetitions)
    losses = np.array([point.loss for point in points])
    best, law = math.inf, ScalingLaw(0.0, 0.0, 0.0, 0.0, 0.0)
    for size_exponent, data_exponent in itertools.product(EXPONENTS, EXPONENTS):
        columns = np.stack([np.ones_like(losses), parameters**-size_exponent, effective**-data_exponent], axis=1)
        factors, error = _least_squares(columns / losses[:, None])
        if error < best:
            e, a, b = map(float, factors)
            best, law = error, ScalingLaw(e, a, float(size_exponent), b, float(data_exponent), repetitions)
    return law


def _least_squares(columns: Array) -> tuple[Array, float]:
    """Factors ≥ 0 for which columns · factors is nearest to 1, and the squared error; every set of columns is tried."""
    best, error = np.zeros(columns.shape[1]), math.inf
    for used in itertools.product((False, True), repeat=columns.shape[1]):
        if not any(used):
            continue
        chosen = np.array(used)
        found = np.linalg.lstsq(columns[:, chosen], np.ones(len(columns)), rcond=None)[0]
        if (found >= 0).all() and (left := float(((columns[:, chosen] @ found - 1) ** 2).sum())) < error:
            best, error = np.zeros(columns.shape[1]), left
            best[chosen] = found
    return best, error


def relative_errors(law: ScalingLaw, points: Sequence[TrainedPoint], unique: float) -> list[float]:
    """How far the law is from each point, as a share of the point's loss."""
    return [float(law.loss(point.parameters, point.tokens, unique)) / point.loss - 1 for point in points]


@dataclass(frozen=True)
class Speed:
    """Seconds of training for each token of a model of N parameters: `fixed + per_parameter · N`."""

    fixed: float
    per_parameter: float

    @classmethod
    def of_measurements(cls, parameters: Sequence[int], tokens_per_second: Sequence[float]) -> Speed:
        """The line through the seconds per token of models of different sizes, of least squared relative error.

        Where a larger one was not slower, another program took the time of the smaller ones: then the time is taken to
        be proportional to the size, which is the most that a parameter can take.
        """
        seconds = 1 / np.asarray(tokens_per_second, np.float64)
        columns = np.stack([np.ones_like(seconds), np.asarray(parameters, np.float64)], axis=1)
        (fixed, per_parameter), _ = _least_squares(columns / seconds[:, None])
        if not per_parameter:
            return cls(0.0, float((seconds / columns[:, 1]).min()))
        return cls(float(fixed), float(per_parameter))

    def tokens(self, parameters: Any, seconds: float) -> Any:
        """How many tokens a model of N parameters is trained on in so many seconds."""
        return seconds / (self.fixed + self.per_parameter * np.asarray(parameters, np.float64))


def best_size(law: ScalingLaw, speed: Speed, seconds: float, unique: float) -> int:
    """The number of parameters with the lowest predicted loss after training for so many seconds."""
    return int(SIZES[np.argmin(law.loss(SIZES, speed.tokens(SIZES, seconds), unique))])
