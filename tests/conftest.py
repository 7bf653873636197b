"""Shared by all tests: a deterministic Hypothesis profile, real texts, the order and the CPU time of tests."""

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # products of tests are small: a second thread would only wait
os.environ.setdefault("LANGUAGE", "C")  # argparse would look for a translation of each of its words, for each parser

# The same examples in every run: 30 for each property, or 200 with --hypothesis-profile=thorough, as in CI.
settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=True, max_examples=30)
settings.register_profile("thorough", settings.get_profile("deterministic"), max_examples=200)
settings.load_profile("deterministic")

CPU_SECONDS = pytest.StashKey[dict[str, float]]()
OVER_THE_LIMIT = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real texts; tests that need one are skipped where it is not given."""
    folder = os.environ.get("TINYGRAD_LLM_DATA")
    if not folder:
        pytest.skip("TINYGRAD_LLM_DATA names no folder of real texts")
    return Path(folder)


@pytest.fixture(scope="session")
def gpt2(data_folder: Path) -> Any:
    """GPT-2's tokenizer: its vocabulary takes a third of a second to read."""
    from tinygrad_llm.text import GPT2Tokenizer  # not before the number of BLAS threads is set

    return GPT2Tokenizer.from_files(data_folder / "gpt2" / "encoder.json", data_folder / "gpt2" / "vocab.bpe")


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Sync no file: only a power cut could tell, and no test makes one. Child processes do sync their files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # an invalid descriptor stays an error
        yield


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Turn the cycle collector off: an object in a reference cycle is never freed, so a test can find it."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def no_other_threads() -> None:
    """Wait until the threads of earlier tests have ended: only then is forking safe."""
    deadline = time.monotonic() + 60
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu-limit",
        type=float,
        metavar="SECONDS",
        help="fail the run when a test that is marked neither slow nor soak takes more CPU time than this; "
        "fixtures and child processes count",
    )
    parser.addoption("--cpu-slowest", type=int, default=10, metavar="N", help="list the N tests of most CPU time (10)")
    parser.addoption("--reverse-order", action="store_true", help="run the last test first: no test may need another")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CPU_SECONDS] = {}
    config.stash[OVER_THE_LIMIT] = []
    _heed_signals()
    if sys.dont_write_bytecode:
        _keep_bytecode_for_this_run(config)


def _keep_bytecode_for_this_run(config: pytest.Config) -> None:
    """Give child processes a temporary folder for bytecode, or each of them would compile the package again."""
    folder = tempfile.mkdtemp(prefix="bytecode-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["PYTHONPYCACHEPREFIX"] = folder
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _heed_signals() -> None:
    """Take the signals that a shell or nohup lets background jobs ignore: tests send them to themselves and others."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGQUIT"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
            signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect the tests without the cycle collector, which must also not search them again during every test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(700, 10, 100)  # a tenth of the full collections: what the tests share is alive


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("reverse_order"):
        items.reverse()


def cpu_seconds() -> float:
    """CPU time of this process with all its threads, and of its children that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure the CPU time of each test: setup, call and teardown together."""
    started = cpu_seconds()
    result = yield
    seconds = item.config.stash[CPU_SECONDS][item.nodeid] = cpu_seconds() - started
    limit = item.config.getoption("cpu_limit")
    if limit is not None and seconds > limit and not any(map(item.get_closest_marker, ("slow", "soak"))):
        item.config.stash[OVER_THE_LIMIT].append(item.nodeid)
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[OVER_THE_LIMIT] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the whole CPU time, the tests that took most of it, and those that took more than the limit."""
    seconds = config.stash[CPU_SECONDS]
    slowest = sorted(seconds, key=seconds.__getitem__, reverse=True)[: config.getoption("cpu_slowest")]
    if not seconds:
        return
    terminalreporter.section(f"CPU time: {sum(seconds.values()):.1f} s in {len(seconds):,} tests; most of it in")
    for test in slowest:
        terminalreporter.write_line(f"{seconds[test]:6.2f} s  {test}")
    limit = config.getoption("cpu_limit")
    for test in config.stash[OVER_THE_LIMIT]:
        terminalreporter.write_line(f"FAILED {test}: more than {limit:g} s of CPU; shrink it or mark it slow", red=True)
