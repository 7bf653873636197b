"""One thread owns the model: other threads hand it work through a queue.

The engine's modes (recording, observers, intercepted ops) belong to a thread, and a model in the middle of a step must
not be read. So every look, edit and step runs on the owner's thread, one after the other.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from tinygrad_llm.errors import TinygradLLMError

T = TypeVar("T")


class Ended(TinygradLLMError):
    """The lab is ending: nothing more is computed."""


class Owner:
    """The queue of work, and the loop that the owner's thread runs."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # no work may come into the queue after the last look into it
        self.ending = False

    # -- called by any thread

    def ask(self, work: Callable[[], T], timeout: float | None = None) -> T:
        """Run `work` on the owner's thread and return its result. If that is a Future, its result is awaited too.

        Raises: Ended if the lab is ending; TimeoutError; and what `work` raises
        """
        future: Future[Any] = Future()
        with self._lock:
            if self.ending:
                raise Ended("the lab is ending")
            self._queue.put((work, future))
        result = future.result(timeout)
        return result.result(timeout) if isinstance(result, Future) else result

    def end(self) -> None:
        """Make the owner's thread leave its loop, after the work it is doing."""
        self.ending = True
        self._queue.put(None)

    # -- called by the owner's thread

    def serve_pending(self) -> None:
        """Do the work that is waiting. Raises: Ended"""
        while not self._queue.empty():
            self.serve_one()
        if self.ending:
            raise Ended("the lab is ending")

    def serve_one(self, timeout: float | None = None) -> None:
        """Wait for work, at most `timeout` seconds, and do it. Raises: Ended"""
        try:
            task = self._queue.get(timeout=timeout)
        except queue.Empty:
            return
        if task is None or self.ending:
            if task is not None:
                task[1].set_exception(Ended("the lab is ending"))
            raise Ended("the lab is ending")
        work, future = task
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # handed to the thread that asked
            future.set_exception(error)

    def refuse_pending(self) -> None:
        """Take no more work, and tell the threads that still wait that the lab is ending."""
        with self._lock:
            self.ending = True
        while not self._queue.empty():
            task = self._queue.get()
            if task is not None:
                task[1].set_exception(Ended("the lab is ending"))
