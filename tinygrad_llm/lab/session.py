"""A session of the lab: a model, perhaps in training, and everything that looks can be at.

A look names its moment: "live", "main@50" (a step of a branch), "twin@50", or "model:NAME" (another model).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.backward import Recording
from tinygrad_llm.lab.beginnings import Beginning
from tinygrad_llm.lab.merges import Merging, merging_of
from tinygrad_llm.lab.saving import Seen
from tinygrad_llm.lab.timeline import Branch, Timeline
from tinygrad_llm.lab.training_session import LIVE, NotPossible, TrainingSession
from tinygrad_llm.lab.views import View
from tinygrad_llm.text.corpora import PYTHON_DOCS, load_text
from tinygrad_llm.verify.fault import Fault

TWIN, OTHER_MODEL = "twin", "model:"
LEARNED_FROM = 200_000  # characters, for a byte pair encoding where the model has none
MOST_REPLAYED = 200  # steps that a look may take again


class Session(TrainingSession):
    """See the module. `models` are others to compare with: each name's function opens a model and its tokenizer.

    All methods but `ask` are called on the owner's thread.
    """

    def __init__(self, beginning: Beginning, models: dict[str, Callable[[], tuple[Any, Any]]] | None = None) -> None:
        super().__init__(beginning)
        self.models = {} if models is None else models
        self.save_to: Path | None = None  # the file of the static page
        self.keep_in: tuple[Path, Path] | None = None  # the run that is trained further, and its checkpoint
        self.seen = Seen()
        self._recording: tuple[tuple[str, str], Recording] | None = None  # the last, by moment and prompt
        self._merging: Merging | None = None
        self._opened: tuple[str, Any, Any] | None = None  # the last of `models` that was opened

    def begin_twin(self, fault: Fault | None, is_hidden: bool = False) -> None:
        """As for every session. What was recorded of the twin before belongs to another model."""
        self._recording = None
        super().begin_twin(fault, is_hidden)

    def view(self, at: str, take_the_step: bool = False) -> View:
        """The model that `at` names; with `take_the_step`, with the gradients of the step that led there.

        Raises: ConfigError for a name that there is not, NotPossible for a step that is too far away
        """
        if at.startswith(OTHER_MODEL):
            return self._other_model(at.removeprefix(OTHER_MODEL))
        if self.main is None and at == LIVE:
            return View(LIVE, None, self.beginning.model, self.beginning.tokenizer)
        timeline, branch, number = self.place(at)
        far = number - timeline.nearest_step(branch, number)
        if far > MOST_REPLAYED:
            raise NotPossible(f"{at} is {far} steps from the nearest snapshot; go there first")
        moment = timeline.moment(branch, number, take_the_step)
        label = moment.label if timeline is self.main else f"{TWIN}@{number}"
        return View(
            label,
            number,
            moment.trainer.model,
            self.beginning.tokenizer,
            moment.optimizer,
            moment.optimizer.gradients if take_the_step else {},
            timeline.mistaken,
            moment.batch,
        )

    def place(self, at: str) -> tuple[Timeline, Branch, int]:
        """The timeline, branch and step that `at` names. Raises: ConfigError, NotPossible"""
        name, _, step = at.partition("@")
        if name == TWIN:
            if self.twin is None:
                raise NotPossible("there is no twin: begin one first")
            timeline = self.twin.timeline
            branch = timeline.branch
        else:
            timeline = self.training()
            branch = timeline.branch if at == LIVE else self.branch(name)
        if step and not (step.isascii() and step.isdigit() and len(step) < 10):
            raise ConfigError(f"at: a step is a number, as in main@50; got {at[:100]!r}")
        if not step:
            return timeline, branch, timeline.step if branch is timeline.branch else timeline.last_step(branch)
        if int(step) < timeline.first_step:
            raise ConfigError(f"at: steps begin at {timeline.first_step}; got {at[:100]!r}")
        return timeline, branch, int(step)

    def recording(self, at: str, prompt: str) -> Recording:
        """The forward and backward of a prompt, on a tape; the last one is kept. Raises: as `view`, and ConfigError"""
        view = self.view(at)
        key = view.label, prompt
        if self._recording is None or self._recording[0] != key:
            self._recording = None  # its memory is free before the next is made
            self._recording = key, Recording.of(view, prompt)
        return self._recording[1].seen_from(view)

    def merging(self) -> Merging:
        """The merges of the model's tokenizer, or of one learned from the text."""
        if self._merging is None:
            text = self.beginning.text
            self._merging = merging_of(
                self.beginning.tokenizer, load_text(PYTHON_DOCS)[:LEARNED_FROM] if text is None else text().beginning
            )
        return self._merging

    def _other_model(self, name: str) -> View:
        if name not in self.models:
            raise ConfigError(f"the models to compare with are {', '.join(self.models) or 'none'}; got {name[:100]!r}")
        if self._opened is None or self._opened[0] != name:
            self._opened = None  # its memory is free before the next is read
            self._opened = (name, *self.models[name]())
        return View(f"{OTHER_MODEL}{name}", None, self._opened[1], self._opened[2])
