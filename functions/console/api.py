"""The HTTP API: each command of an operator at `/dead/api/COMMAND`, its fields as a JSON body, or, to read, as a query.

Responses are JSON; refusals problem details (RFC 9457).
"""

from typing import Any, Final

import flask
import msgspec
from werkzeug.exceptions import MethodNotAllowed, NotFound

from events.problem import JobFailed, decode
from functions.console import pages
from functions.console.access import Elsewhere
from functions.console.pages import PREFIX
from functions.deadletters.service.commands import BODY_LIMIT_BYTES, Command
from functions.deadletters.service.operations import COMMANDS, READ_COMMANDS

# for one release: what the fields of a command were called before
RENAMED: Final = {"letter": "dead_letter", "letters": "dead_letters"}

OWN_SITES: Final = ("same-origin", "none")  # as a browser names where a request comes from

blueprint = flask.Blueprint("api", __name__, url_prefix=f"{PREFIX}api")


@blueprint.before_request
def authenticate() -> None:
    """Let in whom the request itself tells: the API takes no session of the pages."""
    site = flask.request.headers.get("Sec-Fetch-Site", "none")
    if site not in OWN_SITES:
        raise Elsewhere("the API answers programs and the console's own pages, and no other site's")
    operator = pages.access().operator(dict(flask.request.headers))
    flask.g.operator_session = pages.console().operator_session(operator)


@blueprint.route("/<path:name>", methods=["GET", "POST"])
def respond(name: str) -> flask.Response:
    """Do the command that is named, as the one who asks may."""
    if name not in COMMANDS:
        raise NotFound(f"there is no command {name[:40]!r}; expected one of {', '.join(COMMANDS)}")
    if flask.request.method != "POST" and name not in READ_COMMANDS:
        raise MethodNotAllowed(["POST"], f"{name} comes with POST")
    return pages.json(pages.operator_session().ask(_command(COMMANDS[name])))


def _command(struct: type[Command]) -> Command:
    request = flask.request
    if request.method != "POST":
        return _from_query(struct, {RENAMED.get(name, name): value for name, value in request.args.items()})
    # a form of another site's page cannot say so without asking first (CORS), which nobody answers
    if request.mimetype != "application/json":
        raise JobFailed("invalid-data", f"content-type application/json is expected, got {request.mimetype[:40]!r}")
    request.max_content_length = BODY_LIMIT_BYTES
    return decode(_in_todays_names(request.get_data()) or b"{}", struct)


def _from_query(struct: type[Command], query: dict[str, str]) -> Command:
    """A command's fields; those of a filter stand beside them."""
    own = struct.__struct_fields__
    fields: dict[str, Any] = {name: value for name, value in query.items() if name in own or "matching" not in own}
    if "matching" in own:
        fields["matching"] = {name: value for name, value in query.items() if name not in own}
    try:
        return msgspec.convert(fields, struct, strict=False)
    except msgspec.ValidationError as error:
        raise JobFailed("invalid-data", f"the query: {error}") from error


def _in_todays_names(body: bytes) -> bytes:
    """The body with the names that its fields, and its selection's, had before, taken for today's."""
    if not any(b'"%s"' % name.encode() in body for name in RENAMED):
        return body
    try:
        given = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body  # the command's own check says what is wrong with it
    renamed = {RENAMED.get(name, name): value for name, value in given.items()}
    if isinstance(chosen := renamed.get("selection"), dict):
        renamed["selection"] = {RENAMED.get(name, name): value for name, value in chosen.items()}
    return msgspec.json.encode(renamed)
