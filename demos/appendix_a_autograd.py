# %% [markdown]
# # Appendix A: from tensors to a trained network, without PyTorch
#
# The book's first appendix introduces PyTorch. This demo follows it with NumPy alone and prints the same figures,
# because every seeded draw comes from the same random stream. Where the book calls a library function, this demo
# first writes the function with Tensor operations and then checks that the package's own version agrees.
#
# Run it with `python demos/appendix_a_autograd.py`; it takes about a second.

# %%
import argparse
import math
import tempfile
import timeit
from pathlib import Path

import numpy as np

import tinygrad_llm.nn.functional as F
from tinygrad_llm import Tensor, default_generator, manual_seed, nn, no_grad
from tinygrad_llm.data import DataLoader
from tinygrad_llm.formats import read_safetensors, write_safetensors
from tinygrad_llm.optim import SGD
from tinygrad_llm.scripts import end_quietly

end_quietly()

options = argparse.ArgumentParser(description="Appendix A of the book: tensors, autograd and a first training run.")
options.add_argument("--full", action="store_true", help="changes nothing here: the appendix is run at its full size")
options.parse_known_args()  # not parse_args: a notebook that runs these cells has arguments of its own
np.set_printoptions(precision=4, suppress=True, floatmode="fixed", threshold=50, edgeitems=3)

# %% [markdown]
# A deep-learning library has three parts: arrays with arithmetic, the derivatives of that arithmetic, and layers,
# optimizers and data loaders. Here they are NumPy, `tinygrad_llm.Tensor`, and `tinygrad_llm.nn`, `optim` and `data`.

# %%
print("== A.1 What is PyTorch? ==")
print(f"arrays: NumPy {np.__version__}; gradients: {Tensor.__module__}; layers: {nn.__name__}")

# %%
print("\n== A.2 Understanding tensors ==")
print("\n== A.2.1 Scalars, vectors, matrices, and tensors ==")
for numbers in (1, [1, 2, 3], [[1, 2], [3, 4]], [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]):
    tensor = Tensor(numbers)
    print(f"{tensor.ndim} axes, shape {tensor.shape}: {tensor.tolist()}")

# %% [markdown]
# A Tensor made from an ndarray shares its memory; `Tensor(array.copy())` does not. Sharing costs nothing, but a write
# into the array then changes the Tensor as well.

# %%
array = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
copied, shared = Tensor(array.copy()), Tensor(array)
array[0, 0, 0] = 999
print(f"after writing 999 into the array: copied {copied[0, 0, 0].item()}, shared {shared[0, 0, 0].item()}")

# %%
print("\n== A.2.2 Tensor data types ==")
whole, real = Tensor([1, 2, 3]), Tensor([1.0, 2.0, 3.0])
print(f"Python integers: {whole.dtype}; Python floats: {real.dtype}; converted: {whole.astype(np.float32).dtype}")

# %%
print("\n== A.2.3 Common PyTorch tensor operations ==")
matrix = Tensor([[1, 2, 3], [4, 5, 6]])
print(f"shape {matrix.shape}; as 3 x 2: {matrix.reshape(3, 2).tolist()}; transposed: {matrix.T.tolist()}")
print(f"times its transpose: {(matrix @ matrix.T).tolist()}")

# %% [markdown]
# ## A neuron as a graph
#
# One input, one weight, one bias, the logistic function as activation, and binary cross-entropy as loss. Every line
# below adds a node to the graph that `backward` will walk.

# %%
print("\n== A.3 Seeing models as computation graphs ==")
x, y = Tensor([1.1]), Tensor([1.0])
w, b = Tensor([2.2], requires_grad=True), Tensor([0.0], requires_grad=True)
z = x * w + b
a = z.sigmoid()
loss = -(y * a.log() + (1 - y) * (1 - a).log()).sum()
print(f"loss {loss.item():.4f}")

# %% [markdown]
# The chain rule by hand: for the logistic function followed by cross-entropy, dL/dz is a - y. With z = x w + b, dL/dw
# = (a - y) x and dL/db = a - y. `backward` finds the same values by walking the graph.

# %%
print("\n== A.4 Automatic differentiation made easy ==")
by_hand = ((a - y) * x).item(), (a - y).item()
loss.backward()
print(f"by hand:  dL/dw {by_hand[0]:.4f}, dL/db {by_hand[1]:.4f}")
print(f"backward: dL/dw {w.grad.item():.4f}, dL/db {b.grad.item():.4f}")

# %% [markdown]
# ## Layers
#
# A linear layer multiplies by a weight matrix and adds a bias, both of which are its parameters. Their first values
# are uniform within ±1/√(inputs), drawn from the default generator, the matrix first.

# %%
print("\n== A.5 Implementing multilayer neural networks ==")


class PlainLinear(nn.Module):
    """y = x Wᵀ + b in two Tensor operations."""

    def __init__(self, inputs: int, outputs: int) -> None:
        bound = 1 / math.sqrt(inputs)
        draw = default_generator().uniform
        self.weight = nn.Parameter(draw(-bound, bound, (outputs, inputs)))
        self.bias = nn.Parameter(draw(-bound, bound, (outputs,)))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias


class NeuralNetwork(nn.Module):
    """Two hidden layers of 30 and 20 units, each followed by max(x, 0)."""

    def __init__(self, inputs: int, outputs: int, linear: type[nn.Module] = nn.Linear) -> None:
        self.first, self.second, self.last = linear(inputs, 30), linear(30, 20), linear(20, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x).relu()).relu())


manual_seed(123)
model = NeuralNetwork(50, 3)
print(model)
print(f"trainable parameters: {model.num_parameters(trainable_only=True)}")
print(f"first weight, shape {model.first.weight.shape}:\n{model.first.weight.data}")

