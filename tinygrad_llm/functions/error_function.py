"""The error function, which NumPy lacks: erf(x) = 2/√π ∫₀ˣ exp(-t²) dt.

The approximations are our own fits, made with 50-digit arithmetic at Chebyshev nodes, in the manner of Cody (1969,
doi:10.1090/S0025-5718-1969-0247736-4): split the domain into parts, and approximate a smooth factor on each.

    float64   |x| < 1    x + x·C(x²)               C a polynomial: erf is odd, and near a line at 0
              |x| ≥ 1    ±(1 - exp(-x²)·T(t))      t = (|x| - 3)/(|x| + 3); T(t) ≈ erfc(x)·exp(x²) is smooth
    float32   x·P(x²)/Q(x²), x clipped to ±4      one quotient for all x, without an exponential: what training uses

Largest errors found against 50 digits over dense grids: float64 1.1e-16, or 1 ulp (the last digit kept); float32
3.4e-7, or 6 ulp.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import DTypeError

# Lowest power first. C and T are exact to 1e-17 before rounding, P/Q to 7e-8.
C = (
    0.12837916709551256,
    -0.37612638903183543,
    0.11283791670945006,
    -0.02686617064323777,
    0.0052239776071164225,
    -0.0008548325975389692,
    0.00012055294904839707,
    -1.492473690741966e-05,
    1.6447424703317362e-06,
    -1.6208483801871705e-07,
    1.3720064546777686e-08,
    -7.795898827002142e-10,
)
T = (
    0.17900115118138996,
    -0.32623356004303716,
    0.24560380171233195,
    -0.15011593650078744,
    0.07166583719774874,
    -0.024392499318273194,
    0.004269136347508256,
    0.0007077464443901538,
    -0.0005970623517093284,
    4.525472635483354e-05,
    6.406182073530546e-05,
    -1.284889451252353e-05,
    -8.008021319412685e-06,
    2.023603179641757e-06,
    1.2801900862962662e-06,
)
P = (1.12837917, 0.183517937, 0.051796211, 0.00346940366, 0.000278049257, 2.09442297e-06)
Q = (1.0, 0.495971869, 0.111227218, 0.0143623509, 0.0010912093, 3.82069179e-05)


def erf(x: ArrayLike) -> NDArray[np.floating]:
    """The error function of each element, in the dtype of `x`; integers count as float64.

    Shapes: x (...) -> (...)
    Raises: DTypeError unless `x` is float64, float32, float16 or integers.
    """
    x = _real(x)
    if x.dtype == np.float64:
        y = np.empty_like(x)
        near = np.abs(x) < 1
        y[near] = _erf_near_zero(x[near])
        far = ~near
        y[far] = _erf_beyond_one(x[far])
        return y
    return _erf_float32(x.astype(np.float32, copy=False)).astype(x.dtype, copy=False)


def erf_derivative(x: ArrayLike) -> NDArray[np.floating]:
    """2/√π exp(-x²) of each element, in the dtype of `x`; integers count as float64.

    Shapes: x (...) -> (...)
    Raises: DTypeError unless `x` is float64, float32, float16 or integers.
    """
    x = _real(x)
    with np.errstate(over="ignore"):  # x² may be infinite: exp(-∞) = 0 is right
        slope = np.asarray(np.square(x))
    np.negative(slope, out=slope)
    np.exp(slope, out=slope)
    slope *= 2 / math.sqrt(math.pi)
    return slope


def _erf_near_zero(x: NDArray[np.floating]) -> NDArray[np.floating]:
    y = _polynomial(C, x * x)
    y *= x
    y += x
    return y


def _erf_beyond_one(x: NDArray[np.floating]) -> NDArray[np.floating]:
    size = np.minimum(np.abs(x), 6.0)  # erf(6) is 1 in float64; NaN stays NaN
    y = _polynomial(T, (size - 3) / (size + 3))
    y *= np.exp(-size * size)
    np.subtract(1, y, out=y)
    return np.copysign(y, x, out=y)


def _erf_float32(x: NDArray[np.floating]) -> NDArray[np.floating]:
    x = np.asarray(np.clip(x, -4.0, 4.0))  # erf(4) is 1 in float32
    square = np.asarray(x * x)
    y = _polynomial(P, square)
    y /= _polynomial(Q, square)
    y *= x
    return np.clip(y, -1, 1, out=y)


def _polynomial(coefficients: tuple[float, ...], x: NDArray[np.floating]) -> NDArray[np.floating]:
    """c₀ + c₁x + c₂x² + ... by Horner's rule, in one fresh array."""
    y = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        y *= x
        y += c
    return y


def _real(x: ArrayLike) -> NDArray[np.floating]:
    x = np.asarray(x)
    if x.dtype.kind in "iub":
        return x.astype(np.float64)
    if x.dtype not in (np.float64, np.float32, np.float16):
        raise DTypeError(f"erf: x must be float64, float32, float16 or integers; got {x.dtype}")
    return x


def gelu_exact_block(x: Array, y: Array, slope: Array, scratch: Array) -> None:
    """One block of the exact GELU x Φ(x) and of its derivative, for `ops.gelu`."""
    phi = erf(np.multiply(x, math.sqrt(0.5), out=scratch[0]))
    phi += 1
    phi *= 0.5
    np.multiply(x, phi, out=y)
    if slope.size:
        np.multiply(x, x, out=slope)
        slope *= -0.5
        np.exp(slope, out=slope)
        slope *= 1 / math.sqrt(2 * math.pi)  # φ(x)
        slope *= x
        slope += phi
