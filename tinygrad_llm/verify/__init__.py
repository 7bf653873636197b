"""Verification: gradients checked against measured slopes, checks of a whole GPT, and a lab of deliberate faults."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_names

if TYPE_CHECKING:
    from tinygrad_llm.verify.checks import CHECKS, run_check
    from tinygrad_llm.verify.faults import FAULTS, Fault
    from tinygrad_llm.verify.proof import Proof, prove

__all__ = ["CHECKS", "FAULTS", "Fault", "Proof", "prove", "run_check"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tinygrad_llm.verify.checks": ("CHECKS", "run_check"),
        "tinygrad_llm.verify.fault_curves": (),
        "tinygrad_llm.verify.faults": ("FAULTS", "Fault"),
        "tinygrad_llm.verify.model_cases": (),
        "tinygrad_llm.verify.op_cases": (),
        "tinygrad_llm.verify.primitive_cases": (),
        "tinygrad_llm.verify.proof": ("Proof", "prove"),
    },
)
