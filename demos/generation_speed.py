# %% [markdown]
# # Generation speed: tokens per second here and in transformers
#
# Generating one token at a time is bound by memory bandwidth: GPT-2's 124 million weights take half a gigabyte, and
# every new token reads all of them. What is left to a library is how much it does besides: here a pass over one token
# is a few hundred NumPy calls (`models/few_tokens.py`), without the ops, Tensors and checks of training.
#
# Reading a few tokens at once costs little more than reading one, so `generate` drafts tokens by looking for an earlier
# occurrence of the last ones (speculative decoding by lookup) and checks the draft in one pass. This demo counts what
# that brings. The model has random weights: its text has no meaning and, as with every greedy model, soon repeats
# itself, which is the best case for drafting. "One at a time" is the speed for a text that never repeats itself.
#
# Run it with `python demos/generation_speed.py`; `--preset smollm2` has the shape of SmolLM2-135M. Both libraries get
# OPENBLAS_NUM_THREADS threads, by default one per core; this package shares products among threads of its own, as its
# commands do, or leaves them to BLAS's own threads with `--blas`. `--busy` keeps one core busy with another program
# meanwhile. `transformers` is not a dependency of the package: without it the demo times this package alone.
# `--folder FOLDER` reads the weights of a Hugging Face folder.

# %%
import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygrad_llm import manual_seed
from tinygrad_llm.generate import PromptLookup, generate, generate_speculatively
from tinygrad_llm.generate.continuous_batch import ContinuousBatch
from tinygrad_llm.measure.busy_program import busy_program
from tinygrad_llm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.models.presets import PRESETS
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.train.parallel.product_threads import products_in_threads

end_quietly()

options = argparse.ArgumentParser(description="Generated tokens per second, here and in transformers.")
options.add_argument(
    "--folder", type=Path, help="a Hugging Face folder with a GPT-2 or a Llama, whose weights are used"
)
options.add_argument(
    "--preset",
    choices=["smollm2", *PRESETS],
    default="gpt2-small",
    metavar="NAME",
    help=f"else the size whose weights a seed draws: smollm2, {', '.join(PRESETS)} (default: gpt2-small)",
)
options.add_argument("--tokens", type=int, default=100, help="how many to write in each round (default: 100)")
options.add_argument("--rounds", type=int, default=3, help="timed rounds of each library (default: 3)")
options.add_argument("--busy", action="store_true", help="keep one core busy with another program meanwhile")
options.add_argument("--blas", action="store_true", help="leave large products to BLAS's own threads")
arguments, _ = options.parse_known_args()

# %% [markdown]
# ## The model, as both libraries open it

# %%
SMOLLM2 = LlamaConfig(
    vocab_size=49152,
    context_length=2048,
    embedding_dim=576,
    num_heads=9,
    num_kv_heads=3,
    num_layers=30,
    feed_forward_dim=1536,
    rope_base=100_000.0,
    tie_weights=True,
)
temporary = tempfile.TemporaryDirectory()
folder = arguments.folder or Path(temporary.name)
if not arguments.folder:
    manual_seed(0)
    if arguments.preset == "smollm2":
        Llama(SMOLLM2).save_pretrained(folder)
    else:
        GPT(GPTConfig.preset(arguments.preset, tie_weights=True), init="gpt2").save_pretrained(folder)
is_gpt = json.loads((folder / "config.json").read_text("utf-8"))["model_type"] == "gpt2"
model = (GPT if is_gpt else Llama).from_pretrained(folder)
vocab_size, tokens = model.config.vocab_size, arguments.tokens
threads = int(os.environ.get("OPENBLAS_NUM_THREADS", os.cpu_count() or 1))
sharing = nullcontext if arguments.blas else partial(products_in_threads, threads)
prompt = np.arange(100, 116) % vocab_size
long_prompt = np.arange(min(512, model.config.context_length - 1)) * 7919 % vocab_size


class Task(NamedTuple):
    """Something to time: the tokens that it writes or reads, and a function for each library."""

    tokens: int
    ours: Callable[[], np.ndarray]
    theirs: Callable[[], np.ndarray] | None = None


tasks = {
    "looking ahead": Task(tokens, lambda: generate(model, prompt, tokens)),
    "one at a time": Task(tokens, lambda: generate(model, prompt, tokens, look_ahead=False)),
    "sampled": Task(tokens, lambda: generate(model, prompt, tokens, temperature=0.8, top_k=50)),
    "reading": Task(len(long_prompt), lambda: generate(model, long_prompt, 1)),
}

