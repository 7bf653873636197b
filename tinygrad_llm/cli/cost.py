"""The arithmetic of training a GPT: parameters, operations, days, price and energy; GPT-3's sizes beside the paper."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from typing import Any

from tinygrad_llm.checks import expect_choice
from tinygrad_llm.cli.flags import add_flags
from tinygrad_llm.cli.sizes import count_of, short_count
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models.gpt import GPTConfig
from tinygrad_llm.models.presets import GPT3, PRESETS
from tinygrad_llm.study.training_cost import DEVICES, PETAFLOPS_DAY, TOKENS_PER_PARAMETER, TrainingCost
from tinygrad_llm.terminal import for_terminal

TOKENS = 300_000_000_000  # of GPT-3, whatever its size
PAPER = {  # Brown et al. 2020 (arXiv:2005.14165), table D.1: parameters in millions, operations
    "gpt3-small": (125, 2.25e20),
    "gpt3-medium": (356, 6.41e20),
    "gpt3-large": (760, 1.37e21),
    "gpt3-xl": (1_320, 2.38e21),
    "gpt3-2.7b": (2_650, 4.77e21),
    "gpt3-6.7b": (6_660, 1.20e22),
    "gpt3-13b": (12_850, 2.31e22),
    "gpt3-175b": (174_600, 3.14e23),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS
    parser.epilog = (
        "Without a model: GPT-3's eight sizes beside the paper's figures. The formulas and what they assume are in "
        "tinygrad_llm/study/training_cost.py. Prices and powers are examples; give yours."
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--tokens", type=count_of, metavar="N", help="tokens of training, such as 20M (default: 300B)"
    )
    training.add_argument("--device", metavar="NAME", help=f"kind of device: {', '.join(DEVICES)} (default: v100)")
    training.add_argument("--devices", type=int, metavar="N", help="number of devices (default: 1)")
    training.add_argument(
        "--utilisation", type=float, metavar="X", help="share of the device's peak that is reached (default: 0.3)"
    )
    training.add_argument(
        "--peak", type=float, metavar="X", help="operations per second of a device (default: its own)"
    )
    training.add_argument("--price", type=float, metavar="X", help="dollars per hour of a device (default: an example)")
    training.add_argument("--watts", type=float, metavar="X", help="power of a device (default: its own)")
    training.add_argument(
        "--overhead", type=float, metavar="X", help="power of the data centre per power of its devices (default: 1.1)"
    )
    model = parser.add_argument_group("model")
    sizes = ", ".join(PRESETS)
    model.add_argument("--preset", metavar="NAME", help=f"sizes to start from: {sizes} (default: gpt2-small)")
    add_flags(model, GPTConfig, leave_out=("dropout", "norm_eps", "gelu"))


def run(arguments: argparse.Namespace) -> int:
    given = vars(arguments)
    changes = {name: given[name] for name in GPTConfig.__dataclass_fields__ if name in given}
    lines = details(given, changes) if changes or "preset" in given else table(given)
    for line in lines:
        print(for_terminal(line))
    return 0


def cost_of(given: dict[str, Any], config: GPTConfig) -> TrainingCost:
    """The cost of a model with the flags of the training. Raises: ConfigError"""
    name = given.get("device", "v100")
    try:
        expect_choice("TrainingCost", "device", name, DEVICES)
        device = dataclasses.replace(
            DEVICES[name], **{one: given[one] for one in ("peak", "watts", "price") if one in given}
        )
        others = {one: given[one] for one in ("devices", "utilisation", "overhead") if one in given}
        return TrainingCost(config, given.get("tokens", TOKENS), device, **others)
    except ConfigError as error:
        raise ConfigError(str(error).replace("TrainingCost: ", "--", 1)) from None


def table(given: dict[str, Any]) -> Iterator[str]:
    """GPT-3's eight sizes: parameters and operations here and in the paper, and days of one device."""
    costs = {name: cost_of(given, GPTConfig.preset(name)) for name in GPT3}
    one = costs["gpt3-small"]
    peak = f"{one.device.peak * one.utilisation:.3g}"
    yield f"GPT-3's sizes, trained on D = {short_count(int(one.tokens))} tokens; N in millions of parameters"
    yield f"{'':<12}{'layers':>7}{'width':>7}{'heads':>6}{'N':>9}{'paper':>9}{'6 N D':>10}{'paper':>9}{'counted':>10}"
    for name, cost in costs.items():
        config, (millions, operations) = cost.config, PAPER[name]
        paper = f"{operations:.2e}" if cost.tokens == TOKENS else "-"
        yield (
            f"{name:<12}{config.num_layers:>7}{config.embedding_dim:>7,}{config.num_heads:>6}"
            f"{cost.parameters / 1e6:>9,.0f}{millions:>9,}{cost.six_n_d:>10.2e}{paper:>9}{cost.operations:>10.2e}"
        )
    yield "counted: products with weights, and attention to the tokens that the mask allows"
    yield ""
    yield f"{'':<12}{'petaflop/s-days':>16}{'device-years':>14}{'days':>9}{'dollars':>13}{'MWh':>10}"
    for name, cost in costs.items():
        yield (
            f"{name:<12}{cost.operations / PETAFLOPS_DAY:>16,.1f}{cost.device_days / 365.25:>14,.1f}{cost.days:>9,.0f}"
            f"{cost.price:>13,.0f}{cost.energy / 1000:>10,.1f}"
        )
    yield from assumptions(one, peak)


