"""A classifier: a new head on the body of a pretrained GPT, Llama or BERT."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.data.padding import Encoder, encode_whole, pad_right
from tinygrad_llm.errors import ConfigError, DataError, IdRangeError, ShapeError
from tinygrad_llm.finetune.metrics import ClassificationReport, confusion_matrix
from tinygrad_llm.models import GPT, MODELS, Bert, Llama
from tinygrad_llm.models.config import ModelConfig
from tinygrad_llm.nn import Linear, Module
from tinygrad_llm.ops import cross_entropy, softmax
from tinygrad_llm.tensor import Array, Tensor
from tinygrad_llm.train import evaluating

POOLINGS = ("last", "first", "mean", "padded_last")
TRAINABLE = ("head", "last_block", "all")
BODIES: dict[str, tuple[Any, Any]] = {name: MODELS[name] for name in ("gpt", "llama", "bert")}


@dataclass(frozen=True)
class ClassifierConfig:
    """What a classifier is made of: its body's shape, the names of the classes, and what `Classifier` explains."""

    body: ModelConfig
    labels: tuple[str, ...]
    pooling: str = "last"
    causal: bool = True
    body_type: str = "gpt"

    def __post_init__(self) -> None:
        if self.body_type not in BODIES:
            raise ConfigError(f"Classifier: the body must be one of {', '.join(BODIES)}; got {self.body_type!r}")
        if self.body_type == "bert" and self.causal:
            raise ConfigError("Classifier: a BERT's tokens see the whole text; got causal=True")
        if not self.causal and getattr(self.body, "window", None) is not None:
            raise ConfigError("Classifier: a window reaches into the past only; got causal=False")
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"Classifier: labels must be at least two different names; got {list(self.labels)}")
        if self.pooling not in POOLINGS:
            raise ConfigError(f"Classifier: pooling must be one of {', '.join(POOLINGS)}; got {self.pooling!r}")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> ClassifierConfig:
        """Raises ConfigError for a setting that is missing or does not exist."""
        try:
            config_class = BODIES[settings.get("body_type", "gpt")][1]
            return cls(
                **{**settings, "body": config_class.from_dict(settings["body"]), "labels": tuple(settings["labels"])}
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"ClassifierConfig: needs body, body_type ({', '.join(BODIES)}), labels, pooling and causal; {error}"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "labels": list(self.labels)}


