"""What the page asks for first: what this lab is, and where it stands."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.watching import layers_of
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.verify.faults import FAULTS


def status(session: Session) -> dict[str, Any]:
    """All constant parts of the session, and `session.position()`. Units: losses in nats per token; bytes"""
    beginning, timeline = session.beginning, session.main
    model: Any = beginning.model if timeline is None else timeline.trainer.model
    text = None if timeline is None or beginning.text is None else beginning.text()
    settings = None if timeline is None else timeline.trainer.settings
    return {
        "title": beginning.title,
        "model": {
            "kind": type(model).__name__,
            "parameters": model.num_parameters(),
            "settings": model.config.to_dict(),
        },
        "tokenizer": {"kind": beginning.tokenizer.kind, "size": beginning.tokenizer.vocab_size},
        "canTrain": beginning.start is not None,
        "whyNot": "" if beginning.start is not None else beginning.why_not,
        "isChat": beginning.chat is not None,
        "isNew": beginning.starts_at_once,  # random weights at step 0, which the tour needs
        "lines": {
            "lnV": math.log(beginning.tokenizer.vocab_size),
            "unigram": None if text is None else text.unigram_entropy,
        },
        "evaluateEvery": None if settings is None else settings.eval_interval,
        "batch": None if settings is None else {"rows": settings.batch_size, "tokens": model.config.context_length},
        "layers": list(layers_of(model)),
        "heads": head_counts(model),
        "context": model.config.context_length,
        "parameters": [{"name": name, "shape": list(p.shape)} for name, p in model.named_parameters()],
        "prompt": beginning.prompt,
        "faults": [
            {
                "name": fault.name,
                "story": fault.story,
                "wrong": fault.wrong,
                "right": fault.right,
                "hints": list(fault.hints),
                "caughtBy": fault.caught_by,
            }
            for fault in FAULTS.values()
        ],
        "models": [{"name": name, "label": name} for name in session.models],
        "canSave": session.save_to is not None,
        **session.position(),
    }


def head_counts(model: LanguageModel) -> list[int]:
    """The number of attention heads of each layer."""
    return [int(block.attention.num_heads) for block in model.blocks]
