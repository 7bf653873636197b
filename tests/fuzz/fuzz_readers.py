"""Coverage-guided fuzzing of every reader with atheris (libFuzzer), which CI installs.

    pip install atheris
    python tests/fuzz/fuzz_readers.py --seconds 60                   # divided among all readers
    python tests/fuzz/fuzz_readers.py --seconds 3600 --reader csv --seed 7
    python tests/fuzz/fuzz_readers.py --reader csv --input FILE      # one input again

Each reader starts from valid files (readers.py), and keeps to inputs that reach new lines. An input that makes a reader
fail is printed as a line for found.py, where it becomes a test. Without atheris, `--mutations` runs random mutations
alone, and so do the tests.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

MEGABYTES = 1000  # memory limit of a fuzzing process


def fuzz_one(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Fuzz one reader in this process, with its lines instrumented; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["tinygrad_llm"]):
        from fuzz.readers import all_readers
    (folder / "files").mkdir()
    (folder / "corpus").mkdir()
    reader = all_readers(folder / "files")[name]
    for number, valid in enumerate(reader.seeds):
        (folder / "corpus" / str(number)).write_bytes(valid)
    limits = [f"-max_total_time={max(1, int(seconds))}", f"-rss_limit_mb={MEGABYTES}", "-timeout=20", "-max_len=20000"]
    from fuzz.mutations import mutated

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        dice = random.Random(seed)
        return mutated(data, dice)[:max_size] if dice.random() < 0.5 else atheris.Mutate(data, max_size)

    limits.append(f"-seed={seed + 1}")  # 0 would be a random one
    options = [*limits, "-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={folder}/found-"]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], reader.check, custom_mutator=mutate)
    atheris.Fuzz()


def mutate_only(names: list[str], seconds: float, seed: int) -> int:
    """Random mutations without coverage; returns the number of readers that failed."""
    from fuzz.mutations import mutated
    from fuzz.readers import all_readers, memory_folder

    failed = 0
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        readers, dice = all_readers(Path(folder)), random.Random(seed)
        for name in names:
            end, count, data = time.monotonic() + seconds, 0, b""
            try:
                while time.monotonic() < end:
                    data = mutated(dice.choice(readers[name].seeds), dice)
                    readers[name].check(data)
                    count += 1
                print(f"{name}: {count:,} inputs", flush=True)
            except Exception as error:
                failed += 1
                print(f"{name}: {type(error).__name__}: {str(error)[:300]}\n{_kept(name, data)}", flush=True)
    return failed


def _kept(name: str, data: bytes) -> str:
    """Keep an input in a file; returns its line for found.py, or the file's name where the line would be long."""
    path = Path(tempfile.gettempdir(), f"{name}-{zlib.crc32(data):08x}")
    path.write_bytes(data)
    line = f"    ({name!r}, {data!r}),"
    return line if len(line) <= 500 else f"    kept in {path}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the readers of files.")
    parser.add_argument("--seconds", type=float, default=60, help="divided among the readers (default: 60)")
    parser.add_argument("--reader", help="fuzz only this one")
    parser.add_argument("--mutations", action="store_true", help="random mutations without coverage")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations: another one finds more (default: 0)")
    parser.add_argument("--input", type=Path, help="read this file once, with --reader")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # in a child: fuzz here
    arguments = parser.parse_args()
    if arguments.folder:
        fuzz_one(arguments.reader, arguments.seconds, arguments.seed, arguments.folder)
        return 0

    from fuzz.readers import all_readers, memory_folder

    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        readers = all_readers(Path(folder))
        if arguments.input:
            readers[arguments.reader].check(arguments.input.read_bytes())
            return 0
    names = [arguments.reader] if arguments.reader else list(readers)
    if arguments.mutations or importlib.util.find_spec("atheris") is None:
        if not arguments.mutations:
            print("atheris is not installed (not to be had for every Python): random mutations instead")
        return min(1, mutate_only(names, arguments.seconds / len(names), arguments.seed))
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
            command = [sys.executable, __file__, "--reader", name, "--folder", folder]
            command += ["--seconds", str(arguments.seconds / len(names)), "--seed", str(arguments.seed)]
            hashed_alike = os.environ | {"PYTHONHASHSEED": "0"}  # the same seed mutates in the same way
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, env=hashed_alike
            )
            printed = (done.stdout + done.stderr).splitlines()
            count = next((line.split()[-1] for line in printed if "number_of_executed_units" in line), "?")
            print(f"{name}: {count} inputs", flush=True)
            if done.returncode:
                failed += 1
                print("\n".join(line for line in printed if not line.startswith(("INFO", "stat::")))[-3000:])
                for path in Path(folder).glob("found-*"):
                    print(_kept(name, path.read_bytes()), flush=True)
    print(f"{failed} of {len(names)} readers failed")
    return min(1, failed)


if __name__ == "__main__":
    raise SystemExit(main())
