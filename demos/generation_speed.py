# %% [markdown]
# # Generation speed: tokens per second here and in transformers
#
# Generating one token at a time is bound by memory bandwidth: GPT-2's 124 million weights take half a gigabyte, and
# every new token reads all of them. Reading a few tokens at once costs little more than reading one, so `generate`
# drafts tokens by looking for an earlier occurrence of the last ones (speculative decoding by lookup) and checks the
# draft in one pass. This demo counts what that brings.
#
# The model has the size of GPT-2 and random weights: its text has no meaning and, as with every greedy model, soon
# repeats itself, which is the best case for drafting. The line "one at a time" is the speed for a text that never
# repeats itself.
#
# Run it with `python demos/generation_speed.py`. `transformers` is not a dependency of the package: without it the
# demo times this package alone. `--gpt2 FOLDER` reads the weights of a Hugging Face folder instead.

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
options.add_argument("--rounds", type=int, default=3, help="timed rounds of each library (default: 3)")
arguments, _ = options.parse_known_args()

# %% [markdown]
# ## The model, as both libraries open it

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
# On a machine that runs other programs too, only the ratio within a round is meaningful.

# %%
print(f"== Greedy, one text, {arguments.tokens} tokens after {len(prompt)} ==")
print(f"{model.num_parameters():,} parameters")
if "transformers" not in sides:
    print("transformers is not installed: this package alone")
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
# A row computed together with others is rounded differently from a row alone, so in float32 the two libraries may
# differ where the two largest logits are nearly equal. Before such a token they agree, and here usually to the end.

# %%
for name, text in texts.items():
    differ = np.flatnonzero(text != texts["looking ahead"])
    if name != "looking ahead":
        agreeing = (int(differ[0]) if len(differ) else len(text)) - len(prompt)
        print(f"{name}: the first {agreeing} of {arguments.tokens} tokens are the same")
print(generate_speculatively(model, prompt, arguments.tokens, PromptLookup(15)))
temporary.cleanup()
