"""The environment of the operators' Service."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from functions.deadletters.service.alerts import Recipients
from functions.deadletters.service.maintenance import Maintenance
from functions.deadletters.service.operators import KEY_CHARACTERS, LOOPBACK, parse
from functions.deadletters.store.retention import Retention

if TYPE_CHECKING:
    from functions.console.access import Access


@dataclass(frozen=True)
class Settings:
    """What the Service is told.

    `deadletters_operators` are lines `NAME RIGHTS SECRET` (operators.py); `deadletters_proxy_header` the header in
    which an authenticating proxy names the operator. Where no operators are configured, `errands_token` is one of all
    rights. With none of them the Service answers its own machine only. `deadletters_session_key` signs the pages'
    sessions; without one, operators sign in again after a restart. `deadletters_replay_unanswered` is how many dead
    letters with code -1 may be replayed by themselves each minute. The ledger at `store_url` tells how jobs ended. The
    gateway at `gateway_url` knows the jobs, and by the `gateway_token` that the console may do everything to them; in
    the database at `flows_url` it is counted how many flows are held. The folder `caught_mail` has the e-mails of a
    machine without a mail server.
    """

    deadletters_url: str
    k_sink: str
    gateway_url: str = ""
    gateway_token: str = ""
    flows_url: str = ""
    host: str = "0.0.0.0"  # noqa: S104  # as functions/runtime/serve.py has it
    errands_token: str = ""
    k_sink_token: str = ""
    store_url: str = ""
    deadletters_operators: str = ""
    deadletters_proxy_header: str = ""
    deadletters_masked: str = ""
    deadletters_read_only: bool = False
    deadletters_session_key: str = ""
    deadletters_keep_days: float = 90.0
    deadletters_keep_count: int = 1_000_000
    deadletters_keep_unresolved: bool = True
    deadletters_alert_url: str = ""
    deadletters_alert_email: str = ""
    deadletters_page_url: str = ""
    deadletters_replay_unanswered: int = 0
    caught_mail: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for settings that would leave the dead letters open to everybody."""
        if self.deadletters_session_key and len(self.deadletters_session_key) < KEY_CHARACTERS:
            raise ValueError(f"DEADLETTERS_SESSION_KEY must have at least {KEY_CHARACTERS} characters")
        parse(self.deadletters_operators)
        if not self._operators_are_known and self.host not in LOOPBACK:
            raise ValueError(
                "DEADLETTERS_OPERATORS or DEADLETTERS_PROXY_HEADER is required:"
                f" HOST {self.host} can be reached from other machines"
            )

    @cached_property
    def access(self) -> "Access":
        """Who may ask."""
        from functions.console.access import known_by  # which a ping does not need

        return known_by(
            operators=self.deadletters_operators,
            token=self.errands_token,
            proxy_header=self.deadletters_proxy_header,
        )

    @property
    def maintenance(self) -> Maintenance:
        """What is done each minute."""
        return Maintenance(
            limits=Retention(
                days=self.deadletters_keep_days,
                count=self.deadletters_keep_count,
                unresolved_too=not self.deadletters_keep_unresolved,
            ),
            recipients=Recipients(
                webhook_url=self.deadletters_alert_url,
                email=self.deadletters_alert_email,
                page_url=self.deadletters_page_url,
            ),
            unanswered_limit=self.deadletters_replay_unanswered,
            store_url=self.store_url,
        )

    @property
    def _operators_are_known(self) -> bool:
        return bool(self.errands_token or self.deadletters_operators or self.deadletters_proxy_header)
