"""The folder of a finished speedrun with tiny untrained models, in a second."""

import math
import shutil
from pathlib import Path
from typing import Any

from training_process import SIZES, TEXT

from tinygrad_llm.cli import main
from tinygrad_llm.cli.speedrun import run_command
from tinygrad_llm.data import TASKS, instruction_tasks
from tinygrad_llm.formats import write_json
from tinygrad_llm.random import Generator
from tinygrad_llm.speedrun.budget import TRAINED
from tinygrad_llm.speedrun.choosing import RECORDED, encoded_text
from tinygrad_llm.speedrun.journal import Journal, SpeedrunSettings
from tinygrad_llm.speedrun.machine import machine
from tinygrad_llm.speedrun.measuring import ANSWERS, MEASURES, measures_of, write_validation_text
from tinygrad_llm.speedrun.road import IDS, VALIDATION

SHORT = ["--vocab-size", "270", "--context-length", "128", "--steps", "4", "--workers", "1"]
SHARES = {"base": 0, "instruct": 3, "reinforce": 2}  # after how many records one is answered right


def make_speedrun(folder: Path) -> Journal:
    """Base, instruct and reinforce are copies of one run; answers and times are made up, losses are measured."""
    folder.mkdir()
    (folder / "text.txt").write_text(TEXT)
    words = ["train", "--data", folder / "text.txt", "--ids", folder / IDS, "--out", folder / "base"]
    sizes = SIZES[: SIZES.index("--tokenizer")]
    assert main([*map(str, words), *sizes, *SHORT]) == 0
    journal = Journal(folder, SpeedrunSettings(minutes=1.0, data=str(folder / "text.txt")))
    journal.machine = machine()
    encoded = encoded_text(folder / "base", folder / IDS)
    write_validation_text(folder / "base", encoded, folder / VALIDATION)
    speeds = [{"parameters": size, "tokens_per_second": 4e9 / size} for size in (10_000, 100_000)]
    journal.stage("size").update(
        speeds=speeds,
        recorded_law=RECORDED.to_dict(),
        speed={"fixed": 1e-6, "per_parameter": 2.5e-10},
        unique_tokens=len(encoded.train),
        seconds=20.0,
        best=12_000,
        parameters=11_000,
    )
    for name in TRAINED:
        run = folder / name
        if name != "base":
            shutil.copytree(folder / "base", run)
        write_json(run / ANSWERS, answers(SHARES[name]))
        hostile = {
            "prompt": "The ",
            "text": "a|b\n<i>`c`</i>\x1b[31m",
            "command": ["generate", "--model", "x", "--prompt", "The "],
        }
        write_json(
            run / MEASURES, {**measures_of(run, folder / VALIDATION, 0, run_command), "continuations": [hostile]}
        )
        with journal.working(name):
            pass
        journal.stage(name).update(
            command=[name, "--out", str(run)],
            evaluation_command=["instruct", "evaluate", "--model", str(run)],
            seconds=5.0,
            evaluation_seconds=1.0,
            finished=True,
        )
    journal.stage("size")["finished"] = True
    journal.save()
    return journal


def answers(one_in: int) -> dict[str, Any]:
    """A report of answers, of which every `one_in`-th is right."""
    records = instruction_tasks(2 * len(TASKS), Generator(1).spawn("records"), None, True, True)
    graded = [{**record, "response": "<b>|`", "score": 0.0} for record in records]
    for record in graded[::one_in] if one_in else ():
        record.update(response=record["output"], score=1.0)
    kinds = {
        kind: {"exact_match": sum(one["score"] for one in graded if one["kind"] == kind) / 2, "count": 2}
        for kind in sorted(TASKS)
    }
    right = math.fsum(one["score"] for one in graded) / len(graded)
    return {"exact_match": right, "count": len(graded), "kinds": kinds, "answers": graded}