X = Tensor(manual_seed(123).rand(1, 50))
print(f"logits with their graph:  {model(X).data}, made by {model(X).node.name!r}")
with no_grad():
    logits = model(X)
    print(f"logits without a graph:   {logits.data}, node {logits.node}")
    print(f"class probabilities:      {F.softmax(logits).data}")

manual_seed(123)
plain = NeuralNetwork(50, 3, PlainLinear)
print(f"plain layers against nn.Linear: largest difference {np.abs(plain(X).data - model(X).data).max():.1e}")

# %% [markdown]
# ## Loading data
#
# Five training examples, two for the test. A dataset is anything with a length and numbered items: here a list of
# pairs. The loader draws a new order for each epoch; `drop_last` leaves out a last batch that is not full.

# %%
print("\n== A.6 Setting up efficient data loaders ==")
X_train = np.array([[-1.2, 3.1], [-0.9, 2.9], [-0.5, 2.6], [2.3, -1.1], [2.7, -1.5]], np.float32)
y_train = np.array([0, 0, 0, 1, 1])
X_test = np.array([[-0.8, 2.8], [2.6, -1.6]], np.float32)
y_test = np.array([0, 1])
train_set, test_set = list(zip(X_train, y_train, strict=True)), list(zip(X_test, y_test, strict=True))
print(f"{len(train_set)} examples")

manual_seed(123)
for number, (features, labels) in enumerate(DataLoader(train_set, batch_size=2, shuffle=True), 1):
    print(f"batch {number}, labels {labels.tolist()}:\n{features}")
train_loader = DataLoader(train_set, batch_size=2, shuffle=True, drop_last=True)
test_loader = DataLoader(test_set, batch_size=2)
for number, (features, labels) in enumerate(train_loader, 1):
    print(f"full batch {number}, labels {labels.tolist()}:\n{features}")

# %% [markdown]
# ## Training
#
# Each step computes the loss (forward), its gradients (backward), and moves the parameters a little against the
# gradient. Cross-entropy is ln Σ eˣ minus the logit of the correct class; gradient descent subtracts the learning
# rate times the gradient. First both are written out, then the package's are used.

# %%
print("\n== A.7 A typical training loop ==")


def plain_cross_entropy(logits: Tensor, labels: np.ndarray) -> Tensor:
    """The mean of ln Σ eˣ - x[label] over the rows."""
    return (logits.exp().sum(axis=1).log() - logits[np.arange(len(labels)), labels]).mean()


def train(written_out: bool) -> tuple[NeuralNetwork, list[float]]:
    """Three epochs with learning rate 0.5 from seed 123: the model, and the loss of each batch."""
    manual_seed(123)
    model = NeuralNetwork(2, 2)
    optimizer, losses = SGD(model.parameters(), lr=0.5), []
    for _ in range(3):
        for features, labels in train_loader:
            logits = model(Tensor(features))
            loss = plain_cross_entropy(logits, labels) if written_out else F.cross_entropy(logits, labels)
            model.zero_grad()
            loss.backward()
            if written_out:
                for parameter in model.parameters():
                    parameter.data -= 0.5 * parameter.grad
            else:
                optimizer.step()
            losses.append(loss.item())
    return model.eval(), losses


model, losses = train(written_out=False)
for step, value in enumerate(losses):
    print(f"epoch {step // 2 + 1}/3, batch {step % 2 + 1}/2: loss {value:.2f}")
_, plain_losses = train(written_out=True)
difference = np.abs(np.subtract(losses, plain_losses)).max()
print(f"plain loss and step against F.cross_entropy and SGD: largest difference {difference:.1e}")

with no_grad():
    outputs = model(X_train)
print(f"logits:\n{outputs.data}")
print(f"probabilities:\n{F.softmax(outputs).data}")
predictions = outputs.argmax(axis=1).data
right = predictions == y_train
print(f"predicted classes: {predictions.tolist()}; right: {right.tolist()}, {right.sum()} of {len(y_train)}")


@no_grad()
def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """The share of a loader's examples whose largest logit is that of their label."""
    hits = [model(features).argmax(axis=1).data == labels for features, labels in loader]
    return float(np.concatenate(hits).mean())


print(f"accuracy: training {accuracy(model, train_loader)}, test {accuracy(model, test_loader)}")

# %% [markdown]
# **Exercise A.3**: how many parameters does this network have? (2·30 + 30) + (30·20 + 20) + (20·2 + 2).

# %%
print(f"exercise A.3: {model.num_parameters()} parameters")

# %% [markdown]
# A state dict names every array of a model. The safetensors format stores arrays and no code, so opening a file runs
# nothing. A new model of the same shape loads them.

# %%
print("\n== A.8 Saving and loading models ==")
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "model.safetensors"
    write_safetensors(path, model.state_dict())
    restored = NeuralNetwork(2, 2)
    matched = restored.load_state_dict(read_safetensors(path))
    print(f"{path.name}: {path.stat().st_size} bytes; missing {matched.missing}, unexpected {matched.unexpected}")
print(f"same logits after loading: {np.array_equal(restored(X_train).data, outputs.data)}")

# %% [markdown]
# This package computes on the CPU only, so the sections on GPUs end here. What remains of **exercise A.4** is its CPU
# half: the time of a product of a 100 x 200 and a 200 x 300 matrix. The figure belongs to this machine.

# %%
print("\n== A.9 Optimizing training performance with GPUs ==")
left, right = Tensor(default_generator().rand(100, 200)), Tensor(default_generator().rand(200, 300))
seconds = min(timeit.repeat(lambda: left @ right, number=20, repeat=5)) / 20
print(f"exercise A.4, on this CPU: {seconds * 1e6:.0f} microseconds per product of shape {(left @ right).shape}")
