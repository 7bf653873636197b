"""Architectures: one record per kind of model. Commands and run folders know a model only through its record.

    class, config, name and words     its name in config.json, in `--architecture` and in messages
    commands                          which commands take such a model, and which one makes it
    presets                           named sizes
    parameters                        the number of parameters for a config, before any is allocated
    begin                             a model with initial weights
    huggingface                       its form in Hugging Face folders (interop/forms.py)

To add a model, write its file in `models/` and its record here; a Hugging Face form has its names in a file of
`interop/`. Your own program can `register` its own record.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.interop import bert, gpt2, llama, opt
from tinygrad_llm.interop.forms import HuggingFaceForm
from tinygrad_llm.interop.gguf import gguf_model, is_gguf
from tinygrad_llm.interop.huggingface_folder import read_folder, read_model, write_model
from tinygrad_llm.models import (
    GPT,
    OPT,
    Bert,
    BertConfig,
    Classifier,
    ClassifierConfig,
    EncoderDecoder,
    EncoderDecoderConfig,
    GPTConfig,
    Llama,
    LlamaConfig,
    OPTConfig,
    RewardModel,
    RewardModelConfig,
)
from tinygrad_llm.models.opt import PRESETS as OPT_PRESETS
from tinygrad_llm.models.presets import GPT3, PRESETS
from tinygrad_llm.models.pretrained import Pretrained
from tinygrad_llm.nn import Module
from tinygrad_llm.text.tokenizer import Tokenizer

M = TypeVar("M", bound=Pretrained)

# Commands that take any model that predicts the next token.
LANGUAGE_MODEL = frozenset(("train", "doctor", "generate", "chat", "serve", "evaluate", "inspect", "lab", "bench"))
LANGUAGE_MODEL |= {"instruct", "prefer", "reward", "reinforce", "classify"}
DEFAULT_PRESET = "tiny"


@dataclass(frozen=True)
class Architecture:
    """One kind of model; see the table above.

    `name` is used in config.json; `words`, with an article, in messages. `command` is the one that trains such a model.
    A preset is a named set of settings of `config`. `read_config(settings)` and `settings_of(model)` are for a config
    that config.json does not hold as a plain dict of settings.
    """

    name: str
    words: str
    model: type[Module]
    config: type[Any]
    command: str
    parameters: Callable[[Any], int]
    begin: Callable[[Any], Module]
    commands: frozenset[str] = LANGUAGE_MODEL
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    huggingface: HuggingFaceForm | None = None
    read_config: Callable[[Mapping[str, Any]], Any] | None = None
    settings_of: Callable[[Any], dict[str, Any]] = lambda model: model.config.to_dict()

    def config_from(self, settings: Mapping[str, Any]) -> Any:
        """The config that `settings_of` gave. Raises: ConfigError for settings that do not fit"""
        return self.config.from_dict(settings) if self.read_config is None else self.read_config(settings)

    def settings_from(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of the config, checked. Raises: ConfigError"""
        return dict(self.config_from(settings).to_dict())

    def preset(self, name: str | None = None) -> dict[str, Any]:
        """All settings of a named size, by default the usual one. Raises: ConfigError for an unknown name"""
        if name is None:
            chosen = self.presets.get(DEFAULT_PRESET, {})
        elif name in self.presets:
            chosen = self.presets[name]
        else:
            raise ConfigError(f"the presets of {self.words} are {', '.join(self.presets) or 'none'}; got {name!r}")
        return dict(self.config.from_dict(chosen).to_dict())


ARCHITECTURES: dict[str, Architecture] = {}


def register(architecture: Architecture) -> Architecture:
    """Make an architecture known to all commands. Raises: ConfigError if another one has its name or model class"""
    for known in ARCHITECTURES.values():
        if known.name == architecture.name or known.model is architecture.model:
            raise ConfigError(f"register: {architecture.name} must be new in name and class; there is {known.name}")
    ARCHITECTURES[architecture.name] = architecture
    return architecture


