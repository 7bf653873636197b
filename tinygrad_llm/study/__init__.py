"""Looking inside a model: its activations and gradients by name, its operations one by one, what each part costs."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.measure.timing import Times, time
    from tinygrad_llm.study.activations import Activations, activation_names, cache, edit, mean, patch, zero
    from tinygrad_llm.study.alignment import Alignment, align
    from tinygrad_llm.study.counting import Flops, Memory, flops, memory
    from tinygrad_llm.study.tape import Tape, record

__all__ = ["Activations", "Alignment", "Flops", "Memory", "Tape", "Times", "activation_names", "align", "cache", "edit"]
__all__ += ["flops", "mean", "memory", "patch", "record", "time", "zero"]

__getattr__, __dir__ = lazy_imports(__name__)
