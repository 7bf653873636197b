"""Who may talk to the lab."""

import pytest
from tiny_lab import send, served

from tinygrad_llm.lab.guard import new_token, refusal

TOKEN = "the-token"
PATH = f"/{TOKEN}/api/status"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost:9", "LOCALHOST", "[::1]:8", "localhost:"])
@pytest.mark.parametrize("origins", [[], ["http://127.0.0.1:1"], ["http://localhost:65535"], ["http://[::1]"]])
def test_this_machine_passes_on_any_port(host: str, origins: list[str]) -> None:
    assert refusal(TOKEN, PATH, [host], origins) == ""


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        ["127.0.0.1.evil.example"],
        ["localhost.evil.example:80"],
        ["evil.example@127.0.0.1"],
        ["127.0.0.1@evil.example"],
        ["127.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "evil.example"],
        ["0.0.0.0"],
        ["192.168.0.1:80"],
        ["127.0.0.1:port"],
        ["127.0.0.1#"],
        ["127.0.0.1/evil.example"],
        ["[::1"],
        ["127.0.0.1 "],
    ],
)
def test_other_hosts_are_refused(hosts: list[str]) -> None:
    assert "Host" in refusal(TOKEN, PATH, hosts, [])


@pytest.mark.parametrize(
    "origins",
    [
        ["null"],
        ["https://evil.example"],
        ["http://evil.example"],
        ["https://127.0.0.1"],
        ["http://127.0.0.1.evil.example"],
        ["http://localhost@evil.example"],
        ["file://"],
        [""],
        ["http://127.0.0.1:1", "http://127.0.0.1:1"],
        ["http://127.0.0.1/path"],
        ["chrome-extension://localhost"],
    ],
)
def test_other_origins_are_refused(origins: list[str]) -> None:
    assert "Origin" in refusal(TOKEN, PATH, ["127.0.0.1"], origins)


@pytest.mark.parametrize(
    "path", ["/", "", "//", "/the-tokem/", "/the-token2/", "/THE-TOKEN/", "/?the-token", "/é/", "*"]
)
def test_without_the_token_nothing_passes(path: str) -> None:
    assert "token" in refusal(TOKEN, path, ["localhost"], [])


def test_tokens_are_long_and_differ() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 32


def test_the_server_refuses_with_403() -> None:
    with served() as server:
        assert send(server, "api/status", {})[0] == 200
        assert send(server, "api/status", {}, headers={"Host": "evil.example"})[0] == 403
        assert send(server, "api/status", {}, headers={"Origin": "http://evil.example"})[0] == 403
        assert send(server, "api/events", method="GET", headers={"Origin": "null"})[0] == 403
        assert send(server, "", method="GET", headers={"Host": f"rebound.example:{server.server_address[1]}"})[0] == 403
        assert send(server, "../api/status", {})[0] == 404
        assert send(server, "/api/status", {})[0] == 403
        assert send(server, f"/{server.token[:-1]}/api/status", {})[0] == 403
        assert server.server_address[0] == "127.0.0.1"