if importlib.util.find_spec("transformers") and importlib.util.find_spec("torch"):
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).float().eval()

    def transformers_writes(prompt: np.ndarray, count: int, **sampling: float) -> np.ndarray:
        ids = torch.from_numpy(prompt[None])
        length = {"max_new_tokens": count, "min_new_tokens": count, "pad_token_id": 0, "eos_token_id": None}
        settings = transformers.GenerationConfig(do_sample=bool(sampling), **length, **sampling)
        return theirs.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)[0].numpy()

    greedy = tasks["one at a time"]._replace(theirs=lambda: transformers_writes(prompt, tokens))
    tasks |= {
        "looking ahead": tasks["looking ahead"]._replace(theirs=greedy.theirs),
        "one at a time": greedy,
        "sampled": tasks["sampled"]._replace(
            theirs=lambda: transformers_writes(prompt, tokens, temperature=0.8, top_k=50)
        ),
        "reading": tasks["reading"]._replace(theirs=lambda: transformers_writes(long_prompt, 1)),
    }

# %% [markdown]
# ## In turns
#
# On a machine that runs other programs too, only the ratios within a round are meaningful: of the time on the clock,
# and of the processor's time, in which waiting for other programs does not count.


# %%
def seconds(work: Callable[[], np.ndarray]) -> np.ndarray:
    """The time of one call: on the clock, and of the processor."""
    started = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - started[0], time.process_time() - started[1]])


busy = ", beside another busy program" if arguments.busy else ""
print(f"== One text, {tokens} tokens after {len(prompt)}; a prompt of {len(long_prompt)}{busy} ==")
print(f"{model.num_parameters():,} parameters")
if "transformers" not in globals():
    print("transformers is not installed: this package alone")
with sharing():
    texts = {name: task.ours() for name, task in tasks.items()}  # the first time, memory is new
if (in_transformers := tasks["one at a time"].theirs) is not None:
    texts["transformers"] = in_transformers()
for name, task in tasks.items():
    ours, ratios = [], []
    with sharing(), busy_program(arguments.busy):
        for _ in range(arguments.rounds):
            ours.append(seconds(task.ours))
            if task.theirs is not None:
                ratios.append(seconds(task.theirs) / ours[-1])
    line = f"{name}: {task.tokens / statistics.median(clock for clock, _ in ours):.1f} tokens/s"
    if ratios:
        of_clock, of_processor = np.median(ratios, axis=0)
        lowest, highest = min(ratio[0] for ratio in ratios), max(ratio[0] for ratio in ratios)
        line += f", {of_clock:.2f} times transformers ({lowest:.2f} to {highest:.2f}; CPU time {of_processor:.2f})"
    print(line)
if hasattr(os, "getloadavg"):
    print(f"programs that wanted a core in the last minute: {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")

# %% [markdown]
# ## Several texts at once
#
# `tinygrad-llm serve` decodes the texts of all its clients together (`generate/continuous_batch.py`): a block of the
# weights is read from memory once, and stays in the cache until each text has been multiplied by it. Up to eight texts
# are multiplied one by one, so each has the same tokens as alone: their logits are equal to the last bit.


# %%
def decoded_together(count: int) -> np.ndarray:
    """The greedy texts after `count` different tokens, decoded as one batch."""
    batch = ContinuousBatch(model)
    rows = [batch.join(prompt[place : place + 1]) for place in range(count)]
    for _ in range(tokens):
        for row, logits in zip(rows, batch.logits(rows), strict=True):
            row.ids.append(int(logits.argmax()))
    return np.array([row.ids for row in rows])


for count in (2, 4, 8):
    rounds = range(arguments.rounds)
    with sharing(), busy_program(arguments.busy):
        gains = [
            count * seconds(lambda: decoded_together(1)) / seconds(partial(decoded_together, count)) for _ in rounds
        ]
    of_clock, of_processor = np.median(gains, axis=0)
    print(f"{count} texts at once: {of_clock:.2f} times the tokens/s of one (CPU time {of_processor:.2f})")
same = np.array_equal(decoded_together(8)[:1], decoded_together(1))
print(f"the first of eight has the tokens that it has alone: {'yes' if same else 'no'}")

# %% [markdown]
# ## The same tokens
#
# A row computed together with others is rounded differently from a row alone, so in float32 the two libraries may
# differ where the two largest logits are nearly equal. Before such a token they agree, and here usually to the end.

# %%
for name in ("one at a time", "transformers"):
    if name in texts:
        differ = np.flatnonzero(texts[name] != texts["looking ahead"])
        agreeing = (int(differ[0]) if len(differ) else len(texts[name])) - len(prompt)
        print(f"{name}: the first {agreeing} of {tokens} tokens are the same")
print(generate_speculatively(model, prompt, tokens, PromptLookup(15)))
temporary.cleanup()
