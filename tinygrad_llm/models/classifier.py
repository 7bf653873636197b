"""A text classifier: a new head on the body of a pretrained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_choice
from tinygrad_llm.errors import ConfigError, IdRangeError, ShapeError
from tinygrad_llm.nn import Linear, Module
from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.settings import Settings, setting
from tinygrad_llm.tensor import Tensor

POOLINGS = ("last", "first", "mean", "padded_last")
TRAINABLE = ("head", "last_block", "all")


@dataclass(frozen=True)
class ClassifierConfig(Settings):
    """The parts of a classifier: the config of its body, the names of the classes, and the rest as in `Classifier`."""

    body: Any = setting(help="the config of the body")
    labels: tuple[str, ...] = setting(help="the names of the classes")
    pooling: str = setting("last", "what the head reads", choices=POOLINGS)
    causal: bool = setting(True, "each token sees only the tokens before it")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.causal and getattr(self.body, "window", None) is not None:
            raise self.refusal("{causal} must be true for a body with a window, which covers past tokens only", "False")
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise self.refusal("{labels} must be at least two different names", str(list(self.labels)))


class Classifier(Module):
    """Token ids to the logits of classes: the body's hidden states, pooled into one vector, then a linear head.

    `body` is a model with `hidden(ids, mask=...)`, blocks and a head, such as a GPT, a Llama or a BERT. It is changed
    in place, not copied: its head is replaced by a linear layer to the `labels`. `pooling` chooses the input of the new
    head, by default the last token, and the first one where attention is not causal, as in a BERT:

    - "last": the last real token, the only one that attends to the whole text if attention is causal;
    - "first": the first token, for attention that is not causal; through the pooler, if the body has one;
    - "mean": the mean over the real tokens;
    - "padded_last": the last position, padding or not, as in the book; padding is then read as text.

    With `causal=False` all tokens attend to the whole text (not the padding), as a BERT's do. `trainable` as in
    `train_only`.

    Shapes: ids (B, T), lengths (B,), the number of real tokens, T unless given -> logits (B, num_classes)
    Raises: ConfigError for an unknown pooling or part, or labels that are not at least two different names
    """

    body: Any

    def __init__(
        self,
        body: Any,
        labels: Sequence[str],
        pooling: str | None = None,
        trainable: str = "last_block",
        causal: bool | None = None,
    ) -> None:
        was_causal = bool(body.blocks[0].attention.causal)
        pooling = ("last" if was_causal else "first") if pooling is None else pooling
        causal = was_causal if causal is None else causal
        if causal and not was_causal:
            raise ConfigError(
                f"Classifier: causal must be False with a {type(body).__name__}, whose tokens attend to the "
                "whole text; got True"
            )
        if getattr(body.config, "masked_word_head", False):  # the pretraining heads of a BERT
            body.config, body.next_sentence = dataclasses.replace(body.config, masked_word_head=False), None
        self.config = ClassifierConfig(body.config, tuple(labels), pooling, causal)
        self.body = body
        dtype = body.token_embedding.weight.dtype
        body.head = Linear(body.config.embedding_dim, len(self.config.labels)).to(dtype)
        for block in body.blocks:
            block.attention.causal = causal
        self.train_only(trainable)

    def train_only(self, trainable: str) -> None:
        """Unfreeze a part and freeze the rest: "head"; "last_block", which includes the final norm and the head, as in
        the book; or "all". Raises: ConfigError for another part
        """
        expect_choice("Classifier", "trainable", trainable, TRAINABLE)
        self.requires_grad_(trainable == "all")
        self.body.head.requires_grad_()
        if trainable == "last_block":
            self.body.blocks[-1].requires_grad_()
            for name in ("final_norm", "pooler"):  # those that the body has
                if getattr(self.body, name, None) is not None:
                    getattr(self.body, name).requires_grad_()

    def forward(self, ids: Any, lengths: Any = None) -> Tensor:
        """The logits of the classes. Shapes: ids (B, T), lengths (B,) -> (B, num_classes)"""
        ids = np.asarray(ids)
        if ids.ndim != 2:
            raise ShapeError(f"Classifier: ids must be (B, T); got {ids.shape}")
        pooling = self.config.pooling
        if pooling == "padded_last":
            return self.body.head(self.body.hidden(ids)[:, -1])
        lengths = checked_lengths("Classifier", ids, lengths)
        ids = ids[:, : lengths.max(initial=1)]  # columns that are padding in every row are dropped
        real = np.arange(ids.shape[1]) < lengths[:, None]
        # Padding is on the right, so in a causal model no real token attends to it.
        mask = None if self.config.causal or real.all() else real[:, None, None, :]
        hidden = self.body.hidden(ids, mask=mask)
        if pooling == "last":
            return self.body.head(hidden[np.arange(len(ids)), lengths - 1])
        if pooling == "first":
            has_pooler = getattr(self.body, "pooler", None) is not None
            return self.body.head(self.body.pooled(hidden) if has_pooler else hidden[:, 0])
        weights = (real / lengths[:, None]).astype(hidden.dtype)
        return self.body.head((hidden * weights[:, :, None]).sum(axis=1))

    def loss(self, ids: Any, classes: Any, lengths: Any = None) -> Tensor:
        """The mean cross-entropy of `classes`. Units: nats per text. Shapes: ids (B, T), classes, lengths (B,) -> ()"""
        return cross_entropy(self(ids, lengths), classes)


def checked_lengths(owner: str, ids: Array, lengths: Any) -> Array:
    """The number of real tokens in each row of `ids`: all of them where `lengths` is None.

    Shapes: ids (B, T), lengths (B,) -> (B,)
    Raises: ShapeError, IdRangeError
    """
    if lengths is None:
        return np.full(len(ids), ids.shape[1])
    lengths = np.asarray(lengths)
    if lengths.shape != ids.shape[:1]:
        raise ShapeError(f"{owner}: lengths must be {ids.shape[:1]} to match ids; got {lengths.shape}")
    if lengths.size and not 1 <= lengths.min() <= lengths.max() <= ids.shape[1]:
        raise IdRangeError(f"{owner}: lengths must be in [1, {ids.shape[1]}]; got {lengths.min()} to {lengths.max()}")
    return lengths
