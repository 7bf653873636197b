# %% [markdown]
# # Property-based testing: find the smallest input on which an operation is wrong
#
# A test by example tries the inputs that its author thought of. A property-based test states what must hold for all
# inputs, and Hypothesis searches for one where it does not. It then shrinks what it found: it tries simpler inputs, and
# keeps those that still fail. This demo tests two operations, a right one and a wrong one, with the strategies and
# checks of `tinygrad_llm.testing`.
#
# Run it with `python demos/property_testing.py`; it needs hypothesis (`pip install 'tinygrad-llm[test]'`) and takes a
# second.

# %%
import argparse
import sys
from importlib.util import find_spec

import numpy as np

from tinygrad_llm import Tensor
from tinygrad_llm.errors import GradcheckError
from tinygrad_llm.graph import record_operation
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.testing import check_error, check_gradient, check_op

end_quietly()

options = argparse.ArgumentParser(description="Test one's own operation, and watch a counterexample shrink.")
options.parse_known_args()  # not parse_args: a notebook that runs these cells has arguments of its own
if find_spec("hypothesis") is not None:
    from hypothesis import given, settings

    from tinygrad_llm.testing import arrays
else:
    sys.exit("property_testing.py needs the package hypothesis: pip install 'tinygrad-llm[test]'")

# %% [markdown]
# ## An operation of one's own
#
# An operation computes its result with NumPy and records a function that takes the gradient back. This one is right.


# %%
def cube(x: Tensor) -> Tensor:
    """z = x³;  dx = 3 x² dz."""
    a = x.data

    def backward(dz):
        return (3 * a * a * dz,)

    return record_operation(a**3, (x,), backward)


# %% [markdown]
# ## Its test, in ten lines
#
# `arrays()` draws float64 arrays of up to three axes, 0-d and empty ones too. `check_op` asks whether the value is
# NumPy's, whether float32 stays float32, whether strided and reversed arrays give the same, and whether the gradient is
# that of finite differences.

# %%
tried = []


@settings(max_examples=100, derandomize=True, database=None, deadline=None)
@given(arrays())
def cube_is_right(x):
    tried.append(x.shape)
    check_op(cube, lambda a: a**3, x)


cube_is_right()
print("== 1. An operation that is right ==")
print(f"cube holds for {len(tried)} inputs of {len(set(tried))} shapes; the first: {tried[:6]}")

# %% [markdown]
# ## A wrong operation
#
# Huber's loss is quadratic near 0 and linear beyond 1: its slope is x, limited to -1 and 1. Here the lower limit was
# forgotten. The author's examples, a small number and a large one, pass:


# %%
def huber(x: Tensor) -> Tensor:
    """z = ½ x² where |x| ≤ 1, else |x| - ½;  dx = x dz, limited to ±dz."""
    a = x.data
    size = np.abs(a)

    def backward(dz):
        return (np.minimum(a, 1) * dz,)  # right: np.clip(a, -1, 1) * dz

    return record_operation(np.where(size <= 1, a * a / 2, size - 0.5), (x,), backward)


print("\n== 2. An operation that is wrong ==")
check_gradient(huber, np.array([0.5, 0.25]))
check_gradient(huber, np.array([3.0, 20.0]))
print("its gradient is right for the examples [0.5, 0.25] and [3, 20]")

# %% [markdown]
# Hypothesis finds an array for which it is wrong, and shrinks it. Every line is an input that failed and is simpler
# than the one before: fewer numbers, then fewer axes, then numbers nearer to 0.

# %%
failed = []


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(arrays())
def huber_is_right(x):
    try:
        check_gradient(huber, x)
    except GradcheckError:
        failed.append(x)
        raise


try:
    huber_is_right()
    print("no counterexample was found")
except GradcheckError as error:
    problem = str(error).splitlines()[0]


def is_simpler(x, y):
    return (x.size, x.ndim, np.abs(x).sum()) < (y.size, y.ndim, np.abs(y).sum())


shown = failed[:1]
for x in failed[1:]:
    if is_simpler(x, shown[-1]):
        shown.append(x)
print("Hypothesis found, and shrank:")
for x in shown if len(shown) < 8 else [*shown[:4], *shown[-3:]]:
    print(f"  shape {x.shape}: {np.array2string(x.ravel(), precision=4, separator=', ', threshold=8)}")
print(f"the smallest counterexample has shape {shown[-1].shape}: {shown[-1].tolist()}")
print(f"and says: {problem}")

# %% [markdown]
# ## What an operation must refuse
#
# Errors are part of an operation: which one, and in which words.

# %%
print("\n== 3. An operation that refuses ==")
check_error(lambda x: Tensor(x).reshape(4), np.ones((2, 3)), says="do not fit")
print("reshape of six elements into four is refused, in words that say so")
