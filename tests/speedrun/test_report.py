"""The report card: its figures are those of the run folders, and both forms show them all."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tiny_base import call
from tiny_speedrun import make_speedrun

from tinygrad_llm.data import WindowBatches
from tinygrad_llm.formats import read_json_object, read_metrics
from tinygrad_llm.runs import load
from tinygrad_llm.speedrun.card import document
from tinygrad_llm.speedrun.choosing import encoded_text
from tinygrad_llm.speedrun.document import Facts
from tinygrad_llm.speedrun.journal import Journal
from tinygrad_llm.speedrun.report import report_of, write_report
from tinygrad_llm.train.evaluation import bits_per_byte, evaluate


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    made = make_speedrun(tmp_path_factory.mktemp("speedrun") / "run")
    write_report(made)
    return made


def written(journal: Journal, name: str) -> str:
    return (journal.folder / name).read_text("utf-8")


def test_the_figures_are_those_of_the_run_folders(journal: Journal) -> None:
    report = json.loads(written(journal, "report.json"))
    assert report["stages"].keys() == {"base", "instruct", "reinforce"}
    for name, stage in report["stages"].items():
        run = journal.folder / name
        evaluation = read_json_object(run / "evaluation.json")
        assert stage["accuracy"]["all"] == evaluation["exact_match"]
        assert {kind: one["right"] for kind, one in stage["accuracy"]["kinds"].items()} == {
            kind: one["exact_match"] for kind, one in evaluation["kinds"].items()
        }
        log = read_metrics(run / "metrics.jsonl")
        assert stage["training_seconds"] == pytest.approx(sum(float(one["seconds"] or 0) for one in log))
        assert stage["curves"]["train_loss"]["values"] == [one["train_loss"] for one in log]
        assert stage["steps"] == 4 and stage["parameters"] == load(run)[0].num_parameters()


def test_the_loss_of_the_text_is_computed_again_from_the_run(journal: Journal) -> None:
    stage = report_of(journal)["stages"]["instruct"]
    model, _ = load(journal.folder / "instruct")
    encoded = encoded_text(journal.folder / "base", journal.folder / "ids")
    windows = WindowBatches(encoded.validation, model.config.context_length, 16)
    nats = evaluate(model, [windows[place] for place in range(len(windows))])
    bits = bits_per_byte(nats, len(encoded.validation), encoded.validation_bytes)
    assert stage["text"]["bytes"] == encoded.validation_bytes and stage["text"]["tokens"] == len(encoded.validation)
    assert stage["text"]["bits_per_byte"] == pytest.approx(bits, rel=0.01)  # which begins each window after one token


def test_samples_are_the_same_records_after_every_stage(journal: Journal) -> None:
    samples = report_of(journal)["samples"]
    assert len({sample["kind"] for sample in samples}) == len(samples) >= 10
    right = [[one["right"] for one in sample["answers"].values()] for sample in samples]
    assert not any(base for base, _, _ in right) and any(instruct for _, instruct, _ in right)
    for sample in samples:
        assert all((one["text"] == sample["output"]) == one["right"] for one in sample["answers"].values())


def test_markdown_shows_every_kind_and_every_command(journal: Journal) -> None:
    markdown, report = written(journal, "report.md"), report_of(journal)
    for kind in report["stages"]["base"]["accuracy"]["kinds"]:
        assert f"| `{kind}` | 2 |" in markdown
    for line in (
        *report["commands"].values(),
        *(line for stage in report["stages"].values() for line in stage["commands"]),
    ):
        assert line in markdown
    assert "\x1b" not in markdown
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    for table in tables:  # what a model wrote makes no new cell
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


class Page(HTMLParser):
    """The tags of a page, its text, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[Any] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href", "srcset", "style")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_one_file_without_scripts_or_foreign_markup(journal: Journal) -> None:
    page = Page(written(journal, "report.html"))
    assert page.loaded == [] and not {"script", "link", "img", "i", "b"} & set(page.tags)
    assert page.tags.count("table") >= 6 and page.tags.count("svg") > 4 and "\x1b" not in page.text
    report = report_of(journal)
    for words in (*report["stages"]["base"]["accuracy"]["kinds"], *report["commands"].values(), "<b>|`"):
        assert words in page.text


def test_a_killed_process_leaves_its_cpu_time_unknown(journal: Journal, tmp_path: Path) -> None:
    again = Journal.open(journal.folder)
    again.periods[1]["cpu_seconds"] = None
    report = report_of(again)
    assert report["cpu_seconds"] is None and report["stages"]["instruct"]["cpu_seconds"] is None
    assert report["stages"]["base"]["cpu_seconds"] is not None


def test_a_speedrun_that_recorded_no_kernels_has_its_card(journal: Journal) -> None:
    again = Journal.open(journal.folder)
    del again.machine["kernels"]  # as before they were recorded
    facts = [fact for block in document(report_of(again)) if isinstance(block, Facts) for fact in block.rows]
    assert ("kernels", "unknown") in facts


def test_the_command_writes_the_card_of_a_finished_speedrun_again(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    out = journal.folder
    (out / "report.md").unlink()
    code, printed, errors = call(capsys, "speedrun", "--minutes", "1", "--out", out)
    assert (code, errors) == (0, []) and printed.count("finished before") == 4 and (out / "report.md").exists()
    assert f"chat --model {out / 'reinforce'}" in printed
    code, _, errors = call(capsys, "speedrun", "--minutes", "2", "--out", out)
    assert code == 2 and "--minutes was 1.0, got 2.0" in errors[0]
