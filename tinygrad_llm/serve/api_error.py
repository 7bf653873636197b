"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}}, and the HTTP status that goes with them."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.errors import TinygradLLMError

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
CODES = {401: "invalid_api_key", 403: "forbidden", 404: "not_found", 429: "queue_full", 503: "unavailable"}
SECONDS_TO_RETRY = {429: 1, 503: 1}


class ApiError(TinygradLLMError):
    """A request that is refused. `param` names the parameter that is the reason, if one is."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param = status, param
        self.code = CODES.get(status) if code is None else code

    @property
    def body(self) -> dict[str, Any]:
        usual = "invalid_request_error" if self.status < 500 else "server_error"
        kind = TYPES.get(self.status, usual)
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response: when to try again, and how to authenticate."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        if self.status in SECONDS_TO_RETRY:
            headers["Retry-After"] = str(SECONDS_TO_RETRY[self.status])
        return headers


def as_api_error(error: Exception) -> ApiError:
    """What a request is told of an error that it did not cause."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, MemoryError):
        return ApiError(503, "there is not enough memory for this text")
    words = str(error) if isinstance(error, TinygradLLMError) else f"{type(error).__name__}: {error}"
    return ApiError(500, f"the model failed: {words}")
