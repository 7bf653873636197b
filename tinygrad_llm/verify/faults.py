"""The catalogue of the fault lab: classic mistakes in a GPT and its training, by name.

with FAULTS["mask-forgotten"].on():
    ...                               # inside the block, the package makes this mistake
"""

from __future__ import annotations

from tinygrad_llm.verify.attention_faults import ATTENTION_FAULTS
from tinygrad_llm.verify.backward_faults import BACKWARD_FAULTS
from tinygrad_llm.verify.fault import Fault
from tinygrad_llm.verify.layer_faults import LAYER_FAULTS
from tinygrad_llm.verify.training_faults import TRAINING_FAULTS

__all__ = ["FAULTS", "Fault"]

FAULTS: dict[str, Fault] = {
    fault.name: fault for fault in (*ATTENTION_FAULTS, *LAYER_FAULTS, *BACKWARD_FAULTS, *TRAINING_FAULTS)
}
