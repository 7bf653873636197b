"""The section of the report card about the size of the model: speed, scaling law, the best size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_llm.measure.scaling_law import ScalingLaw, Speed, TrainedPoint, relative_errors
from tinygrad_llm.runs.loss_chart import Curve
from tinygrad_llm.runs.progress import duration
from tinygrad_llm.speedrun.document import Block, Chart, Heading, Paragraph, Table

SHARES_OF_THE_BEST = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)  # sizes in the table, in parts of the chosen one


def size_section(report: Mapping[str, Any]) -> Iterator[Block]:
    """Why the base model has its size."""
    size, text, base = report["size"], report["text"], report["stages"]["base"]
    law, speed = ScalingLaw(**size.get("law", size["recorded_law"])), Speed(**size["speed"])
    seconds, unique = size["seconds"], size["unique_tokens"]
    recorded = "recorded by `python demos/scaling_law.py --full`"
    source = "fitted to the small trainings below" if "law" in size else recorded
    tokens = base["steps"] * base["training"]["batch_size"] * base["model"]["context_length"]
    expected, measured = float(law.loss(base["parameters"], tokens, unique)), base["text"]["bits_per_byte"]
    yield Heading("The size of the model")
    yield Paragraph(
        f"The larger the model, the fewer tokens it reads in {duration(seconds)}. After training a model of N "
        "parameters on D tokens, the loss is about L(N, D) = E + A / N^α + B / D'^β (Hoffmann et al. 2022); D' counts "
        f"a repeated token as less than a new one (Muennighoff et al. 2023). The law, {source}: {law_in_words(law)}. "
        f"At the speed of this machine it predicts the lowest loss for {size['best']:,} parameters. The base model "
        f"then read {tokens:,} tokens, the text {tokens / text['training_tokens']:.1f} times. For these the law "
        f"predicts {expected:.3f} bits per byte; {measured:.3f} were measured."
    )
    yield Table(
        ["parameters", "tokens/s, measured", "tokens/s, by a line"],
        [
            [f"{number:,.0f}" for number in (*one.values(), float(speed.tokens(one["parameters"], 1.0)))]
            for one in size["speeds"]
        ],
        texts=(),
    )
    yield _predictions(law, speed, size["parameters"], seconds, unique)
    yield _picture(law, speed, size["parameters"], base, seconds, unique)
    if "law" in size:
        yield _points(law, [TrainedPoint(**point) for point in size["points"]], unique)


def law_in_words(law: ScalingLaw) -> str:
    return (
        f"E = {law.irreducible:.3g}, A = {law.size_factor:.3g}, α = {law.size_exponent:.2f}, "
        f"B = {law.data_factor:.3g}, β = {law.data_exponent:.2f}, in bits per byte; R* = {law.repetitions:g}"
    )


def _predictions(law: ScalingLaw, speed: Speed, chosen: int, seconds: float, unique: float) -> Table:
    rows = []
    for share in SHARES_OF_THE_BEST:
        parameters = chosen * share
        tokens = float(speed.tokens(parameters, seconds))
        loss = float(law.loss(parameters, tokens, unique))
        rows.append([f"{parameters:,.0f}", f"{tokens:,.0f}", f"{tokens / unique:.1f}", f"{loss:.3f}"])
    return Table(["parameters", "tokens in this time", "times the text", "bits per byte, predicted"], rows, texts=())


def _picture(
    law: ScalingLaw, speed: Speed, chosen: int, base: Mapping[str, Any], seconds: float, unique: float
) -> Chart:
    def predicted(parameters: Any) -> Any:
        return law.loss(parameters, speed.tokens(parameters, seconds), unique)

    sizes = chosen * np.geomspace(SHARES_OF_THE_BEST[0], SHARES_OF_THE_BEST[-1], 60)
    measured = base["text"]["bits_per_byte"]
    return Chart(
        f"bits per byte of the text after {duration(seconds)} of training",
        "parameters",
        [Curve("predicted", np.log10(sizes).tolist(), predicted(sizes).tolist())],
        [
            Curve("chosen", [math.log10(chosen)], [float(predicted(chosen))]),
            Curve("measured: the base model", [math.log10(base["parameters"])], [measured]),
        ],
        log_x=True,
    )


def _points(law: ScalingLaw, points: list[TrainedPoint], unique: float) -> Table:
    return Table(
        ["parameters", "tokens", "bits per byte, measured", "by the law", "error"],
        [
            [
                f"{one.parameters:,}",
                f"{one.tokens:,}",
                f"{one.loss:.3f}",
                f"{one.loss * (1 + error):.3f}",
                f"{error:+.1%}",
            ]
            for one, error in zip(points, relative_errors(law, points, unique), strict=True)
        ],
        texts=(),
    )
