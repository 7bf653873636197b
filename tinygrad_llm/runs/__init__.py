"""Runs: the run folder, and the one life cycle of a run: begin, resume, refuse, interrupt, report."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.runs.encoding import EncodedText, encode_once
    from tinygrad_llm.runs.open_model import load
    from tinygrad_llm.runs.progress import ProgressLog
    from tinygrad_llm.runs.run_folder import RunFolder
    from tinygrad_llm.runs.status_line import StatusLine, duration

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = ["EncodedText", "ProgressLog", "RunFolder", "StatusLine", "duration", "encode_once", "load"]
