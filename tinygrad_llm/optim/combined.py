"""Several optimizers as one: each updates its own parameter groups."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.optim.optimizer import Optimizer


class CombinedOptimizer(Optimizer):
    """The groups of `parts`, in their order, as one optimizer with one state, which a loop steps and saves like any.

        CombinedOptimizer(Muon(matrices), AdamW(others))

    `rules` has for each group the part that updates it. A group that is added later gets the last part.

    Raises: ConfigError for parts that are not optimizers without a step so far, or a parameter in two of them
    """

    def __init__(self, *parts: Optimizer) -> None:
        if not parts or any(not isinstance(part, Optimizer) or part.state for part in parts):
            got = ", ".join(type(part).__name__ for part in parts) or "none"
            raise ConfigError(f"CombinedOptimizer: parts must be optimizers that have taken no step yet; got {got}")
        self.parts, self.rules = parts, list[Optimizer]()
        groups = [(part, _as_added(group)) for part in parts for group in part.param_groups]
        self._next_rules = iter([part for part, _ in groups])
        super().__init__([group for _, group in groups], {})
        self.kind = " and ".join(part.kind for part in parts)
        self.state_arrays = tuple(dict.fromkeys(name for part in parts for name in part.state_arrays))  # type: ignore[misc]

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        rule = next(self._next_rules, self.parts[-1])
        rule.param_groups = list(self.param_groups)  # no parameter may be in two of them
        rule.add_param_group(group)
        self.param_groups.append(rule.param_groups[-1])
        self.rules.append(rule)

    def __copy__(self) -> CombinedOptimizer:
        """A copy has parts of its own: state and groups that it is given do not reach those of the original."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        copies = {part: copy.copy(part) for part in self.parts}
        other.parts, other.rules = tuple(copies.values()), [copies[rule] for rule in self.rules]
        return other

    def step(self) -> None:
        self._updates()  # all are checked before a part changes any
        for part in self.parts:
            part.param_groups = [
                group for rule, group in zip(self.rules, self.param_groups, strict=True) if rule is part
            ]
            part.state = self.state
            part.step()


def rules_of(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizer that updates each group: one of the parts of a combined one, else the optimizer itself."""
    return optimizer.rules if isinstance(optimizer, CombinedOptimizer) else [optimizer] * len(optimizer.param_groups)


def _as_added(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group as `add_param_group` takes it, with the names of its parameters."""
    own = {name: value for name, value in group.items() if name != "param_names"}
    names = group.get("param_names")
    return {**own, "params": list(zip(names, group["params"], strict=True)) if names else group["params"]}
