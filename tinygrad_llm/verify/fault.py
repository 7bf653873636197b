"""A fault: a classic mistake that can be switched on in the package's own code for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from tinygrad_llm.ops.dispatch import intercept
from tinygrad_llm.tensor import Tensor

# A faulty op: called with the op itself and the arguments of the call.
FaultyOp: TypeAlias = "Callable[..., Tensor]"


class Patch(NamedTuple):
    """Replaces `owner.attribute` by `value`: for mistakes outside of the ops, for example in a method of a layer."""

    owner: Any
    attribute: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mistake: its name, a description, the wrong and the right line of code, and hints for the hunt.

    `ops` maps the name of an op to what runs in its place; `patches` are for mistakes outside of the ops. `caught_by`
    is the check of `verify.checks` that is meant to find it.
    """

    name: str
    caught_by: str
    story: str
    wrong: str
    right: str
    hints: tuple[str, ...]
    ops: Mapping[str, FaultyOp] = field(default_factory=dict)
    patches: tuple[Patch, ...] = ()

    @contextmanager
    def on(self) -> Iterator[None]:
        """Make this mistake inside the block: in the ops of this thread, and in patched methods for every thread."""
        with ExitStack() as undo:
            undo.enter_context(intercept(self._run_op))
            for patch in self.patches:
                undo.callback(setattr, patch.owner, patch.attribute, vars(patch.owner)[patch.attribute])
                setattr(*patch)
            yield

    def _run_op(self, op_name: str, op: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        faulty = self.ops.get(op_name)
        return op(*args, **kwargs) if faulty is None else faulty(op, *args, **kwargs)
