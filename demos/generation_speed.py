# %% [markdown]
# # Text at speed: tokens per second here and in transformers
#
# One token at a time is bound by memory: GPT-2's 124 million weights are half a gigabyte, and every new token reads
# them all. No library can be quicker than that. But a few tokens read at once cost little more than one, and a text
# that repeats itself can be guessed from what it says already; a guess that the model confirms came for nearly nothing.
# So `generate` looks ahead where it pays, and this demo counts what that brings.
#
# The model has the size of GPT-2 and weights that a seed drew: it writes nonsense, and like every greedy model it goes
# round in circles, which is the best case for guessing. The line "one at a time" is what a text that never repeats
# itself gets.
#
# Run it with `python demos/generation_speed.py`. `transformers` is no dependency of the package: where it is not
# installed, this demo times our side alone. `--gpt2 FOLDER` takes the weights in a Hugging Face folder instead.

# %%
import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinygrad_llm import manual_seed
from tinygrad_llm.generate import PromptLookup, generate, generate_speculatively
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly

end_quietly()

options = argparse.ArgumentParser(description="Greedy tokens per second of GPT-2's smallest size, here and elsewhere.")
options.add_argument("--gpt2", type=Path, metavar="FOLDER", help="a Hugging Face folder with GPT-2's weights")
options.add_argument("--preset", default="gpt2-small", help="the size whose weights a seed draws (default: gpt2-small)")
options.add_argument("--tokens", type=int, default=100, help="how many to write in each round (default: 100)")
options.add_argument("--rounds", type=int, default=3, help="timed rounds of each side (default: 3)")
arguments, _ = options.parse_known_args()

# %% [markdown]
# ## The model, as both sides open it

# %%
temporary = tempfile.TemporaryDirectory()
folder = arguments.gpt2 or Path(temporary.name)
if not arguments.gpt2:
    manual_seed(0)
    GPT(GPTConfig.preset(arguments.preset, tie_weights=True), init="gpt2").save_pretrained(folder)
model = GPT.from_pretrained(folder)
prompt = np.arange(100, 116) % model.config.vocab_size
sides: dict[str, Callable[[], np.ndarray]] = {
    "looking ahead": lambda: generate(model, prompt, arguments.tokens),
    "one at a time": lambda: generate(model, prompt, arguments.tokens, look_ahead=False),
}

if importlib.util.find_spec("transformers") and importlib.util.find_spec("torch"):
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder, local_files_only=True).eval()
    ids = torch.from_numpy(prompt[None])
    length = {"max_new_tokens": arguments.tokens, "min_new_tokens": arguments.tokens}
    settings = transformers.GenerationConfig(do_sample=False, pad_token_id=0, eos_token_id=None, **length)

    def transformers_writes() -> np.ndarray:
        mask = torch.ones_like(ids)
        return theirs.generate(ids, attention_mask=mask, generation_config=settings)[0].numpy()

    sides["transformers"] = transformers_writes

# %% [markdown]
# ## In turns
#
# On a machine that others use too, only the ratio within a round means anything.

# %%
print(f"== Greedy, one text, {arguments.tokens} tokens after {len(prompt)} ==")
print(f"{model.num_parameters():,} parameters")
if "transformers" not in sides:
    print("transformers is not installed here: our side alone")
texts = {name: write() for name, write in sides.items()}  # the first time, memory is new
speeds: dict[str, list[float]] = {name: [] for name in sides}
for _ in range(arguments.rounds):
    for name, write in sides.items():
        started = time.perf_counter()
        write()
        speeds[name].append(arguments.tokens / (time.perf_counter() - started))
for name, speed in speeds.items():
    line = f"{name}: {statistics.median(speed):.1f} tokens/s"
    if name != "transformers" and "transformers" in speeds:
        ratios = [ours / other for ours, other in zip(speed, speeds["transformers"], strict=True)]
        line += f", {statistics.median(ratios):.2f} times transformers ({min(ratios):.2f} to {max(ratios):.2f})"
    print(line)

# %% [markdown]
# ## The same tokens
#
# A row among several is rounded unlike a row alone, so in float32 the sides may part where the two best logits are
# nearly equal. Until then, and here as a rule to the end, they agree.

# %%
for name, text in texts.items():
    differ = np.flatnonzero(text != texts["looking ahead"])
    if name != "looking ahead":
        agreeing = (int(differ[0]) if len(differ) else len(text)) - len(prompt)
        print(f"{name}: the first {agreeing} of {arguments.tokens} tokens are the same")
print(generate_speculatively(model, prompt, arguments.tokens, PromptLookup(15)))
temporary.cleanup()
