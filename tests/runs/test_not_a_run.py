"""A path that is no run folder is met with what it is and what was meant."""

import json
from pathlib import Path

import pytest

from tinygrad_llm.errors import DataError
from tinygrad_llm.runs.run_folder import read_config


def test_each_kind_of_path_has_its_own_answer(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 12}))
    for path, answer in (
        (tmp_path / "text.txt", "it is a file"),
        (tmp_path / "none", "there is none of that name"),
        (tmp_path, "it has no config.json"),
        (tmp_path / "gpt2", f"`tinygrad-llm import --from {tmp_path / 'gpt2'} --out runs/gpt2`"),
    ):
        with pytest.raises(DataError, match="is no run folder") as refused:
            read_config(path)
        assert answer in str(refused.value)
