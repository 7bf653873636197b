"""What the hub says of a model: names, tokens, lists of files, checksums, errors."""

from collections.abc import Iterator
from typing import Any

import pytest
from fake_hub import COMMIT, FILES, WEIGHTS, FakeHub, git_blob, sha256

from tinygrad_llm.errors import ConfigError, DownloadError, FormatError
from tinygrad_llm.formats.download import Checksum
from tinygrad_llm.interop.hub import ENDPOINT, SHORT_NAMES, Hub, HubFile, repository_of


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub().running() as running:
        yield running


def test_names_of_models() -> None:
    assert repository_of("owner/model.v1_2-x") == "owner/model.v1_2-x"
    assert repository_of("gpt2") == "openai-community/gpt2"
    assert repository_of("SmolLM2-135M") == "HuggingFaceTB/SmolLM2-135M"
    assert repository_of("https://huggingface.co/Qwen/Qwen3-0.6B/") == "Qwen/Qwen3-0.6B"
    assert {"gpt2", "SmolLM2-135M", "SmolLM2-360M", "Qwen3-0.6B"} <= SHORT_NAMES.keys()
    assert all(repository_of(name) == full == repository_of(full) for name, full in SHORT_NAMES.items())


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "/",
            "gpt3",
            "owner/",
            "/model",
            "a/b/c",
            "../model",
            "owner/..",
            "owner/a..b",
            "-o/model",
            "owner/mo del",
        ),
        *(
            "owner/model?x=1",
            "owner/mod\nel",
            "owner/модель",
            "http://127.0.0.1/owner/model",
            "a" * 400,
            "owner/model#x",
        ),
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"NAME must be owner/model as on https://huggingface\.co, or one of gpt2"):
        repository_of(name)


def test_the_environment_names_endpoint_and_token() -> None:
    assert Hub({}).endpoint == ENDPOINT and "Authorization" not in Hub({}).headers
    hub = Hub({"HF_ENDPOINT": "https://mirror.example/", "HF_TOKEN": " hf_secret\n"})
    assert hub.endpoint == "https://mirror.example" and hub.headers["Authorization"] == "Bearer hf_secret"
    assert Hub({"HUGGING_FACE_HUB_TOKEN": "hf_older"}).headers["Authorization"] == "Bearer hf_older"
    for wrong in ("hf secret", "hf_\x07", "hf_é"):
        with pytest.raises(ConfigError, match="HF_TOKEN must be") as caught:
            Hub({"HF_TOKEN": wrong})
        assert wrong not in str(caught.value)
    with pytest.raises(ConfigError, match="HF_ENDPOINT must begin with https:// for a token to be sent"):
        Hub({"HF_ENDPOINT": "http://mirror.example", "HF_TOKEN": "hf_secret"})
    assert Hub({"HF_ENDPOINT": "http://mirror.example"}).endpoint == "http://mirror.example"


def test_a_list_states_sizes_and_checksums(server: FakeHub) -> None:
    hub = Hub(server.environment)
    commit, files = hub.list_files("owner/model", "main")
    assert commit == COMMIT and files.keys() == FILES.keys()
    small, large = files["config.json"], files["model.safetensors"]
    assert small == HubFile("config.json", 24, Checksum("git blob", git_blob(FILES["config.json"])))
    assert large == HubFile("model.safetensors", len(WEIGHTS), Checksum("sha256", sha256(WEIGHTS)))
    assert hub.list_files("owner/old", "main")[0] == COMMIT  # a model that was renamed


def test_headers_state_what_the_list_does_not(server: FakeHub) -> None:
    stated = Hub(server.environment).list_files("owner/model", "main")[1]
    server.states_blobs = False
    server.token = "hf_secret"
    hub = Hub(server.environment | {"HF_TOKEN": "hf_secret"})
    commit, files = hub.list_files("owner/model", "main")
    for name in ("config.json", "model.safetensors"):
        assert files[name] == HubFile(name)
        assert hub.with_checksum("owner/model", commit, files[name]) == stated[name]
    assert {host for host, *_ in server.requests} == {"hub"}  # the other host need not be asked
    server.states_checksums = False
    with pytest.raises(DownloadError, match="must state size and checksum of each file"):
        hub.with_checksum("owner/model", commit, files["model.safetensors"])


@pytest.mark.parametrize(
    ("status", "token", "message"),
    [
        (401, "", "401 Unauthorized: there is no such model, or it is private or gated: set HF_TOKEN"),
        (401, "hf_x", "401 Unauthorized: there is no such model, or HF_TOKEN is not accepted"),
        (403, "hf_x", "403 Forbidden: it is gated: accept its conditions at http.*/owner/model, and set HF_TOKEN"),
        (404, "", "owner/model at main: the server answered 404 Not Found: there is none of that name"),
        (429, "", "429 Too Many Requests: too many requests: call again in 999 seconds"),
        (503, "", "503 Service Unavailable: call again later"),
    ],
)
def test_errors_of_the_server_say_what_to_do(server: FakeHub, status: int, token: str, message: str) -> None:
    server.status["/revision/main"] = [status]
    server.retry_after = "999"
    with pytest.raises(DownloadError, match=message) as caught:
        Hub(server.environment | {"HF_TOKEN": token}).list_files("owner/model", "main")
    assert "hf_x" not in str(caught.value)


def test_temporary_errors_are_tried_again(server: FakeHub) -> None:
    server.status["/revision/main"] = [429, 503, 500]
    assert Hub(server.environment).list_files("owner/model", "main")[0] == COMMIT
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>", "is not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "must have a commit 'sha' and a list 'siblings'"),
        (b'{"sha": "main", "siblings": []}', "must have a commit"),
        (b'{"sha": "' + b"a" * 40 + b'", "siblings": {}}', "must have a commit"),
        (b"[" * 100_000, "nested"),
    ],
    ids=str,
)
def test_other_answers_are_refused(server: FakeHub, answer: bytes, message: str) -> None:
    server.answer = answer
    with pytest.raises((DownloadError, FormatError), match=message):
        Hub(server.environment).list_files("owner/model", "main")


def test_odd_entries_of_a_list_are_ignored_or_without_checksum(server: FakeHub) -> None:
    entries: list[Any] = [3, {"size": 4}, {"rfilename": 5}, {"rfilename": "a", "size": -1, "blobId": "x" * 40}]
    entries += [{"rfilename": "b", "size": True, "lfs": {"size": 1e3, "sha256": "a" * 63}}]
    server.list_of_files = lambda: {"sha": COMMIT, "siblings": entries}  # type: ignore[method-assign]
    _, files = Hub(server.environment).list_files("owner/model", "main")
    assert files == {"a": HubFile("a"), "b": HubFile("b")}


def test_a_dead_server_is_named() -> None:
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9: cannot be reached: .*: check the connection"):
        Hub({"HF_ENDPOINT": "http://127.0.0.1:9"}).list_files("owner/model", "main")
