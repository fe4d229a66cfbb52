"""The HTTP API: each word of an operator at `/api/WORD`, its fields as a JSON body, or, to read, as a query.

Answers are JSON; refusals problem details (RFC 9457). It says who may ask by a bearer token, by the header of an
authenticating proxy, or, where neither is set up and only this machine can reach it, everybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from events.problem import FieldError, JobFailed, decode
from functions.deadletters.service.commands import BODY_LIMIT_BYTES, Command
from functions.deadletters.service.operations import COMMANDS, READ_COMMANDS, Console, NotFound
from functions.deadletters.service.operators import LOOPBACK, Forbidden, Operator, Operators
from functions.runtime.adapter import Response
from functions.storage.database import StorageUnavailable

if TYPE_CHECKING:
    import flask


class Unauthorized(Exception):
    """Nobody knows who is asking; the message says what is expected."""


class Misdirected(Exception):
    """The request came by a name that is not this machine's: by DNS rebinding, in somebody's browser."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How operators are known. `open_to` is everybody's operator, where only this machine can ask."""

    operators: Operators
    proxy_header: str = ""
    open_to: Operator | None = None

    def operator(self, headers: Mapping[str, str]) -> Operator:
        """Who is asking; raise Unauthorized when nobody is known."""
        headers = {name.lower(): value for name, value in headers.items()}
        scheme, _, token = headers.get("authorization", "").partition(" ")
        known = None
        if scheme.lower() == "bearer":
            known = self.operators.with_token(token.strip())
        elif self.proxy_header and headers.get(self.proxy_header.lower()):
            known = self.operators.told_by_proxy(headers[self.proxy_header.lower()])
        elif self.open_to is not None:
            _require_loopback(headers.get("host", ""))
            known = self.open_to
        if known is None:
            raise Unauthorized("an operator is expected: the header Authorization: Bearer TOKEN")
        return known


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What goes back over HTTP."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def response(reply: Reply) -> Response:
    """A reply with the headers that each has."""
    headers = {"content-type": reply.media_type, "cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(reply.status, headers | dict(reply.headers), reply.body)


def respond(console: Console, access: Access, name: str, request: "flask.Request") -> Reply:
    """Do the word that is named, as the one who asks may."""
    try:
        operator_session = console.operator_session(access.operator(dict(request.headers)))
        if name not in COMMANDS:
            return problem(404, "not-found", f"there is no word {name[:40]!r}; expected one of {', '.join(COMMANDS)}")
        if request.method not in (("GET", "HEAD", "POST") if name in READ_COMMANDS else ("POST",)):
            return problem(405, "method-not-allowed", f"{name} comes with POST", headers={"allow": "POST"})
        command = _command(name, request)
        return Reply(status=200, body=msgspec.json.encode(operator_session.ask(command)))
    except REFUSALS as error:
        return refusal(error)


def refusal(error: Exception) -> Reply:
    """The answer to one of `REFUSALS`."""
    if isinstance(error, JobFailed):
        return problem(422, error.kind, error.detail, errors=error.errors)
    if isinstance(error, Unauthorized):
        return problem(401, "unauthorized", str(error), headers={"www-authenticate": "Bearer"})
    if isinstance(error, StorageUnavailable):
        return problem(503, "unavailable", str(error), headers={"retry-after": "5"})
    status, kind = {
        Forbidden: (403, "forbidden"),
        NotFound: (404, "not-found"),
        Misdirected: (421, "misdirected"),
    }[type(error)]
    return problem(status, kind, str(error))


REFUSALS: Final = (Unauthorized, Misdirected, Forbidden, NotFound, JobFailed, StorageUnavailable)


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Reply:
    """Problem details."""
    body = msgspec.json.encode(JobFailed(kind, detail, errors).problem)
    return Reply(status=status, body=body, media_type="application/problem+json", headers=headers)


def _command(name: str, request: "flask.Request") -> Command:
    struct = COMMANDS[name]
    if request.method != "POST":
        return _from_query(struct, dict(request.args))
    # a form of another site's page cannot say so without asking first (CORS), which nobody answers
    if request.mimetype != "application/json":
        raise JobFailed("invalid-data", f"content-type application/json is expected, got {request.mimetype[:40]!r}")
    request.max_content_length = BODY_LIMIT_BYTES
    return decode(request.get_data() or b"{}", struct)


def _from_query(struct: type[Command], query: dict[str, str]) -> Command:
    """A word's fields; those of a filter stand beside them."""
    own = struct.__struct_fields__
    fields: dict[str, Any] = {name: value for name, value in query.items() if name in own or "matching" not in own}
    if "matching" in own:
        fields["matching"] = {name: value for name, value in query.items() if name not in own}
    try:
        return msgspec.convert(fields, struct, strict=False)
    except msgspec.ValidationError as error:
        raise JobFailed("invalid-data", f"the query: {error}") from error


def _require_loopback(host: str) -> None:
    name = urlsplit(f"//{host}").hostname or ""
    if name not in LOOPBACK:
        raise Misdirected(f"without operators this answers to {', '.join(LOOPBACK)} only")
