"""The report card of a speedrun as a document: what the figures of its report mean, in the order of the road."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinygrad_llm.runs.loss_chart import Curve
from tinygrad_llm.runs.progress import duration
from tinygrad_llm.speedrun.card_size import size_section
from tinygrad_llm.speedrun.document import (
    Block,
    Cell,
    Chart,
    Commands,
    Facts,
    Heading,
    Paragraph,
    Share,
    Table,
    Verbatim,
)
from tinygrad_llm.study.formatting import format_bytes

TITLES = {"base": "Base model", "instruct": "Instructions", "reinforce": "Reinforcement learning"}
PURPOSES = {
    "base": "A new tokenizer and a new model learn to predict the next token of the text.",
    "instruct": "Supervised fine-tuning: the model learns from instructions with computed answers. The loss counts the "
    "tokens of the answers only. Wordings and contents of the held-out records are in no training record.",
    "reinforce": "GRPO: the model answers each question of a round several times, is rewarded with 1 for the right "
    "answer and 0 for any other, and learns from the differences within a group. It is asked the kinds that it answers "
    "right most nearly half of the time, where these differences are largest. The rewards below are those of sampled "
    "answers; the right answers above are greedy ones, which are better from the start.",
}
CURVES = {"train_loss": "training loss", "val_loss": "validation loss", "reward": "mean reward of a round"}
OPTIONS = ("kinds", "records", "style", "method", "questions", "group_size", "beta", "temperature", "clip")
OPTIMIZATION = (
    "optimizer",
    "batch_size",
    "learning_rate",
    "min_learning_rate",
    "warmup_steps",
    "weight_decay",
    "workers",
    "seed",
)


def document(report: Mapping[str, Any]) -> Iterator[Block]:
    """The whole card."""
    yield Heading(f"Report card: from a text to an assistant in {minutes(report['settings']['minutes'])}", 1)
    yield from _overview(report)
    yield from _changes(report)
    yield from _samples(report)
    yield from _time(report)
    yield from size_section(report)
    for name, stage in report["stages"].items():
        yield from _stage(name, stage, report)
    yield Heading("Repeat it")
    yield Paragraph(
        "The whole road again, its sizes and steps decided by a new measurement of the speed; then each stage as it "
        "was carried out here, and its evaluation. The figures of this card are those of `report.json`, which are read "
        "from the run folders."
    )
    commands = [line for stage in report["stages"].values() for line in stage["commands"]]
    yield Commands([report["commands"]["again"], *commands])


def minutes(count: float) -> str:
    """`1 minute`, `10 minutes`."""
    return f"{count:g} minute{'s' * (count != 1)}"


def _overview(report: Mapping[str, Any]) -> Iterator[Block]:
    stages, machine, settings = report["stages"], report["machine"], report["settings"]
    last = list(stages.values())[-1]
    right = last["accuracy"]
    yield Paragraph(
        f"A new model of {last['parameters']:,} parameters, trained on {settings['data']} and on computed instructions "
        f"of {len(right['kinds'])} kinds, answers {right['all']:.1%} of {right['count']:,} held-out instructions right "
        f"(standard error {right['standard_error']:.1%}). This is one training with one seed; another seed gives other "
        "figures."
    )
    yield Commands([report["commands"]["chat"], report["commands"]["serve"]])
    yield Facts(
        [
            ("time", f"{duration(report['seconds'])}; planned {duration(report['planned_seconds'])}"),
            ("CPU time", cpu_time(report["cpu_seconds"])),
            ("processor", f"{machine['processor']}, {machine['cores']} cores"),
            ("memory", format_bytes(machine["memory"]) if machine["memory"] else "unknown"),
            ("system", machine["system"]),
            ("Python, NumPy, BLAS", f"{machine['python']}, {machine['numpy']}, {machine['blas']}"),
            ("kernels", machine.get("kernels", "unknown")),  # not recorded by earlier versions
            ("BLAS threads", machine["blas_threads"]),
            ("seed", str(settings["seed"])),
        ]
    )


def cpu_time(seconds: float | None) -> str:
    return "unknown, since a process was killed" if seconds is None else duration(seconds)


def _changes(report: Mapping[str, Any]) -> Iterator[Block]:
    stages = report["stages"]
    yield Heading("What each stage changed")
    yield Paragraph(
        "Losses in bits per byte, which compare across tokenizers: of the validation part of the text, and of the "
        "right answers to the held-out instructions. Fine-tuning forgets some of the text."
    )
    rows: list[list[Cell]] = []
    for name, stage in stages.items():
        bits = [f"{stage[of]['bits_per_byte']:.3f}" for of in ("text", "answers")]
        right = stage["accuracy"]
        rows.append([name, *bits, Share(right["all"]), f"{right['standard_error']:.1%}"])
    yield Table(["after", "loss of the text", "loss of the answers", "right answers", "standard error"], rows)
    yield Paragraph(
        "Right answers by kind. `same answer`: what the most frequent answer of the kind would reach, without the "
        "question."
    )
    kinds = stages["base"]["accuracy"]["kinds"]
    rows = []
    for kind, figures in kinds.items():
        shares = [Share(stage["accuracy"]["kinds"][kind]["right"]) for stage in stages.values()]
        rows.append([f"`{kind}`", str(figures["count"]), f"{report['same_answer']['kinds'][kind]:.0%}", *shares])
    yield Table(["kind", "held out", "same answer", *stages], rows)


def _samples(report: Mapping[str, Any]) -> Iterator[Block]:
    stages = report["stages"]
    titles = list(stages)
    yield Heading("Side by side")
    yield Paragraph(
        "The first held-out instruction of some kinds, and the answer of the model after each stage (greedy)."
    )
    rows: list[list[Cell]] = []
    for sample in report["samples"]:
        asked = " ".join(filter(None, (sample["instruction"], sample["input"])))
        answers = [Verbatim(one["text"], one["right"]) for one in sample["answers"].values()]
        rows.append([Verbatim(asked), Verbatim(sample["output"]), *answers])
    yield Table(["instruction", "right answer", *titles], rows, texts=range(2 + len(titles)))
    beginnings = stages["base"]["continuations"]
    yield Paragraph(f"The beginning of a text, continued by each model (`{' '.join(beginnings[0]['command'][5:])}`).")
    rows = []
    for place, one in enumerate(beginnings):
        texts = [Verbatim(stage["continuations"][place]["text"]) for stage in stages.values()]
        rows.append([Verbatim(one["prompt"]), *texts])
    yield Table(["beginning", *titles], rows, texts=range(1 + len(titles)))


def _time(report: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading("Time")
    yield Paragraph(
        "Each training was given a share of the minutes that were left, and as many steps as fit into it at the speed "
        "of its first steps. `load`: the number of programs that wanted a core when the stage began. On a busy "
        "machine a step may take longer than planned."
    )
    rows = []
    for name, stage in report["stages"].items():
        times = [stage[part] for part in ("planned_seconds", "training_seconds", "evaluation_seconds", "seconds")]
        load = ", ".join(f"{load:.1f}" for load in stage["loads"] if load is not None)
        rows.append([name, f"{stage['steps']:,}", *map(duration, times), cpu_time(stage["cpu_seconds"]), load])
    yield Table(["stage", "steps", "training, planned", "actual", "evaluation", "stage in all", "CPU", "load"], rows)


def _stage(name: str, stage: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading(TITLES[name])
    yield Paragraph(PURPOSES[name])
    yield Commands(stage["commands"][:1])
    facts = list(_base_facts(stage, report)) if name == "base" else []
    yield Facts([*facts, *_settings(stage), ("steps", f"{stage['steps']:,}")])
    shown = ("reward",) if "reward" in stage["curves"] else ("train_loss", "val_loss")
    curves = [(CURVES[key], stage["curves"][key]) for key in shown if key in stage["curves"]]
    title = "mean reward" if "reward" in stage["curves"] else "loss, nats per token"
    yield Chart(title, "optimizer step", [Curve(words, one["steps"], one["values"]) for words, one in curves])


def _base_facts(stage: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model, text = stage["model"], report["text"]
    yield (
        "tokenizer",
        f"byte pair encoding, {text['vocabulary']:,} tokens, {text['bytes_per_token']:.2f} bytes per token",
    )
    parts = f"{text['training_tokens']:,} training tokens, {text['validation_tokens']:,} validation tokens"
    yield "text", f"{report['settings']['data']}: {parts}"
    sizes = f"{model['num_layers']} layers, {model['num_heads']} heads, {model['embedding_dim']} wide"
    yield (
        "model",
        f"{stage['model_type']}, {stage['parameters']:,} parameters: {sizes}, context {model['context_length']}",
    )


def _settings(stage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings that matter of those that config.json records."""
    for part, names in (("options", OPTIONS), ("training", OPTIMIZATION)):
        for name in names:
            value = stage[part].get(name)
            if value is not None:
                yield name.replace("_", " "), str(value).replace(",", ", ") or "all"
