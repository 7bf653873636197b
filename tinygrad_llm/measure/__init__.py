"""Measurement: the speed and memory of a training step, where its time goes, and how its cost grows."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.measure.benchmark import Benchmark, measure
    from tinygrad_llm.measure.data_scaling import measure_texts
    from tinygrad_llm.measure.scaling import measure_growth
    from tinygrad_llm.measure.timing import Times, time
    from tinygrad_llm.measure.training_step import PRESETS, Workload

__all__ = ["PRESETS", "Benchmark", "Times", "Workload", "measure", "measure_growth", "measure_texts", "time"]

__getattr__, __dir__ = lazy_imports(__name__)
