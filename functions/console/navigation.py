"""The places of the console, as every page names them: one more is a line of `PLACES`.

A place is shown to who may go there. Its key follows a `g`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import flask


@dataclass(frozen=True, slots=True)
class Place:
    """Where one goes by its label, or by its key; to an endpoint of a blueprint."""

    endpoint: str
    label: str
    key: str
    is_shown: Callable[[frozenset[str]], bool] = lambda rights: True

    @property
    def href(self) -> str:
        """Its address."""
        return flask.url_for(self.endpoint)

    def is_current(self, path: str) -> str:
        """`page` on its own page, `true` on one below it, else nothing (aria-current)."""
        if path == self.href:
            return "page"
        return "true" if not self.href.endswith("/") and path.startswith(f"{self.href}/") else ""


def catches_mail(rights: frozenset[str]) -> bool:
    """Whether e-mails are caught, for who may see what is masked."""
    return flask.current_app.extensions["mail_folder"] is not None and "unmask" in rights


def knows_jobs(_rights: frozenset[str]) -> bool:
    """Whether there is a gateway whose jobs are shown."""
    return flask.current_app.extensions["gateway"] is not None


PLACES: Final = (
    Place("jobs.overview", "Overview", "o", knows_jobs),
    Place("jobs.listing", "Jobs", "j", knows_jobs),
    Place("dead_letters.overview", "Groups", "g"),
    Place("dead_letters.listing", "Dead letters", "l"),
    Place("dead_letters.replays", "Replays", "r"),
    Place("dead_letters.audit", "Audit", "a"),
    Place("mail.listing", "Mail", "m", catches_mail),
)


def first() -> str:
    """The endpoint where one begins."""
    return next(each.endpoint for each in PLACES if each.is_shown(frozenset()))


def shown(rights: frozenset[str]) -> list[Place]:
    """The places for who has these rights."""
    return [each for each in PLACES if each.is_shown(rights)]