class Classifier(Module):
    """Token ids to the logits of classes: the body's hidden states, pooled into one vector, then a linear head.

    `body` is taken over, not copied: its language head gives way to one of `labels`. `pooling` says what the head
    reads, by default the last token, but the first of a BERT:

    - "last": the last real token, the only one that has seen the whole text where attention is causal;
    - "first": the first token, worth having where it is not; through the pooler, if a BERT has one;
    - "mean": the mean over the real tokens;
    - "padded_last": the last position, padding or not, as the book has it; padding then counts as text.

    `causal=False` lets every token of a GPT or Llama see the whole text (not the padding), as a BERT's do. `trainable`
    as in `train_only`.

    Shapes: ids (B, T), lengths (B,), the count of real tokens, T for each unless given -> logits (B, num_classes)
    Raises: ConfigError for an unknown pooling or part, or labels that are not two different names
    """

    def __init__(
        self,
        body: GPT | Llama | Bert,
        labels: Sequence[str],
        pooling: str | None = None,
        trainable: str = "last_block",
        causal: bool | None = None,
    ) -> None:
        is_bert = isinstance(body, Bert)
        pooling = ("first" if is_bert else "last") if pooling is None else pooling
        causal = not is_bert if causal is None else causal
        body_type = next(name for name, (kind, _) in BODIES.items() if isinstance(body, kind))
        self.config = ClassifierConfig(body.config, tuple(labels), pooling, causal, body_type)
        if isinstance(body, Bert):  # what guesses words and sentences goes
            body.config, body.next_sentence = dataclasses.replace(body.config, masked_word_head=False), None
            self.config = dataclasses.replace(self.config, body=body.config)
        self.body: Any = body
        dtype = body.token_embedding.weight.dtype
        body.head = Linear(body.config.embedding_dim, len(self.config.labels)).to(dtype)
        for block in body.blocks:
            block.attention.causal = causal
        self.train_only(trainable)

    @classmethod
    def from_config(cls, config: ClassifierConfig) -> Classifier:
        """A classifier on a body without pretraining, all of it trainable: what saved weights are loaded into."""
        body_class = BODIES[config.body_type][0]
        return cls(body_class(config.body), config.labels, config.pooling, "all", config.causal)

    def train_only(self, trainable: str) -> None:
        """Unfreeze a part and freeze the rest: "head"; "last_block" with the final norm and the head, as in the book;
        or "all"."""
        if trainable not in TRAINABLE:
            raise ConfigError(f"Classifier: trainable must be one of {', '.join(TRAINABLE)}; got {trainable!r}")
        self.requires_grad_(trainable == "all")
        self.body.head.requires_grad_()
        if trainable == "last_block":
            self.body.blocks[-1].requires_grad_()
            if self.config.body_type != "bert":  # whose blocks end with a norm of their own
                self.body.final_norm.requires_grad_()
            elif self.body.pooler is not None:
                self.body.pooler.requires_grad_()

    def forward(self, ids: Any, lengths: Any = None) -> Tensor:
        ids = np.asarray(ids)
        if ids.ndim != 2:
            raise ShapeError(f"Classifier: ids must be (B, T); got {ids.shape}")
        pooling = self.config.pooling
        if pooling == "padded_last":
            return self.body.head(self.body.hidden(ids)[:, -1])
        lengths = self._checked_lengths(ids, lengths)
        ids = ids[:, : lengths.max(initial=1)]  # what is padding in every row costs nothing
        real = np.arange(ids.shape[1]) < lengths[:, None]
        # Padding stands on the right, so a causal model never sees it from a real token.
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
        """The mean cross-entropy of `classes` (B,). Units: nats per text."""
        return cross_entropy(self(ids, lengths), classes)


# So that a run folder of a classifier loads like any other.
MODELS["classifier"] = (Classifier.from_config, ClassifierConfig)


def classification_loss(model: Any, batch: Any) -> Tensor:
    """The loss that a `Trainer` asks for on batches (ids, classes, lengths). Units: nats per text."""
    return model.loss(*batch)


def evaluate_classifier(model: Classifier, batches: Iterable[Any]) -> ClassificationReport:
    """Loss, confusion matrix and what follows from it on batches (ids, classes, lengths) of one split.

    Raises: DataError where there are no batches
    """
    total, true, predicted = 0.0, [], []
    with evaluating(model):
        for ids, classes, lengths in batches:
            logits = model(ids, lengths)
            total += cross_entropy(logits, classes, reduction="sum").item()
            true.append(np.asarray(classes))
            predicted.append(logits.data.argmax(axis=-1))
    if not true:
        raise DataError("evaluate_classifier: at least one batch is needed; got none")
    confusion = confusion_matrix(np.concatenate(true), np.concatenate(predicted), len(model.config.labels))
    return ClassificationReport(total / int(confusion.sum()), confusion)


def classify(
    model: Classifier,
    tokenizer: Encoder,
    texts: Sequence[str],
    max_length: int | None = None,
    pad_id: int = 0,
    batch_size: int = 32,
) -> Array:
    """The probability of each class for each text, cut after `max_length` tokens (by default the context's length).

    Shapes: N texts -> (N, num_classes)
    Raises: DataError for a text of no tokens
    """
    longest = model.body.config.context_length if max_length is None else max_length
    rows = [encode_whole(tokenizer, text, longest) for text in texts]
    for text, row in zip(texts, rows, strict=True):
        if not row:
            raise DataError(f"classify: a text must have at least one token; {text!r} has none")
    by_length = sorted(range(len(rows)), key=lambda place: len(rows[place]))  # little padding in each batch
    probabilities = np.empty((len(rows), len(model.config.labels)), model.body.head.weight.dtype)
    with evaluating(model):
        for start in range(0, len(rows), batch_size):
            places = by_length[start : start + batch_size]
            lengths = np.array([len(rows[place]) for place in places])
            ids = pad_right([rows[place] for place in places], int(lengths.max()), pad_id)
            probabilities[places] = softmax(model(ids, lengths)).data
    return probabilities
