"""Measurement: the speed and memory of a training step, where its time goes, and how its cost grows."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_names

if TYPE_CHECKING:
    from tinygrad_llm.measure.benchmark import Benchmark, measure
    from tinygrad_llm.measure.data_scaling import measure_texts
    from tinygrad_llm.measure.scaling import measure_growth
    from tinygrad_llm.measure.timing import Times, time
    from tinygrad_llm.measure.training_step import PRESETS, Workload

__all__ = ["PRESETS", "Benchmark", "Times", "Workload", "measure", "measure_growth", "measure_texts", "time"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tinygrad_llm.measure.benchmark": ("Benchmark", "measure"),
        "tinygrad_llm.measure.data_scaling": ("measure_texts",),
        "tinygrad_llm.measure.peak_memory": (),
        "tinygrad_llm.measure.products_alone": (),
        "tinygrad_llm.measure.scaling": ("measure_growth",),
        "tinygrad_llm.measure.timing": ("Times", "time"),
        "tinygrad_llm.measure.training_step": ("PRESETS", "Workload"),
    },
)
