"""The primitives: each forward with its hand-written backward, one file per family.

Importing this package gives Tensor its operators and methods.
"""

from tinygrad_llm.primitives.arithmetic import add, div, mul, neg, pow, sub
from tinygrad_llm.primitives.comparison import clip, logical_not, masked_fill, maximum, minimum, where
from tinygrad_llm.primitives.elementwise import abs, erf, exp, log, relu, sigmoid, sqrt, tanh
from tinygrad_llm.primitives.indexing import getitem, setitem, tril, triu
from tinygrad_llm.primitives.joining import cat, pad, split, stack
from tinygrad_llm.primitives.matmul import matmul
from tinygrad_llm.primitives.reduction import argmax, cumsum, logsumexp, max_, mean, min_, sum, var
from tinygrad_llm.primitives.shape import (
    astype,
    broadcast_to,
    permute,
    reshape,
    squeeze,
    transpose,
    unsqueeze,
)

__all__ = [
    "abs",
    "add",
    "argmax",
    "astype",
    "broadcast_to",
    "cat",
    "clip",
    "cumsum",
    "div",
    "erf",
    "exp",
    "getitem",
    "log",
    "logical_not",
    "logsumexp",
    "masked_fill",
    "matmul",
    "max_",
    "maximum",
    "mean",
    "min_",
    "minimum",
    "mul",
    "neg",
    "pad",
    "permute",
    "pow",
    "relu",
    "reshape",
    "setitem",
    "sigmoid",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "tril",
    "triu",
    "unsqueeze",
    "var",
    "where",
]
