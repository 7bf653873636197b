"""Files are regular files of the kind that a reader asks for."""

import os
from pathlib import Path

import pytest

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import open_regular, read_utf8


def test_utf8_is_read_as_it_is_or_refused_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("a\r\né".encode())
    assert read_utf8(tmp_path / "text") == "a\r\né"
    (tmp_path / "text").write_bytes(b"ab\xffc")
    with pytest.raises(FormatError, match="text: must be UTF-8; byte 0xff at offset 2"):
        read_utf8(tmp_path / "text")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="must be a regular file"), open_regular(tmp_path / "pipe"):
        pass
