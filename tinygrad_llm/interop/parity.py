"""Whether transformers, where it is installed, computes what we compute."""

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

ROWS, LONGEST = 2, 64  # tokens enough to meet every weight but late positions, and a matter of seconds


def can_compare() -> bool:
    """Whether PyTorch and transformers are installed. They are not imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def logit_difference(model: LanguageModel | Bert, folder: str | os.PathLike[str]) -> float:
    """The largest difference between `model`'s logits and those of transformers for the model in `folder`.

    Relative to the largest logit, on random ids; float32 models agree to about 1e-6, float64 to 1e-15. Of a BERT
    without a head the hidden states are compared.

    Raises: MissingPackageError where PyTorch or transformers is missing
    """
    if not can_compare():
        raise MissingPackageError("comparing with transformers needs it and PyTorch: pip install torch transformers")
    # Not `import`, because these are no dependencies of this package: only the check asks for them.
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    length = min(model.config.context_length, LONGEST)
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