def architecture_of(model: Any) -> Architecture:
    """The architecture of a model. Raises: ConfigError for a model class that is not registered"""
    for architecture in ARCHITECTURES.values():
        if architecture.model is type(model):
            return architecture
    raise ConfigError(f"models are of the types {', '.join(ARCHITECTURES)}; got a {type(model).__name__}")


def architecture_of_config(config: Any) -> Architecture:
    """The architecture of a config. Raises: ConfigError for a config class that is not registered"""
    for architecture in ARCHITECTURES.values():
        if architecture.config is type(config):
            return architecture
    raise ConfigError(f"configs are those of {', '.join(ARCHITECTURES)}; got a {type(config).__name__}")


def taken_by(command: str) -> list[Architecture]:
    """The architectures that a command accepts, in the order of their registration."""
    return [architecture for architecture in ARCHITECTURES.values() if command in architecture.commands]


# Hugging Face folders. `from_pretrained` and `save_pretrained` of every model call these functions.


def _form_of(model_class: type[Any]) -> HuggingFaceForm:
    for architecture in ARCHITECTURES.values():
        if architecture.huggingface is not None and issubclass(model_class, architecture.model):
            return architecture.huggingface
    known = ", ".join(one.model.__name__ for one in ARCHITECTURES.values() if one.huggingface is not None)
    raise ConfigError(f"the model must be a {known} to have a Hugging Face form; got a {model_class.__name__}")


def load_pretrained(model_class: type[M], folder: str | os.PathLike[str], dropout: float | None = None) -> M:
    """The model in a Hugging Face folder or a GGUF file; see `Pretrained.from_pretrained`. Raises: FormatError"""
    if is_gguf(folder):
        return gguf_model(model_class, folder, dropout)
    return read_model(_form_of(model_class), model_class, folder, dropout)


def save_pretrained(model: Pretrained, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None) -> None:
    """Write a model and its tokenizer; see `Pretrained.save_pretrained`.

    Raises: StateDictError, TokenizerError, ConfigError, CheckpointError
    """
    write_model(_form_of(type(model)), model, folder, tokenizer)


def load_huggingface(folder: str | os.PathLike[str], dropout: float | None = None) -> tuple[Any, Tokenizer]:
    """The model in a Hugging Face folder, in evaluation mode, and its tokenizer; `dropout` as in `from_pretrained`.

    Raises: FormatError for a file that is missing or damaged, for a model that is not supported, and for a tokenizer
            with more tokens than the model
    """
    forms = {
        model_type: (architecture.huggingface, architecture.model)
        for architecture in ARCHITECTURES.values()
        if architecture.huggingface is not None
        for model_type in architecture.huggingface.model_types
    }
    return read_folder(folder, forms, dropout)


# The number of parameters of a model, without biases and norms, which are few.


def _gpt_parameters(config: GPTConfig | OPTConfig) -> int:
    width = config.embedding_dim
    layer = 4 * width * width + 2 * width * (config.feed_forward_dim or 4 * width)
    tables = config.vocab_size * (1 if config.tie_weights else 2) + config.context_length
    return width * tables + config.num_layers * layer


