"""Downloading a model from a hub on this machine: whole, checked, resumed, and refused where it is not right."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_hub import COMMIT, FILES, NEXT_COMMIT, WEIGHTS, FakeHub

from tinygrad_llm.errors import ConfigError, DownloadError
from tinygrad_llm.formats import http_get
from tinygrad_llm.interop import hub_download
from tinygrad_llm.interop.hub import Hub
from tinygrad_llm.interop.hub_download import download, plan_download

WANTED = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
INDEX = "model.safetensors.index.json"


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub().running() as running:
        yield running


def get(server: FakeHub, folder: Path, name: str = "owner/model", token: str = "", **options: Any) -> list[Path]:
    hub = Hub(server.environment | {"HF_TOKEN": token})
    return download(hub, plan_download(hub, name, folder, **options), folder)


def test_a_model_s_files_come_from_one_commit_and_are_not_fetched_twice(server: FakeHub, tmp_path: Path) -> None:
    seen = []
    hub = Hub(server.environment)
    plan = plan_download(hub, "owner/model", tmp_path / "new")
    assert plan.size == sum(len(FILES[name]) for name in WANTED) and plan.commit == COMMIT
    assert not (tmp_path / "new").exists()  # a plan writes nothing
    paths = download(hub, plan, tmp_path / "new", lambda *progress: seen.append(progress))
    assert sorted(path.name for path in paths) == WANTED
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted([*WANTED, "download.json"])
    assert all(path.read_bytes() == FILES[path.name] for path in paths)
    assert ("model.safetensors", len(WEIGHTS), len(WEIGHTS)) in seen
    assert all(f"/resolve/{COMMIT}/" in path for host, _, path, *_ in server.requests[1:] if host == "hub")
    before = len(server.requests)
    get(server, tmp_path / "new")
    assert len(server.requests) == before + 1  # the list alone


def test_a_broken_download_is_resumed_at_its_commit(server: FakeHub, tmp_path: Path) -> None:
    server.cut_after = [1000] * 4
    with pytest.raises(DownloadError, match="call again"):
        get(server, tmp_path)
    assert (tmp_path / "model.safetensors.part").stat().st_size == 4000
    assert json.loads((tmp_path / "download.json").read_text())["commit"] == COMMIT
    get(server, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS
    assert server.requests[-1][4] == "bytes=4000-"
    assert any(path.endswith(f"/revision/{COMMIT}") for _, _, path, *_ in server.requests)
    server.commit = NEXT_COMMIT  # main has moved
    with pytest.raises(DownloadError, match="must be a new folder, or hold an earlier download of owner/model at v2"):
        get(server, tmp_path, revision="v2")
    with pytest.raises(DownloadError, match="it holds owner/model at main"):
        get(server, tmp_path, name="gpt2")


def test_a_token_is_sent_to_the_hub_alone(server: FakeHub, tmp_path: Path) -> None:
    server.token = "hf_secret"
    with pytest.raises(DownloadError, match="set HF_TOKEN"):
        get(server, tmp_path / "a")
    get(server, tmp_path / "b", token="hf_secret")
    tokens = {(host, token) for host, _, path, token, _ in server.requests if path.endswith("model.safetensors")}
    assert tokens == {("hub", "Bearer hf_secret"), ("store", None)}
    assert "hf_secret" not in (tmp_path / "b" / "download.json").read_text()


@pytest.mark.parametrize("states_blobs", [True, False])
def test_other_bytes_than_the_hub_states_are_refused(server: FakeHub, tmp_path: Path, states_blobs: bool) -> None:
    server.states_blobs = states_blobs
    server.sent["model.safetensors"] = WEIGHTS[:-1] + b"x"
    with pytest.raises(DownloadError, match="must be 48,000 bytes with sha256"):
        get(server, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if "model" in path.name) == []
    server.sent = {"config.json": b'{"model_type": "gpt2"} \n'}
    with pytest.raises(DownloadError, match="with git blob"):
        get(server, tmp_path / "other")
    server.sent = {"model.safetensors": WEIGHTS * 3}
    with pytest.raises(DownloadError, match="at most 48,000 bytes"):
        get(server, tmp_path / "long")


@pytest.mark.parametrize("length", [0, 7, 47_999])
def test_a_server_that_announces_too_few_bytes(server: FakeHub, tmp_path: Path, length: int) -> None:
    hub = Hub(server.environment)
    plan = plan_download(hub, "owner/model", tmp_path, file="model.safetensors")
    server.length = length
    with pytest.raises(DownloadError, match="must be 48,000 bytes"):
        download(hub, plan, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["download.json"]


@pytest.mark.parametrize("length", [48_001, 10**15])
def test_a_server_that_announces_too_many_bytes(server: FakeHub, tmp_path: Path, length: int) -> None:
    hub = Hub(server.environment)
    plan = plan_download(hub, "owner/model", tmp_path, file="model.safetensors")
    server.length = length
    (path,) = download(hub, plan, tmp_path)  # what came is what the hub states, whatever was announced
    assert path.read_bytes() == WEIGHTS


def test_a_stalled_connection_is_given_up_and_resumed(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def stall() -> None:  # only then is the limit short: else a busy machine might send nothing in time
        monkeypatch.setattr(http_get, "SILENCE_LIMIT", 0.1)
        over.wait(60)

    server.stall = stall
    with pytest.raises(DownloadError, match=r"no byte came for 0\.1 seconds"):
        get(server, tmp_path)
    assert 0 < (tmp_path / "model.safetensors.part").stat().st_size < len(WEIGHTS)
    server.stall = None
    over.set()
    monkeypatch.undo()
    get(server, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500])
def test_errors_of_single_files_are_named(server: FakeHub, tmp_path: Path, status: int) -> None:
    server.status["model.safetensors"] = [status] * 9
    server.retry_after = "0" if status == 500 else "5"
    advice = {401: "set HF_TOKEN to", 403: "accept its conditions at"}.get(status, "")
    with pytest.raises(
        DownloadError, match=rf"^owner/model: model\.safetensors: the server answered {status}.*{advice}"
    ):
        get(server, tmp_path)
    server.status = {"model.safetensors": [429, 503]}
    server.retry_after = "0"
    get(server, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/hostname"])
def test_a_redirect_to_another_protocol_is_refused(server: FakeHub, tmp_path: Path, target: str) -> None:
    server.redirect_to = target
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def sharded(*shards: str) -> dict[str, bytes]:
    weight_map = {f"tensor{i}": shard for i, shard in enumerate(shards)}
    return {"config.json": b"{}", INDEX: json.dumps({"weight_map": weight_map}).encode()}


def test_shards_are_those_of_the_index(server: FakeHub, tmp_path: Path) -> None:
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    server.files = sharded(*names, names[0]) | {name: name.encode() * 100 for name in names}
    server.files["model-00003.safetensors"] = b"not named"
    paths = get(server, tmp_path)
    assert [path.name for path in paths] == ["config.json", INDEX, *names]
    assert all(path.read_bytes() == server.files[path.name] for path in paths)


@pytest.mark.parametrize(
    "files",
    [
        sharded("../../outside.safetensors") | {"../../outside.safetensors": b"x"},
        sharded("/etc/model.safetensors") | {"/etc/model.safetensors": b"x"},
        sharded("sub/model.safetensors") | {"sub/model.safetensors": b"x"},
        sharded("absent.safetensors"),
        sharded(),
        {INDEX: b'{"weight_map": [1]}'},
        {INDEX: b'{"weight_map": {"a": 3}}'},
        {INDEX: b"[]"},
        {"pytorch_model.bin": b"a pickle"},
    ],
    ids=str,
)
def test_weights_elsewhere_are_refused_before_anything_is_written(
    server: FakeHub, tmp_path: Path, files: dict[str, bytes]
) -> None:
    server.files = files
    with pytest.raises(DownloadError, match=r"weight_map must name|must have model\.safetensors|must be a JSON object"):
        get(server, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_one_file_alone(server: FakeHub, tmp_path: Path) -> None:
    server.files = {"q4/model-Q4_1.gguf": b"GGUF" * 500, "config.json": b"{}", "a b.gguf": b"1", "..": b"2", "x/": b"3"}
    with pytest.raises(DownloadError, match=r"choose one of its GGUF files with --file: 'q4/model-Q4_1\.gguf'"):
        get(server, tmp_path)
    (path,) = get(server, tmp_path, file="q4/model-Q4_1.gguf")
    assert path == tmp_path / "model-Q4_1.gguf" and path.read_bytes() == b"GGUF" * 500
    with pytest.raises(DownloadError, match=r"has no file 'absent\.gguf'; it has 'q4/model-Q4_1\.gguf'"):
        get(server, tmp_path, file="absent.gguf")
    for hostile in ("a b.gguf", "..", "x/"):
        with pytest.raises(DownloadError, match="a file's name must be letters"):
            get(server, tmp_path, file=hostile)


def test_files_that_are_there_are_kept(server: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(FILES["config.json"])
    get(server, tmp_path)
    assert not any(path.endswith("config.json") and "tokenizer" not in path for _, _, path, *_ in server.requests)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_bytes(b"mine")
    (other / "notes.txt").write_bytes(b"mine too")
    with pytest.raises(DownloadError, match="must be the file of owner/model at aaaaaaaaaaaa, or absent"):
        get(server, other)
    assert sorted(path.name for path in other.iterdir()) == ["config.json", "notes.txt"]
    (other / "config.json").write_bytes(b"x" * len(FILES["config.json"]))  # of the right size
    with pytest.raises(DownloadError, match="or absent; it is another: remove it"):
        get(server, other)
    (other / "config.json").write_bytes(b"mine")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "model.safetensors").symlink_to(other / "config.json")
    with pytest.raises(DownloadError, match="it is another"):
        get(server, linked)
    assert (other / "config.json").read_bytes() == b"mine"


def test_places_that_do_not_do(server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="must be a folder, for several files"):
        get(server, tmp_path / "file")
    with pytest.raises(DownloadError, match="must be a folder that can be written"):
        get(server, tmp_path / "file" / "below")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "download.json").write_text('{"repository": 3}')
    with pytest.raises(DownloadError, match="must say repository, revision and commit"):
        get(server, tmp_path / "damaged")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        plan_download(Hub(server.environment | {"HF_HUB_OFFLINE": "1"}), "owner/model", tmp_path / "new")
    with pytest.raises(ConfigError, match="NAME must be owner/model"):
        get(server, tmp_path / "new", name="../model")
    monkeypatch.setattr(hub_download.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match=r"must have room for 0\.00 GB; 0\.00 GB are free"):
        get(server, tmp_path / "full")
