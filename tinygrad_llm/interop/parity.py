"""Comparing a model's logits with those of transformers, if it is installed."""

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm.errors import MissingPackageError
from tinygrad_llm.graph import no_grad
from tinygrad_llm.models import Bert, LanguageModel
from tinygrad_llm.random import Generator
from tinygrad_llm.tensor import Tensor

ROWS, MAX_LENGTH = 2, 64  # enough to use every weight except late positions; takes seconds


def can_compare() -> bool:
    """Whether PyTorch and transformers are installed. They are not imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def logit_difference(model: LanguageModel | Bert, folder: str | os.PathLike[str]) -> float:
    """The largest difference between the logits of `model` and those of transformers for the model in `folder`, divided
    by the largest logit.

    The ids are random. float32 models agree to about 1e-6, float64 models to 1e-15. For a BERT without a head the
    hidden states are compared.

    Raises: MissingPackageError if PyTorch or transformers is missing
    """
    if not can_compare():
        raise MissingPackageError(
            "comparing with transformers needs PyTorch and transformers; install them: pip install torch transformers"
        )
    # Imported here because they are not dependencies of this package; only this comparison needs them.
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    length = min(model.config.context_length, MAX_LENGTH)
    ids = Generator(0).randint(0, model.config.vocab_size, (ROWS, length))
    kind = "AutoModelForMaskedLM" if isinstance(model, Bert) else "AutoModelForCausalLM"
    compute: Callable[[Any], Tensor] = model
    if isinstance(model, Bert) and model.head is None:
        kind, compute = "AutoModel", model.hidden
    other = getattr(transformers, kind).from_pretrained(os.fspath(folder), local_files_only=True).eval()
    with torch.no_grad():
        theirs = other(torch.tensor(ids))[0].numpy()
    training = model.training
    try:
        with no_grad():
            model.eval()
            ours = compute(ids).data
    finally:
        model.train(training)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