def assumptions(cost: TrainingCost, reached: str) -> Iterator[str]:
    """What the days, the price and the energy assume."""
    yield (
        f"assumed: {cost.devices:,} device{'s' * (cost.devices > 1)} of {cost.device.peak:.3g} operations/s at "
        f"{cost.utilisation:.0%} ({reached}),"
    )
    yield f"         {cost.device.price:g} dollars an hour, {cost.device.watts:g} W times {cost.overhead:g}"


def details(given: dict[str, Any], changes: dict[str, Any]) -> Iterator[str]:
    """One model: each quantity with its formula and its value."""
    name = given.get("preset", "gpt2-small")
    if name not in PRESETS:
        raise ConfigError(f"--preset must be one of {', '.join(PRESETS)}; got {name!r}")
    config = GPTConfig.from_dict({**PRESETS[name], **changes})
    cost = cost_of(given, config)
    width, layers, tokens = config.embedding_dim, config.num_layers, short_count(int(cost.tokens))
    inner = config.feed_forward_dim or 4 * width
    heads, context = config.num_heads, config.context_length
    yield f"a GPT of {layers} layers, {width:,} wide, {heads} heads, context {context:,}, F = {inner:,}"
    rows = [
        ("parameters N", "V C + T C + L (4 C² + 2 C F), biases, norms", f"{cost.parameters:,}"),
        (
            "tokens D",
            f"compute-optimal: {TOKENS_PER_PARAMETER} N = {TOKENS_PER_PARAMETER * cost.parameters:.3g}",
            tokens,
        ),
        ("6 N D", "as the papers count", f"{cost.six_n_d:.3e}"),
        ("products", "6 D (L (4 C² + 2 C F) + V C)", f"{cost.products:.3e}"),
        ("attention", "12 C D · mean tokens seen, over the layers", f"{cost.attention:.3e}"),
        ("operations", "products + attention", f"{cost.operations:.3e}"),
        ("petaflop/s-days", "operations / 8.64e19", f"{cost.operations / PETAFLOPS_DAY:,.3g}"),
        ("device-days", "operations / (peak · utilisation · 1 day)", f"{cost.device_days:,.4g}"),
        ("days", f"on {cost.devices:,} of them", f"{cost.days:,.4g}"),
        ("dollars", "device-hours · price", f"{cost.price:,.2f}"),
        ("kWh", "device-hours · watts · overhead / 1000", f"{cost.energy:,.4g}"),
        ("bytes to train", "4 each: weights, gradients, AdamW's moments", f"{cost.memory:,}"),
    ]
    for name, formula, value in rows:
        yield f"{name:<16}{value:>18}  {formula}"
    yield from assumptions(cost, f"{cost.device.peak * cost.utilisation:.3g}")
