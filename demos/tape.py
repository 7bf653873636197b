"""The tape: every operation of a forward and backward of a GPT, as a table, step by step, and as a picture.

    python demos/tape.py [FILE.svg]

Nothing is trained: two layers with initial weights, one sentence, one loss. Section 2 performs the first steps of the
backward one by one, each with the formula in the docstring of its operation; section 3 checks that all steps together
give the gradients of `loss.backward()`. Takes about a second.
"""

import argparse
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from tinygrad_llm import manual_seed, study
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import CharTokenizer

end_quietly()

options = argparse.ArgumentParser(description="Every operation of one forward and backward of a GPT.")
options.add_argument("file", nargs="?", type=Path, help="where to write the picture (SVG), else a temporary folder")
options = options.parse_args()

TEXT = "the tape remembers"
tokenizer = CharTokenizer.train(TEXT)
ids = np.array([tokenizer.encode(TEXT)])


def small_gpt():
    manual_seed(1)
    return GPT(
        GPTConfig(
            vocab_size=tokenizer.vocab_size, context_length=32, embedding_dim=32, num_heads=4, num_layers=2, dropout=0.0
        )
    )


print(f"1. One loss of a GPT with two layers on {TEXT!r}, forward and backward")
model = small_gpt()
with study.record() as tape:
    loss = model.loss(ids[:, :-1], ids[:, 1:])
    loss.backward()
print(tape)
most = max(tape, key=lambda entry: entry.bytes_kept)
print(f"\nMost bytes kept for backward: {most.bytes_kept:,}, by #{most.index},")
print(f"{most.name} in {most.module}")

print("\n2. The same forward again, and three steps of its backward\n")
again = small_gpt()
with study.record() as live:
    loss = again.loss(ids[:, :-1], ids[:, 1:])
for _ in range(3):
    live.step()

print("3. The other steps, without printing")
with redirect_stdout(StringIO()):
    for _ in range(len(live) - 3):
        live.step()
pairs = list(zip(model.parameters(), again.parameters(), strict=True))
same = sum(one.grad.tobytes() == other.grad.tobytes() for one, other in pairs)
print(f"   {same} of {len(pairs)} parameters have the same gradient as after loss.backward()")

path = options.file or Path(tempfile.mkdtemp()) / "tape.svg"
picture = tape.to_svg(path)
print(f"\n4. The graph as a picture of {len(picture) / 1000:.0f} KB, to be opened in a browser")
print(f"   {path}")
print(f"   For Graphviz, tape.to_dot() has {len(tape.to_dot().splitlines())} lines")
