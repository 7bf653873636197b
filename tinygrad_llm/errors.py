"""Every error this package raises on purpose, under one base class.

A message states the invariant, what came instead, and the fix:

    layer_norm: weight must be (768,) to match x (8, 256, 768); got (512,)

Each class also inherits the built-in exception that Python programmers expect in its place, so `except ValueError`
keeps working for people who do not know this module.
"""


class TinygradLLMError(Exception):
    """The base class: `except TinygradLLMError` catches whatever this package raises on purpose."""


class ShapeError(TinygradLLMError, ValueError):
    """Arrays whose shapes do not fit each other or the operation."""


class DTypeError(TinygradLLMError, TypeError):
    """An array of the wrong kind of number, such as float ids or integer parameters."""


class IdRangeError(TinygradLLMError, IndexError):
    """A token id, class target or index outside its range."""


class GraphError(TinygradLLMError, RuntimeError):
    """A computation graph used in a way that would give wrong gradients."""


class AnomalyError(TinygradLLMError, ArithmeticError):
    """A number that went wrong: NaN, infinity, or an array changed behind the graph's back."""


class GradcheckError(TinygradLLMError, AssertionError):
    """A hand-written gradient that disagrees with the numerical one."""


class CheckError(TinygradLLMError, AssertionError):
    """A property that a check of `tinygrad_llm.testing` found not to hold."""


class ConfigError(TinygradLLMError, ValueError):
    """A setting outside its allowed range, or settings that exclude each other."""


class StateDictError(TinygradLLMError, RuntimeError):
    """A state dict whose names or shapes do not fit the module."""


class DataError(TinygradLLMError, ValueError):
    """Input text or records that cannot be used: missing, empty, not UTF-8, or the wrong columns."""


class FormatError(TinygradLLMError, ValueError):
    """A file that is not what its format promises."""


class TokenizerError(TinygradLLMError, ValueError):
    """Text or ids that a tokenizer cannot translate, or a vocabulary that is not one."""


class CheckpointError(TinygradLLMError, RuntimeError):
    """A run folder that cannot be opened, verified or written."""


class WorkerError(TinygradLLMError, RuntimeError):
    """A worker process of a training that was killed, or failed."""


class DownloadError(TinygradLLMError, OSError):
    """A file that could not be fetched, or came with the wrong size or hash."""


class MissingPackageError(TinygradLLMError, ImportError):
    """An optional package (matplotlib, mpi4py) that is needed here and not installed."""
