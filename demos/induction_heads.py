"""Induction heads: train two layers until they form, find them by their attention, prove their effect by ablation.

    python demos/induction_heads.py

A sequence of random letters repeats after a random period of 6 to 13. The next letter can then be predicted only by
finding the earlier occurrence of the current letter and reading what followed it: an induction head attends to that
position (Olsson et al. 2022, arXiv:2209.11895). It takes two layers, because the first must tell each position which
letter precedes it. In large models one head of the first layer attends to the previous letter and nowhere else;
section 2 shows that none does so here, and section 3 that the second layer still needs the first.

Takes about 10 seconds on one thread.
"""

import numpy as np

from tinygrad_llm import Generator, manual_seed, no_grad, study
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn.functional import cross_entropy
from tinygrad_llm.optim import AdamW
from tinygrad_llm.scripts import end_quietly

end_quietly()

LETTERS, LENGTH, BATCH, STEPS = 24, 28, 32, 900
SHORTEST, LONGEST = 6, 13
REPEATS_FROM = LONGEST + 1  # from this position on every letter has occurred before


def sequences(count, generator):
    """Random letters, different ones, repeated after `period` places: ids (count, LENGTH), period (count, 1)."""
    period = generator.randint(SHORTEST, LONGEST + 1, (count, 1))
    letters = np.stack([generator.randperm(LETTERS) for _ in range(count)])
    return np.take_along_axis(letters, np.arange(LENGTH) % period, axis=1), period


def loss_of_repeats(model, ids):
    with no_grad():
        return cross_entropy(model(ids)[:, REPEATS_FROM:-1], ids[:, REPEATS_FROM + 1 :]).item()


manual_seed(1)
draw = Generator(2)
model = GPT(
    GPTConfig(
        vocab_size=LETTERS,
        context_length=LENGTH,
        embedding_dim=48,
        num_heads=2,
        num_layers=2,
        dropout=0.0,
        feed_forward_dim=48,
    )
)
optimizer = AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
held_out, _ = sequences(64, Generator(3))
print(f"1. Training {model.num_parameters():,} numbers; a uniform guess costs {np.log(LETTERS):.2f} nats per letter")
for step in range(STEPS + 1):
    if step % (STEPS // 6) == 0:
        print(f"   step {step:5}   repeats {loss_of_repeats(model, held_out):.3f}")
    ids, _ = sequences(BATCH, draw)
    optimizer.zero_grad()
    cross_entropy(model(ids[:, :-1]), ids[:, 1:]).backward()
    optimizer.step()

print("\n2. Mean attention weight of each head, in the repeats, on")
print("   head   the letter before   the same letter, earlier   what followed it there")
seen = study.cache(model, held_out)
before = np.pad(held_out[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
query, key = np.arange(LENGTH)[:, None], np.arange(LENGTH)
looks = {  # (B, T, T) each: which keys count
    "previous": np.broadcast_to(key == query - 1, (64, LENGTH, LENGTH)),
    "same": (held_out[:, :, None] == held_out[:, None, :]) & (key < query),
    "induction": (held_out[:, :, None] == before[:, None, :]) & (key <= query),
}
induction = {}
for layer in range(2):
    weights = seen[f"blocks.{layer}.attention.weights"]
    for head in range(2):
        shares = [(weights[:, head] * keys).sum(-1)[:, REPEATS_FROM:].mean() for keys in looks.values()]
        induction[layer, head] = shares[-1]
        print(f"   {layer}.{head} {shares[0]:19.2f} {shares[1]:26.2f} {shares[2]:24.2f}")

print("\n3. Ablation: loss of the repeats with the weights of one head set to 0")
whole = loss_of_repeats(model, held_out)
print(f"   none       {whole:.3f}")
for layer, head in induction:
    with study.edit(model, {f"blocks.{layer}.attention.weights": study.zero(heads=head)}):
        print(f"   {layer}.{head}        {loss_of_repeats(model, held_out):.3f}")

found = max(induction, key=induction.get)
print(f"\n4. Patched: the pattern of {found[0]}.{found[1]}, the best by section 2, in a run on other letters")
name = f"blocks.{found[0]}.attention.weights"
uniform = np.tril(np.ones((LENGTH, LENGTH))) / np.arange(1, LENGTH + 1)[:, None]
for label, pattern in (("its own, from another text", seen[name]), ("uniform over the past", uniform)):
    other, _ = sequences(64, Generator(4))
    with study.edit(model, {name: study.patch(pattern, heads=found[1])}):
        print(f"   {label:28} {loss_of_repeats(model, other):.3f}")
print(f"   {'untouched':28} {loss_of_repeats(model, other):.3f}")
