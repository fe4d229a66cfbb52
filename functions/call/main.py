"""Has the API do a step of a flow itself, by a signed POST."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from events.http import Event
from events.problem import TryAgain
from events.types import CallCompleted, CallRequested
from functions.call.api_call import Api
from functions.net.caller import Caller
from functions.net.guard import Guard
from functions.net.signature import Signer, split_secrets
from functions.net.url import parsed
from functions.runtime.adapter import function
from functions.runtime.settings import from_environment
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store


@dataclass(frozen=True)
class Settings:
    """The function's environment: CALL_URL is where the API answers steps, CALLBACK_SECRETS what it knows us by."""

    store_url: str
    callback_secrets: str = field(repr=False)
    call_url: str = ""
    allowed_networks: str = ""
    connect_timeout_s: float = 5.0
    timeout_s: float = 25.0
    response_limit_bytes: int = 1_048_576

    def api(self) -> Api | None:
        """None where no API does steps; raise ValueError that names the setting."""
        signer = Signer.parse("standard", split_secrets(self.callback_secrets), setting="CALLBACK_SECRETS")
        guard = Guard.parse(self.allowed_networks)
        caller = Caller(guard, self.connect_timeout_s, self.response_limit_bytes, start_bytes=None)
        return Api(parsed(self.call_url), signer, caller, self.timeout_s) if self.call_url else None

    def __post_init__(self) -> None:
        self.api(), Store(self.store_url)


settings = from_environment(Settings)
api = settings.api()


@function(CallRequested, ledger=ReplyLedger(Store(settings.store_url)))
async def handle(_job: CallRequested, event: Event) -> CallCompleted | None:
    """What the API answered, once for each step."""
    if api is None:
        raise TryAgain("CALL_URL is not set: it names where the API does steps of flows")
    return await api.do(event, now=datetime.now(UTC))
