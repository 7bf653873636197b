"""The whole road from a text to an assistant as a plan over ordinary runs, in given minutes, and its report card."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.speedrun.journal import Journal, SpeedrunSettings
    from tinygrad_llm.speedrun.report import report_of
    from tinygrad_llm.speedrun.road import Road

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = ["Journal", "Road", "SpeedrunSettings", "report_of"]
