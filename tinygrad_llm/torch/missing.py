"""What is said about a word of PyTorch that is missing here: the nearest ones that are not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

HINTS = {
    "compile": "run the model as it is; NumPy needs no compiler",
    "distributed": "see `tinygrad_llm.train` for training with several processes",
    "jit": "run the model as it is; NumPy needs no compiler",
    "TransformerEncoderLayer": "see tinygrad_llm.models",
    "register_hook": "see tinygrad_llm.study.record and tinygrad_llm.study.edit",
    "rnn": "recurrent networks are not here; torch.nn.functional.pad brings sequences to one length",
    "OneCycleLR": "see tinygrad_llm.optim.one_cycle",
    "DistributedSampler": "see tinygrad_llm.train for training with several processes",
    "MultiheadAttention": "see tinygrad_llm.nn.MultiHeadAttention",
}


def missing_word(owner: str, name: str, known: Iterable[str]) -> str:
    """The message of the AttributeError for `owner.name`."""
    public = [one for one in known if not one.startswith("_")]
    near = difflib.get_close_matches(name, public, n=3, cutoff=0.6)
    hint = HINTS.get(name) or (f"the nearest is {' or '.join(near)}" if near else f"dir({owner}) lists what is here")
    return f"{owner} of tinygrad_llm has no {name!r}; {hint}"
