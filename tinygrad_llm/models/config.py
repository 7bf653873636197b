"""What the configs of all models share: settings checked once, when they are made, that a JSON file can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.errors import ConfigError

PROBABILITIES = ("dropout", "label_smoothing")


def setting(default: Any, explained: str, **shown: Any) -> Any:
    """A field of a dataclass of settings, with what a command's help says about it, and the `choices` or `metavar`."""
    return dataclasses.field(default=default, metadata={"help": explained, **shown})


def setting_of(config: type[ModelConfig], name: str, default: Any) -> Any:
    """A field that means what the setting `name` of `config` does."""
    return dataclasses.field(default=default, metadata=config.__dataclass_fields__[name].metadata)


@dataclass(frozen=True)
class ModelConfig:
    """The base of a model's config, a dataclass of its settings; every field that is an `int` is a size of at least 1.

    Raises: ConfigError naming the setting that does not fit
    """

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type == "int" or (field.type == "int | None" and value is not None):
                expect_sizes(owner, **{name: value})
                object.__setattr__(self, name, int(value))  # a NumPy integer would not go into a JSON file
            elif field.type == "bool" and not isinstance(value, bool):
                raise ConfigError(f"{owner}: {name} must be true or false; got {value!r}")
            elif name in PROBABILITIES and (not isinstance(value, int | float) or not 0 <= value < 1):
                raise ConfigError(f"{owner}: {name} must be a probability in [0, 1); got {value!r}")
            elif name == "norm_eps" and (not isinstance(value, int | float) or not 0 < value < 1):
                raise ConfigError(f"{owner}: {name} must be a small number above 0; got {value!r}")
            elif name == "gelu" and value not in ("tanh", "none"):
                raise ConfigError(f'{owner}: {name} must be "tanh" or "none"; got {value!r}')
        width, heads = getattr(self, "embedding_dim", 0), getattr(self, "num_heads", 1)
        if getattr(self, "head_dim", None) is None and width % heads:
            raise ConfigError(f"{owner}: embedding_dim must be a multiple of num_heads; got {width} and {heads}")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """The config with these settings, the others at their defaults. Raises ConfigError for an unknown one."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise ConfigError(
                f"{cls.__name__}: known settings are {', '.join(known)}; got {', '.join(map(str, unknown))}"
            )
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
