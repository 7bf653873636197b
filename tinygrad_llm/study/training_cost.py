"""The arithmetic of training a GPT: parameters, floating-point operations, days, price and energy, by formula.

With L layers of width C and feed-forward width F, V tokens in the vocabulary, a context of T and D tokens of training:

    parameters N    V C + T C + L (4 C² + 2 C F + biases and norms) + 2 C, the head tied to the embedding
    6 N D           each parameter multiplies and adds once per token forward, and twice that backward (Kaplan et al.
                    2020, arXiv:2001.08361): so the papers count
    products        6 D (L (4 C² + 2 C F) + V C): of the matrices alone; looking up an embedding costs nothing
    attention       6 D · 2 C · (tokens seen on average, (T + 1) / 2 without a window), summed over the layers
    device time     (products + attention) / (peak of the device · utilisation)

What `study.flops` counts while a model runs equals products + attention (a test asserts it). Assumed: dense layers, no
recomputation, one epoch of windows of T tokens; the utilisation covers all that is no product, and waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_llm.checks import expect_number, is_number
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.layers.layer_pattern import window_of_layer
from tinygrad_llm.models.gpt import GPTConfig

FORWARD_AND_BACKWARD = 3  # times the forward
BYTES_PER_PARAMETER = 16  # float32: the weight, its gradient, AdamW's two moments
TOKENS_PER_PARAMETER = 20  # of compute-optimal training, Hoffmann et al. 2022 (arXiv:2203.15556)
PETAFLOPS_DAY = 1e15 * 86_400


@dataclass(frozen=True)
class Device:
    """An accelerator: peak of its dense 16-bit products as its maker states it, power, and an example of its price.

    Units: operations per second; watts; dollars per hour
    """

    peak: float
    watts: float
    price: float


DEVICES = {  # NVIDIA's data sheets; prices are those of renting, and change
    "v100": Device(125e12, 300, 1.5),
    "a100": Device(312e12, 400, 1.5),
    "h100": Device(989e12, 700, 2.5),
}


def parameters_of(config: GPTConfig) -> int:
    """The number of parameters of a GPT, biases and norms included.

    >>> parameters_of(GPTConfig.preset("gpt2-small", tie_weights=True, qkv_bias=True))
    124439808
    """
    width, inner = config.embedding_dim, config.feed_forward_dim or 4 * config.embedding_dim
    biases = width * (3 * config.qkv_bias + 1) + inner + width
    layer = 4 * width**2 + 2 * width * inner + biases + 4 * width
    tables = config.vocab_size * (1 if config.tie_weights else 2) + config.context_length
    return width * tables + config.num_layers * layer + 2 * width


def seen_on_average(context: int, window: int | None = None) -> float:
    """The number of tokens that a token of a full context attends to, itself included, on average.

    >>> seen_on_average(4), seen_on_average(4, window=2)
    (2.5, 1.75)
    """
    window = context if window is None else min(window, context)
    return (window * (window + 1) / 2 + (context - window) * window) / context


@dataclass(frozen=True)
class TrainingCost:
    """What training a GPT on so many tokens takes.

    `utilisation` is the share of the devices' peak that is reached; `overhead` the power of a data centre per power of
    its devices. Units: as in `Device`; days, dollars, kilowatt hours

    Raises: ConfigError for a number outside its range
    """

    config: GPTConfig
    tokens: float
    device: Device
    devices: int = 1
    utilisation: float = 0.3
    overhead: float = 1.1

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("tokens", self.tokens, 1, 1e18),
            ("devices", self.devices, 1, 1e9),
            ("peak", self.device.peak, 1, 1e30),
            ("price", self.device.price, 0, 1e9),
            ("watts", self.device.watts, 0, 1e9),
            ("overhead", self.overhead, 1, 100),
        ):
            expect_number("TrainingCost", name, value, low, high)
        if not is_number(self.utilisation) or not 1e-6 <= self.utilisation <= 1:
            raise ConfigError(
                "TrainingCost: utilisation must be a share of the device's peak, 1e-06 to 1; "
                f"got {self.utilisation!r}: 30% is 0.3"
            )

    @property
    def parameters(self) -> int:
        return parameters_of(self.config)

    @property
    def six_n_d(self) -> float:
        """6 N D, as the papers count."""
        return 6 * self.parameters * self.tokens

    @property
    def products(self) -> float:
        """Operations of the products with weights."""
        config, width = self.config, self.config.embedding_dim
        layer = 4 * width**2 + 2 * width * (config.feed_forward_dim or 4 * width)
        matrices = config.num_layers * layer + config.vocab_size * width
        return FORWARD_AND_BACKWARD * 2 * matrices * self.tokens

    @property
    def attention(self) -> float:
        """Operations of q kᵀ and p v, for the pairs of tokens that the masks allow."""
        config = self.config
        windows = [window_of_layer(config, layer) for layer in range(config.num_layers)]
        seen = sum(seen_on_average(config.context_length, window) for window in windows)
        return FORWARD_AND_BACKWARD * 2 * 2 * config.embedding_dim * seen * self.tokens

    @property
    def operations(self) -> float:
        return self.products + self.attention

    @property
    def device_days(self) -> float:
        return self.operations / (self.device.peak * self.utilisation * 86_400)

    @property
    def days(self) -> float:
        return self.device_days / self.devices

    @property
    def price(self) -> float:
        return self.device_days * 24 * self.device.price

    @property
    def energy(self) -> float:
        return self.device_days * 24 * self.device.watts * self.overhead / 1000

    @property
    def memory(self) -> int:
        """Of weights, gradients and optimizer, in float32. Units: bytes"""
        return BYTES_PER_PARAMETER * self.parameters
