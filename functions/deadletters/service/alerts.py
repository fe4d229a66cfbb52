"""Tells people when a group of dead letters starts, and each time that it has grown tenfold: by webhook, by e-mail,
or both.

An alert that cannot be delivered may become a dead letter itself; that its group is told of at 1, 10, 100 ends the
circle.
"""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

import msgspec

from events.http import Event, timestamp
from events.job import NAMESPACE
from events.types import MessageRequested, event_type
from functions.deadletters.service.results import Group
from functions.deadletters.store import groups, notices
from functions.runtime.masking import without_values
from functions.storage.database import Database, Transaction

log = logging.getLogger("errands.deadletters")

GROWN: Final = 10
LISTED: Final = 20
ERROR_CHARACTERS: Final = 200
TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Recipients:
    """A URL that takes `{"text": ...}` by POST (Slack, Mattermost, ...), an e-mail address, and where the page is."""

    webhook_url: str = ""
    email: str = ""
    page_url: str = ""


def send(database: Database, to: Recipients, *, now: datetime) -> int:
    """Tell of the groups that started or grew; returns how many. What could not be told is told the next time."""
    if not (to.webhook_url or to.email):
        return 0
    with database.transaction() as transaction:
        _forget_ended(transaction)
        news = _news(transaction)
    if not news or (to.webhook_url and not _post(to.webhook_url, text(news, to.page_url))):
        return 0
    with database.transaction() as transaction:
        for each in news:
            transaction.execute("UPDATE dead_group SET alerted = ? WHERE id = ?", each.open, each.id)
        if to.email:
            notices.post(transaction, _message(news, to, now), dead_letter=None, now=now)
    return len(news)


def text(news: list[Group], page_url: str) -> str:
    """The alert as a person reads it."""
    lines = [
        f"{each.open:,} dead letters of {each.job}, code {each.code}, since {each.first_seen[:16]}Z: "
        + " ".join(without_values(each.error)[:ERROR_CHARACTERS].split())
        for each in news[:LISTED]
    ]
    more = [f"and {len(news) - LISTED} groups more"] if len(news) > LISTED else []
    return "\n".join([*lines, *more, *([page_url] if page_url else [])])


def _news(transaction: Transaction) -> list[Group]:
    """Groups with dead letters waiting, of which nobody was told yet, or ten times fewer."""
    told = {row["id"]: row["alerted"] for row in transaction.execute("SELECT id, alerted FROM dead_group")}
    waiting = groups.listed(transaction, "waiting", 1_000)
    return [each for each in waiting if not told.get(each.id) or each.open >= GROWN * told[each.id]]


def _forget_ended(transaction: Transaction) -> None:
    """A group without open dead letters starts anew with the next one."""
    waiting = "SELECT 1 FROM dead_letter WHERE group_id = dead_group.id AND state IN ('open', 'quarantined')"
    transaction.execute(f"UPDATE dead_group SET alerted = 0 WHERE alerted > 0 AND NOT EXISTS ({waiting})")  # noqa: S608  # a constant


def _post(url: str, said: str) -> bool:
    import httpx  # a large import, which only an alert need wait for

    from functions.net.configured import tls_context

    try:  # the operator's own address, in the world outside: by the environment's proxy, where there is one
        httpx.post(url, json={"text": said}, timeout=TIMEOUT_S, verify=tls_context()).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.error("the alert cannot be posted: %s", type(error).__name__)  # the URL is a secret, as Slack has it
        return False
    return True


def _message(news: list[Group], to: Recipients, now: datetime) -> Event:
    """The job of an e-mail, which the function `message` sends."""
    total = sum(each.open for each in news)
    message = MessageRequested(to=(to.email,), subject=f"{total:,} dead letters", text=text(news, to.page_url))
    said = "\n".join(f"{each.id} {each.open}" for each in news)
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid5(NAMESPACE, f"alert\n{timestamp(now)}\n{said}")),
        "source": "/errands/deadletters",
        "type": event_type(MessageRequested),
        "time": timestamp(now),
        "datacontenttype": "application/json",
    }
    return Event(MappingProxyType(attributes), msgspec.json.encode(message))
