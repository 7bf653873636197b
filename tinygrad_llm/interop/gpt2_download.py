"""Downloading GPT-2's weights from OpenAI's repositories on Hugging Face, pinned by revision and sha256.

A revision is a commit, whose files cannot change. Vocabulary and merges are the same for all sizes.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.formats import fetch

HOME = "https://huggingface.co/openai-community"
DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class GPT2Download:
    """The revision of one size, and the sha256 of its two files. Units: size_limit in bytes, slightly above the size of
    the weights."""

    revision: str
    config_sha256: str
    weights_sha256: str
    size_limit: int


GPT2_SIZES = {
    "gpt2": GPT2Download(
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4",
        "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
        550_000_000,
    ),
    "gpt2-medium": GPT2Download(
        "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
        "ef1a44d889ad1a0acc7731c78134f1b87d2d222f110e97dd10fd4117331caf22",
        "fc5a354a19255ad494f3d71549390baca1ccf61d1d822b9408971705c687c9cd",
        1_530_000_000,
    ),
    "gpt2-large": GPT2Download(
        "32b71b12589c2f8d625668d2335a01cac3249519",
        "7fccdcfd6622055342a734c663ee0b61ff4fd697f42467595df0bf4448c8c170",
        "5f47f3e12f91cd33b662ce7e433b6150ad5512b5884a2cee961b50e9c3bbebce",
        3_260_000_000,
    ),
    "gpt2-xl": GPT2Download(
        "15ea56dee5df4983c59b2538573817e1667135e2",
        "be48115d52314bc27327e160bf10197760db02ea689d10adb24db4102edf7a8a",
        "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a",
        6_440_000_000,
    ),
}
VOCABULARY = {
    "vocab.json": (1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    "merges.txt": (456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
}


def download_gpt2(
    name: str,
    folder: str | os.PathLike[str],
    progress: Callable[[str, int, int], None] | None = None,
    home: str | None = None,
) -> Path:
    """Download one of GPT-2's sizes into a Hugging Face folder. Files that are complete are not downloaded again.

    A file gets its final name only after its sha256 was verified; if a connection breaks, the next call resumes.
    `progress(file, bytes_done, total_bytes)` is called as bytes arrive. `home` may be the URL of a mirror.

    Raises: ConfigError for an unknown size, DownloadError if there is no connection or a file is wrong
    """
    if name not in GPT2_SIZES:
        raise ConfigError(f"GPT-2's sizes are {', '.join(GPT2_SIZES)}; got {name!r}")
    size, folder, home = GPT2_SIZES[name], Path(folder), HOME if home is None else home

    def get(file: str, source: str, total_bytes: int | None, sha256: str, size_limit: int = 100_000) -> None:
        fetch(
            f"{home}/{source}/resolve/{GPT2_SIZES[source].revision}/{file}",
            folder / file,
            size=total_bytes,
            sha256=sha256,
            time_limit=DAY,  # the largest is over 6 GB; a connection that stalls is given up much sooner
            size_limit=size_limit,
            progress=None if progress is None else lambda done, total: progress(file, done, total),
        )

    get("config.json", name, None, size.config_sha256)
    for file, (total_bytes, sha256) in VOCABULARY.items():
        get(file, "gpt2", total_bytes, sha256)
    get("model.safetensors", name, None, size.weights_sha256, size.size_limit)
    return folder
