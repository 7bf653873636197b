"""The training of a lab: one thread owns it, plays and pauses it, and does what the page asks for between two steps.

`run()` is the life of the owner's thread. While the training plays, other work is done between two steps; while it is
paused, the thread waits for work inside a callback of the Trainer. All other methods are called on that thread, too:
`session.ask(lambda: session.play())`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np

from tinygrad_llm.errors import AnomalyError, ConfigError, TinygradLLMError
from tinygrad_llm.generate import Sampling, generate
from tinygrad_llm.generate.starting import ids_if_known
from tinygrad_llm.lab.beginnings import Beginning
from tinygrad_llm.lab.edits import Edit, Edits, text_of
from tinygrad_llm.lab.owner import Ended, Owner
from tinygrad_llm.lab.timeline import Branch, Timeline
from tinygrad_llm.lab.twin import Twin
from tinygrad_llm.random import Generator
from tinygrad_llm.train import Callback, Trainer
from tinygrad_llm.verify.fault import Fault

T = TypeVar("T")

MOST_STEPS = 50_000  # that playing adds to a branch: the figures of each take about 2 KB
SAMPLE_EVERY = 50  # steps
SAMPLE_TOKENS = 60
SAMPLING = Sampling(temperature=0.8, top_k=50)
LIVE = "live"  # the name of where the training is now


class NotPossible(TinygradLLMError):
    """A request that makes sense, but not for this lab or not now."""


class TrainingSession:
    """See the module. A model without a training is shown as it is."""

    def __init__(self, beginning: Beginning) -> None:
        self.beginning = beginning
        self.owner = Owner()
        self.news = threading.Condition()  # notified when `published` is replaced
        self.published: dict[str, Any] = {}
        self.main: Timeline | None = None
        self.twin: Twin | None = None
        self.playing = False
        self.problem = ""  # why the training stopped by itself
        self.sample_every = SAMPLE_EVERY
        self.failure: BaseException | None = None  # an error that ended the owner's thread
        self._target: int | None = None  # the step at which moving ends
        self._arrivals: list[Future[Any]] = []  # of the requests that wait for it
        self._moments = itertools.count(1)

    # -- the owner's thread

    def run(self) -> None:
        """Train and answer until `owner.end()`."""
        with np.errstate(all="ignore"):  # NaN and infinity are shown as they are
            self._run()

    def _run(self) -> None:
        try:
            if self.beginning.starts_at_once:
                self.training()
            self.publish()
            while True:
                if self.main is None:
                    self.owner.serve_one()
                else:
                    self._train(self.main)
        except Ended:
            pass
        except BaseException as error:  # an error of this package, for the main thread to report
            self.failure = error
        finally:
            self.owner.refuse_pending()
            for arrival in self._arrivals:
                arrival.set_exception(Ended("the lab is ending"))
            self.publish()

    def ask(self, work: Callable[[], T], timeout: float | None = None) -> T:
        """Run `work` on the owner's thread, from another one. Raises: Ended, and what `work` raises"""
        return self.owner.ask(work, timeout)

    def _train(self, timeline: Timeline) -> None:
        try:
            timeline.trainer.train()
        except AnomalyError as error:  # a batch was taken and its step was not: go back to the last whole step
            last = min(timeline.step, timeline.last_step(timeline.branch))
            timeline.rewind(timeline.branch, last)
            self.problem = str(error).split(". ")[0]
            self.playing, self._target = False, last

    def between_steps(self) -> None:
        """Do the work that waits; where the training is paused, wait here for more."""
        timeline = self.training()
        if self._target is not None and timeline.step >= self._target:
            self.stand_still()
        if self.playing and len(timeline.branch.records) >= MOST_STEPS:
            self.problem = f"a lab keeps the figures of {MOST_STEPS:,} steps; train longer with `train`"
            self.stand_still()
        if self.playing and self.twin is not None:
            self.twin.follow(timeline, steps=2)
        self.publish()
        self.owner.serve_pending()
        while not self.is_moving:
            if self.twin is not None and self.twin.follow(timeline, steps=1):
                self.publish()
                self.owner.serve_pending()
            else:
                self.owner.serve_one()
        timeline.recorder.begin()

    def sample(self, trainer: Trainer) -> str | None:
        """A generated text after every `sample_every` steps, or why there is none; its random numbers are its own."""
        if not self.sample_every or trainer.step % self.sample_every:
            return None
        model: Any = trainer.model
        tokenizer = self.beginning.tokenizer
        prompt = ids_if_known(tokenizer, "\n") or [0]
        generator = Generator(trainer.settings.seed).spawn(f"lab sample {trainer.step}")
        sampling = SAMPLING.limited_to(tokenizer)
        try:
            ids = generate(model, np.array(prompt), SAMPLE_TOKENS, sampling, generator=generator)
            return tokenizer.decode(ids[len(prompt) :])
        except TinygradLLMError as error:  # a sample never ends a training
            return f"(no sample: {error})"

    # -- the training

    def training(self) -> Timeline:
        """The training; it begins when it is first needed. Raises: NotPossible if there is none"""
        if self.main is None:
            if self.beginning.start is None:
                raise NotPossible(self.beginning.why_not)
            self.main = Timeline(self.beginning.start)
            self.main.sample = self.sample
            self.main.record_steps()
            self.main.trainer.callbacks.append(Conductor(self))
        return self.main

    @property
    def is_moving(self) -> bool:
        return self.main is not None and (self.playing or (self._target is not None and self.main.step < self._target))

    def stand_still(self) -> None:
        """Stop moving, and tell those who wait for the step."""
        self.playing, self._target = False, None
        arrivals, self._arrivals = self._arrivals, []
        self.publish()
        for arrival in arrivals:
            arrival.set_result(None)

    def play(self, until: int | None = None) -> None:
        """Train until `until`, or until `stand_still`. Raises: ConfigError for a step that lies behind"""
        timeline = self.training()
        if until is not None and until <= timeline.step:
            raise ConfigError(f"play: until must be a step after {timeline.step}, where the training is; got {until}")
        self.problem, self.playing, self._target = "", True, until

    def step(self, count: int = 1) -> Future[None] | None:
        """Take `count` steps, then pause."""
        timeline = self.training()
        return self.go_to(timeline.branch, timeline.step + count)

    def go_to(self, branch: Branch, step: int) -> Future[None] | None:
        """Go back or forward to a step of a branch, then pause. The Future is done on arrival; None: there already.

        Raises: ConfigError for a step before the first, or one that no snapshot leads to
        """
        timeline = self.training()
        timeline.rewind(branch, step)
        self.problem = ""
        self.stand_still()
        if timeline.step == step:
            return None
        self._target = step
        self._arrivals.append(Future())
        return self._arrivals[-1]

    def edit(self, edit: Edit, name: str) -> None:
        """Begin a branch here, with one more edit. Raises: ConfigError"""
        self.training().edit(edit, name)
        self.problem = ""

    def begin_twin(self, fault: Fault | None, is_hidden: bool = False) -> None:
        """A twin with this fault, in place of the one before; None: no twin. Raises: NotPossible"""
        self.training()
        start = self.beginning.start
        self.twin = None if fault is None or start is None else Twin(start, fault, is_hidden)
        self.publish()

    def branch_with(self, name: str, edits: Edits) -> Branch:
        """The branch with these edits: one that exists, else a new one called `name`. Raises: ConfigError"""
        branches = self.training().branches
        same = next((branch for branch in branches.values() if branch.edits == edits), None)
        return self.training().add_branch(name, edits) if same is None else same

    def branch(self, name: str) -> Branch:
        """Raises: ConfigError if there is no such branch"""
        branches = self.training().branches
        if name not in branches:
            raise ConfigError(f"the branches are {', '.join(branches)}; got {name[:100]!r}")
        return branches[name]

    # -- what the events say

    def publish(self) -> None:
        """Let the threads of the server see where the session is now."""
        with self.news:
            self.published = self.position()
            self.news.notify_all()

    def position(self) -> dict[str, Any]:
        """All of `status` that changes. Of two positions, the one with the larger `moment` is the newer."""
        timeline = self.main
        if timeline is None:
            return {
                "moment": next(self._moments),
                "playing": False,
                "busy": "",
                "at": LIVE,
                "step": None,
                "branch": None,
                "branches": [],
                "twin": None,
            }
        target = self._target
        return {
            "moment": next(self._moments),
            "playing": self.playing,
            "busy": "" if target is None or self.playing else f"going to step {target}",
            "problem": self.problem,
            "at": timeline.label,
            "step": timeline.step,
            "firstStep": timeline.first_step,
            "branch": timeline.branch.name,
            "branches": [
                {
                    "name": branch.name,
                    "edits": [str(edit) for edit in branch.edits],
                    "editsText": text_of(branch.edits),
                    "last": timeline.last_step(branch),
                }
                for branch in timeline.branches.values()
            ],
            "rate": timeline.trainer.learning_rate(timeline.step),
            "sampleEvery": self.sample_every,
            "twin": None if self.twin is None else self.twin.describe(),
            "snapshots": {
                "budget": timeline.ring.budget,
                "used": timeline.ring.used,
                "count": len(timeline.ring.snapshots),
                "each": timeline.ring.snapshots[-1].bytes if timeline.ring.snapshots else None,
            },
        }


class Conductor(Callback):
    """Plays and pauses a training: the Trainer waits inside it."""

    def __init__(self, session: TrainingSession) -> None:
        self.session = session

    def started(self, trainer: Trainer) -> None:
        self.session.between_steps()

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.session.between_steps()
