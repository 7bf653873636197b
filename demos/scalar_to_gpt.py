"""From single numbers to a GPT: the same gradient in four engines.

    python demos/scalar_to_gpt.py

Step 1 is a complete autograd engine for single numbers. Step 2 extends it to arrays. Step 3 computes the same with the
package. Step 4 differentiates a small GPT. Takes about a second.
"""

import math

import numpy as np

from tinygrad_llm.scripts import end_quietly

end_quietly()

# -- Step 1: numbers. A value keeps its sources and the derivative with respect to each.


class Value:
    def __init__(self, number, sources=()):
        self.number, self.sources, self.grad = number, sources, 0.0  # sources: pairs (value, d self / d value)

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.number + other.number, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.number * other.number, ((self, other.number), (other, self.number)))

    def __sub__(self, other):
        return self + other * -1.0

    def exp(self):
        result = math.exp(self.number)
        return Value(result, ((self, result),))

    def log(self):
        return Value(math.log(self.number), ((self, 1 / self.number),))

    def tanh(self):
        result = math.tanh(self.number)
        return Value(result, ((self, 1 - result**2),))

    def backward(self):
        """Apply the chain rule in reverse topological order: each value after all values that use it."""
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            value, sources_done = stack.pop()
            if sources_done:
                order.append(value)
            elif id(value) not in seen:
                seen.add(id(value))
                stack.append((value, True))
                stack += [(source, False) for source, _ in value.sources]
        self.grad = 1.0
        for value in reversed(order):
            for source, derivative in value.sources:
                source.grad += value.grad * derivative  # += : a value used twice receives two gradients


# The example: two layers and the cross-entropy of three classes.
INPUT = [0.5, -1.0]
FIRST = [[0.3, -0.2, 0.8, 0.1], [-0.5, 0.9, 0.4, -0.7]]  # 2 inputs, 4 hidden
SECOND = [[0.2, -0.4, 0.6], [0.7, 0.1, -0.3], [-0.8, 0.5, 0.9], [0.4, -0.6, 0.2]]  # 4 hidden, 3 classes
TARGET = 2

first = [[Value(number) for number in row] for row in FIRST]
second = [[Value(number) for number in row] for row in SECOND]


def multiply(row, matrix):
    columns = zip(*matrix, strict=True)
    return [sum((w * x for w, x in zip(column, row, strict=True)), Value(0.0)) for column in columns]


hidden = [value.tanh() for value in multiply(INPUT, first)]
logits = multiply(hidden, second)
loss = sum((logit.exp() for logit in logits), Value(0.0)).log() - logits[TARGET]
loss.backward()
rung1 = np.array([[w.grad for w in row] for row in first]), np.array([[w.grad for w in row] for row in second])
print(f"1 numbers   loss {loss.number:.12f}   d loss / d first[0] = {rung1[0][0].round(6)}")


# -- Step 2: arrays. One node holds a whole matrix; the derivative becomes a function of the output gradient.


class ArrayValue:
    def __init__(self, data, sources=()):
        self.data, self.sources, self.grad = np.asarray(data, float), sources, 0.0  # (value, gradient -> gradient)

    def __matmul__(self, other):
        return ArrayValue(
            self.data @ other.data, ((self, lambda dy: dy @ other.data.T), (other, lambda dy: self.data.T @ dy))
        )

    def tanh(self):
        result = np.tanh(self.data)
        return ArrayValue(result, ((self, lambda dy: dy * (1 - result**2)),))

    def cross_entropy(self, target):
        p = np.exp(self.data) / np.exp(self.data).sum()
        one_hot = np.eye(p.size)[[target]]
        return ArrayValue(-math.log(p[0, target]), ((self, lambda dy: dy * (p - one_hot)),))

    def backward(self, dy=1.0):
        self.grad = self.grad + dy
        for source, pull in self.sources:  # sufficient for a chain, where no value is used twice
            source.backward(pull(dy))


first, second = ArrayValue(FIRST), ArrayValue(SECOND)
loss = ((ArrayValue([INPUT]) @ first).tanh() @ second).cross_entropy(TARGET)
loss.backward()
rung2 = first.grad, second.grad
print(f"2 arrays    loss {float(loss.data):.12f}   d loss / d first[0] = {rung2[0][0].round(6)}")

# -- Step 3: the package. The same with broadcasting, any graph and shape, and memory freed during backward.

from tinygrad_llm import Tensor, manual_seed  # noqa: E402
from tinygrad_llm.models import GPT, GPTConfig  # noqa: E402
from tinygrad_llm.nn.functional import cross_entropy  # noqa: E402

first = Tensor(np.array(FIRST), requires_grad=True)
second = Tensor(np.array(SECOND), requires_grad=True)
loss = cross_entropy((Tensor(np.array([INPUT])) @ first).tanh() @ second, np.array([TARGET]))
loss.backward()
rung3 = first.grad, second.grad
print(f"3 package   loss {loss.item():.12f}   d loss / d first[0] = {rung3[0][0].round(6)}")

furthest = max(np.abs(a - b).max() for rung in (rung2, rung3) for a, b in zip(rung1, rung, strict=True))
print(f"\nLargest difference between the three engines' {rung1[0].size + rung1[1].size} gradients: {furthest:.1e}")

# -- Step 4: a GPT. One gradient is checked by finite differences: change the number, and compare the losses.

manual_seed(1)
model = GPT(GPTConfig(vocab_size=11, context_length=8, embedding_dim=16, num_heads=2, num_layers=2, dropout=0.0))
model.to(np.float64)
ids = np.array([[3, 1, 4, 1, 5, 9, 2, 6]])
loss = cross_entropy(model(ids[:, :-1]), ids[:, 1:])
loss.backward()
weight = model.blocks[0].attention.query.weight
losses = []
for step in (1e-5, -1e-5):
    weight.data[0, 0] += step
    losses.append(cross_entropy(model(ids[:, :-1]), ids[:, 1:]).item())
    weight.data[0, 0] -= step
moved = (losses[0] - losses[1]) / 2e-5
print(f"\n4 GPT of {model.num_parameters():,} numbers   loss {loss.item():.6f}")
print(f"  blocks.0.attention.query.weight[0, 0]   backward {weight.grad[0, 0]:.9f}   by finite differences {moved:.9f}")
