"""The command download, with a hub on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FILES, WEIGHTS, FakeHub

from tinygrad_llm.cli import main


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with FakeHub().running() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_a_model_goes_into_a_folder_of_its_name(server: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "owner/model"]) == 0
    assert Path("models/model/model.safetensors").read_bytes() == WEIGHTS
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "owner/model at aaaaaaaaaaaa (main): 4 files, 0.0 MB"
    assert lines[1] == "in models/model, each file checked by its size and the checksum that the hub states"
    assert lines[2].endswith("tinygrad-llm import --from models/model --out runs/model")
    assert main(["download", f"{server.url}/owner/model", "--revision", "main"]) == 0


def test_one_gguf_file(server: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    server.files["q4/model.gguf"] = b"GGUF" * 300
    assert main(["download", "owner/model", "--file", "q4/model.gguf", "--out", "here"]) == 0
    assert Path("here/model.gguf").read_bytes() == b"GGUF" * 300
    assert "import --from here/model.gguf --out runs/here" in capsys.readouterr().out
    assert main(["download", "owner/model", "--file", "README.md", "--out", "there"]) == 0
    assert Path("there/README.md").read_bytes() == FILES["README.md"]
    assert "import" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (["owner/model"], {"HF_ENDPOINT": "http://127.0.0.1:1"}, "check the connection and call again"),
        (["owner/model"], {"HF_ENDPOINT": "nonsense"}, "nonsense"),
        (["owner/model"], {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        (["owner/model"], {"HF_TOKEN": "a b"}, "HF_TOKEN must be"),
        (["owner/absent"], {}, "there is none of that name: check the spelling"),
        (["gpt3"], {}, "NAME must be owner/model"),
        (["owner/model", "--file", "../x"], {}, "has no file '../x'"),
        (["owner/model", "--out", "a\0b"], {}, "a\0b"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_one_line(
    server: FakeHub,
    arguments: list[str],
    changes: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    code: Any
    try:
        code = main(["download", *arguments])
    except SystemExit as end:
        code = end.code
    assert code in (1, 2)
    error = capsys.readouterr().err
    assert message.replace("\0", "") in error.replace("\\x00", "").replace("\0", "") and "Traceback" not in error
    assert not Path("models").exists()
