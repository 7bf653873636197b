"""Verification: gradients checked against measured slopes, checks of a whole GPT, and a lab of deliberate faults."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.verify.checks import CHECKS, run_check
    from tinygrad_llm.verify.faults import FAULTS, Fault
    from tinygrad_llm.verify.proof import Proof, prove

__all__ = ["CHECKS", "FAULTS", "Fault", "Proof", "prove", "run_check"]

__getattr__, __dir__ = lazy_imports(__name__)
