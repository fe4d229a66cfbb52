"""A function of requests: what it keeps of whom it knows, and of whom it does not."""

import asyncio
from typing import Any

import pytest

from functions.runtime.adapter import Response, function_of
from functions.runtime.request import STRANGER_BYTES, Request, request_function


@pytest.mark.parametrize(("named", "kept_bytes", "whole"), [("anna", 1 << 20, True), ("", STRANGER_BYTES, False)])
def test_of_who_is_not_known_no_more_is_kept_than_a_form(named: str, kept_bytes: int, whole: bool) -> None:
    came: list[Request] = []

    def respond(request: Request) -> Response:
        came.append(request)
        return Response(202)

    made = function_of(
        request_function(respond, body_limit_bytes=1 << 24, knows=lambda headers, path: headers["x-name"] == "anna")
    )
    assert made is not None
    parts = iter([b"a" * (1 << 19)] * 2)

    async def receive() -> dict[str, Any]:
        part = next(parts, b"")
        return {"type": "http.request", "body": part, "more_body": bool(part)}

    headers = [(b"x-name", named.encode())]
    scope = {"method": "POST", "path": "/dead/api/import", "query_string": b"", "headers": headers}
    asyncio.run(made.take(scope, receive))

    [request] = came
    assert (len(request.body), request.whole) == (kept_bytes, whole)
