"""A classifier: a new head on the body of a pretrained GPT, Llama or BERT."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import models
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_choice
from tinygrad_llm.errors import ConfigError, IdRangeError, ShapeError
from tinygrad_llm.models.config import ModelConfig
from tinygrad_llm.nn import Linear, Module
from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_llm.models.bert import Bert
    from tinygrad_llm.models.language_model import LanguageModel

POOLINGS = ("last", "first", "mean", "padded_last")
TRAINABLE = ("head", "last_block", "all")
# The models that can be a body: their `model_type`, and the names of class and config in `tinygrad_llm.models`.
BODIES = {"gpt": ("GPT", "GPTConfig"), "llama": ("Llama", "LlamaConfig"), "bert": ("Bert", "BertConfig")}


@dataclass(frozen=True)
class ClassifierConfig:
    """The config of the body, its `model_type`, the names of the classes, and the options of `Classifier`.

    Raises: ConfigError naming the setting that does not fit
    """

    body: ModelConfig
    labels: tuple[str, ...]
    pooling: str = "last"
    causal: bool = True
    body_type: str = "gpt"

    def __post_init__(self) -> None:
        expect_choice("Classifier", "the type of the body", self.body_type, BODIES)
        if self.body_type == "bert" and self.causal:
            raise ConfigError(
                "Classifier: causal must be False with a BERT, whose tokens attend to the whole text; got True"
            )
        if not self.causal and getattr(self.body, "window", None) is not None:
            raise ConfigError("Classifier: causal must be True with a window, which covers past tokens only; got False")
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"Classifier: labels must be at least two different names; got {list(self.labels)}")
        expect_choice("Classifier", "pooling", self.pooling, POOLINGS)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> ClassifierConfig:
        """The config with these settings. Raises: ConfigError for a setting that is missing or unknown"""
        try:
            config_class = getattr(models, BODIES[settings.get("body_type", "gpt")][1])
            return cls(
                **{**settings, "body": config_class.from_dict(settings["body"]), "labels": tuple(settings["labels"])}
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"ClassifierConfig: needs body, body_type ({', '.join(BODIES)}), labels, pooling and causal; {error}"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """The settings as a JSON file holds them."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}


class Classifier(Module):
    """Token ids to the logits of classes: the body's hidden states, pooled into one vector, then a linear head.

    `body` is changed in place, not copied: its language head is replaced by a linear layer to the `labels`. `pooling`
    chooses the input of the head, by default the last token, and the first one in a BERT:

    - "last": the last real token, the only one that attends to the whole text if attention is causal;
    - "first": the first token, for attention that is not causal; through the pooler, if a BERT has one;
    - "mean": the mean over the real tokens;
    - "padded_last": the last position, padding or not, as in the book; padding is then read as text.

    With `causal=False` the tokens of a GPT or Llama attend to the whole text (not the padding), as a BERT's do.
    `trainable` as in `train_only`.

    Shapes: ids (B, T), lengths (B,), the number of real tokens, T unless given -> logits (B, num_classes)
    Raises: ConfigError for an unknown pooling, part or body, or labels that are not at least two different names
    """

    body: Any

    def __init__(
        self,
        body: LanguageModel | Bert,
        labels: Sequence[str],
        pooling: str | None = None,
        trainable: str = "last_block",
        causal: bool | None = None,
    ) -> None:
        is_bert, self.body = body.model_type == "bert", body
        pooling = ("first" if is_bert else "last") if pooling is None else pooling
        causal = not is_bert if causal is None else causal
        self.config = ClassifierConfig(body.config, tuple(labels), pooling, causal, body.model_type)
        if is_bert:  # the heads of pretraining are removed
            self.body.next_sentence = None
            self.body.config = dataclasses.replace(body.config, masked_word_head=False)
            self.config = dataclasses.replace(self.config, body=body.config)
        dtype = body.token_embedding.weight.dtype
        self.body.head = Linear(body.config.embedding_dim, len(self.config.labels)).to(dtype)
        for block in body.blocks:
            block.attention.causal = causal
        self.train_only(trainable)

    @classmethod
    def from_config(cls, config: ClassifierConfig) -> Classifier:
        """A classifier on a new body, all of it trainable: the model that saved weights are loaded into."""
        body_class = getattr(models, BODIES[config.body_type][0])
        return cls(body_class(config.body), config.labels, config.pooling, "all", config.causal)

    def train_only(self, trainable: str) -> None:
        """Unfreeze a part and freeze the rest: "head"; "last_block", which includes the final norm and the head, as in
        the book; or "all". Raises: ConfigError for another part
        """
        expect_choice("Classifier", "trainable", trainable, TRAINABLE)
        self.requires_grad_(trainable == "all")
        self.body.head.requires_grad_()
        if trainable == "last_block":
            self.body.blocks[-1].requires_grad_()
            if self.config.body_type != "bert":  # a BERT's blocks end with a norm: it has no final one
                self.body.final_norm.requires_grad_()
            elif self.body.pooler is not None:
                self.body.pooler.requires_grad_()

    def forward(self, ids: Any, lengths: Any = None) -> Tensor:
        """The logits of the classes. Shapes: ids (B, T), lengths (B,) -> (B, num_classes)"""
        ids = np.asarray(ids)
        if ids.ndim != 2:
            raise ShapeError(f"Classifier: ids must be (B, T); got {ids.shape}")
        pooling = self.config.pooling
        if pooling == "padded_last":
            return self.body.head(self.body.hidden(ids)[:, -1])
        lengths = self._checked_lengths(ids, lengths)
        ids = ids[:, : lengths.max(initial=1)]  # columns that are padding in every row are dropped
        real = np.arange(ids.shape[1]) < lengths[:, None]
        # Padding is on the right, so in a causal model no real token attends to it.
        mask = None if self.config.causal or real.all() else real[:, None, None, :]
        hidden = self.body.hidden(ids, mask=mask)
        if pooling == "last":
            return self.body.head(hidden[np.arange(len(ids)), lengths - 1])
        if pooling == "first":
            has_pooler = self.config.body_type == "bert" and self.body.pooler is not None
            return self.body.head(self.body.pooled(hidden) if has_pooler else hidden[:, 0])
        weights = (real / lengths[:, None]).astype(hidden.dtype)
        return self.body.head((hidden * weights[:, :, None]).sum(axis=1))

    def _checked_lengths(self, ids: Array, lengths: Any) -> Array:
        if lengths is None:
            return np.full(len(ids), ids.shape[1])
        lengths = np.asarray(lengths)
        if lengths.shape != ids.shape[:1]:
            raise ShapeError(f"Classifier: lengths must be {ids.shape[:1]} to match ids; got {lengths.shape}")
        if lengths.size and not 1 <= lengths.min() <= lengths.max() <= ids.shape[1]:
            raise IdRangeError(
                f"Classifier: lengths must be in [1, {ids.shape[1]}]; got {lengths.min()} to {lengths.max()}"
            )
        return lengths

    def loss(self, ids: Any, classes: Any, lengths: Any = None) -> Tensor:
        """The mean cross-entropy of `classes`. Units: nats per text. Shapes: ids (B, T), classes, lengths (B,) -> ()"""
        return cross_entropy(self(ids, lengths), classes)