def _llama_parameters(config: LlamaConfig) -> int:
    width, layers = config.embedding_dim, config.num_layers
    inner = config.feed_forward_dim or 8 * width // 3
    sparse = 0 if config.num_experts is None else layers - len(config.dense_layers)
    hidden = (layers - sparse) * inner + sparse * (config.num_experts or 0) * (config.expert_dim or inner)
    tables = config.vocab_size * (1 if config.tie_weights else 2)
    heads = config.num_heads * (config.head_dim or width // config.num_heads)
    kv_heads = heads * (config.num_kv_heads or config.num_heads) // config.num_heads
    states = sum(map(config.has_state, range(layers)))
    mixing = 5 * states * heads + (layers - states) * ((2 + config.attention_gate) * heads + 2 * kv_heads)
    return width * (tables + mixing + 3 * hidden)


def _bert_parameters(config: BertConfig) -> int:
    width = config.embedding_dim
    layer = 4 * width * width + 2 * width * (config.feed_forward_dim or 4 * width)
    return width * (config.vocab_size + config.context_length) + config.num_layers * layer


def _encoder_decoder_parameters(config: EncoderDecoderConfig) -> int:
    width = config.embedding_dim
    layers = 12 * width * width + 4 * width * (config.feed_forward_dim or 4 * width)  # one of each stack
    return width * (config.vocab_size + config.context_length) + config.num_layers * layers


# The config.json of a model on another's body, a classifier or a reward model, also names the body's architecture.


def _settings_with_body(model: Classifier | RewardModel) -> dict[str, Any]:
    return {**model.config.to_dict(), "body_type": architecture_of(model.body).name}


def _config_with_body(config: type[Any], command: str, settings: Mapping[str, Any]) -> Any:
    bodies = [body.name for body in taken_by(command)]
    try:
        own = dict(settings)
        name = own.pop("body_type", "gpt")
        if name not in bodies:
            raise ConfigError(f"{config.__name__}: the body must be one of {', '.join(bodies)}; got {name!r}")
        return config.from_dict({**own, "body": ARCHITECTURES[name].config_from(own["body"])})
    except (KeyError, TypeError) as error:
        names = ", ".join(one.name for one in dataclasses.fields(config))
        raise ConfigError(f"{config.__name__}: needs {names} and body_type ({', '.join(bodies)}); {error}") from error


def _parameters_of_body(config: Any) -> int:
    return architecture_of_config(config.body).parameters(config.body)


def _classifier(config: ClassifierConfig) -> Classifier:
    """A classifier on a body without pretraining, all of it trainable."""
    body = architecture_of_config(config.body).begin(config.body)
    return Classifier(body, config.labels, config.pooling, "all", config.causal)


def _reward_model(config: RewardModelConfig) -> RewardModel:
    """A reward model on a body without pretraining."""
    return RewardModel(architecture_of_config(config.body).begin(config.body))


register(
    Architecture(
        "gpt",
        "a GPT",
        GPT,
        GPTConfig,
        command="train",
        parameters=_gpt_parameters,
        begin=lambda config: GPT(config, init="gpt2"),
        presets=PRESETS,
        huggingface=gpt2.FORM,
    )
)
register(
    Architecture(
        "llama",
        "a Llama",
        Llama,
        LlamaConfig,
        command="train --architecture llama",
        parameters=_llama_parameters,
        begin=Llama,
        presets={  # the sizes of a GPT, where a Llama has the same setting
            name: {
                setting: value
                for setting, value in GPTConfig.from_dict(preset).to_dict().items()
                if setting in LlamaConfig.__dataclass_fields__
            }
            for name, preset in PRESETS.items()
            if name not in GPT3
        },
        huggingface=llama.FORM,
    )
)
register(
    Architecture(
        "opt",
        "an OPT",
        OPT,
        OPTConfig,
        command="train --architecture opt",
        parameters=_gpt_parameters,
        begin=OPT,
        presets=OPT_PRESETS,
        huggingface=opt.FORM,
    )
)
register(
    Architecture(
        "bert",
        "a BERT",
        Bert,
        BertConfig,
        command="bert train",
        parameters=_bert_parameters,
        begin=Bert,
        commands=frozenset(("bert", "classify")),
        huggingface=bert.FORM,
    )
)
register(
    Architecture(
        "encoder-decoder",
        "an encoder-decoder",
        EncoderDecoder,
        EncoderDecoderConfig,
        command="translate train",
        parameters=_encoder_decoder_parameters,
        begin=EncoderDecoder,
        commands=frozenset(("translate",)),
    )
)
register(
    Architecture(
        "classifier",
        "a classifier",
        Classifier,
        ClassifierConfig,
        command="classify train",
        parameters=_parameters_of_body,
        begin=_classifier,
        commands=frozenset(("classify predict",)),
        read_config=partial(_config_with_body, ClassifierConfig, "classify"),
        settings_of=_settings_with_body,
    )
)
register(
    Architecture(
        "reward-model",
        "a reward model",
        RewardModel,
        RewardModelConfig,
        command="reward train",
        parameters=_parameters_of_body,
        begin=_reward_model,
        commands=frozenset(("reward score",)),
        read_config=partial(_config_with_body, RewardModelConfig, "reward"),
        settings_of=_settings_with_body,
    )
)
