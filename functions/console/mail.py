"""The e-mails that were caught, for who develops: nothing of them runs, and nothing is loaded from elsewhere.

They hold whatever a job's data holds, so to see them is the right to see what is masked.
"""

from email.message import EmailMessage
from pathlib import Path
from typing import Final

import flask
from werkzeug.exceptions import NotFound

from functions.console import caught_mail, pages, rendering
from functions.console.caught_mail import CaughtMail
from functions.console.pages import PageResponse, operator_session

LISTED: Final = 100
# The HTML is a stranger's: in a frame of its own origin, without scripts, forms, and addresses to load from.
SANDBOXED: Final = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    "x-frame-options": "SAMEORIGIN",
}
FRAMING: Final = "frame-src 'self'"

blueprint = pages.blueprint("mail")


@blueprint.before_request
def admit() -> None:
    """Let in who may see what is masked, where e-mails are caught."""
    operator_session().operator.require("unmask")
    _folder()


@blueprint.get("/mail")
def listing() -> PageResponse:
    """The newest, a line each."""
    return pages.page("mails.html", mails=tuple(caught_mail.listed(_folder(), LISTED)), limit=LISTED)


@blueprint.get("/mail/<mail_id>")
def mail(mail_id: str) -> PageResponse:
    """One of them, with its HTML in a frame."""
    found = _mail(mail_id)
    text, _ = pages.page("mail.html", mail=found, text=rendering.excerpt(found.text), named=_name)
    response = flask.make_response(text)
    response.headers["content-security-policy"] = f"{pages.POLICY}; {FRAMING}"
    return response


@blueprint.get("/mail/<mail_id>/html")
def html(mail_id: str) -> PageResponse:
    """What the frame shows."""
    return flask.Response(_mail(mail_id).html, headers=SANDBOXED, content_type="text/html; charset=utf-8")


@blueprint.get("/mail/<mail_id>/source")
def source(mail_id: str) -> PageResponse:
    """The e-mail as it came over the wire, below what was written on its delivery."""
    return flask.Response(_mail(mail_id).source, content_type="text/plain; charset=utf-8")


@blueprint.get("/mail/<mail_id>/parts/<int:number>")
def part(mail_id: str, number: int) -> PageResponse:
    """A file of it, which the browser keeps and does not show."""
    parts = _mail(mail_id).parts
    if number >= len(parts):
        raise NotFound(f"the e-mail has {len(parts)} parts beside its texts")
    content = parts[number].get_payload(decode=True)
    return pages.download(content if isinstance(content, bytes) else b"", _name(parts[number]))


def _name(part: EmailMessage) -> str:
    return part.get_filename() or part.get_content_type()


def _mail(mail_id: str) -> CaughtMail:
    found = caught_mail.read(_folder(), mail_id)
    if found is None:
        raise NotFound("there is no such e-mail, or it is no longer among the newest")
    return found


def _folder() -> Path:
    folder = pages.mail_folder()
    if folder is None:
        raise NotFound("no e-mail is caught here: a mail server is set")
    return folder
