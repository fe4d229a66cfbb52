"""The environment of each function: what its manifest says, with this machine's values and secrets.

On a cluster an overlay fills the ConfigMap `errands`; here the runner does, from its data directory. A Secret's key
is a file, `DATA/secrets/NAME/KEY`, laid out as Kubernetes mounts one. Beside a variable that holds its value, VARIABLE,
the function has VARIABLE_FILE with its path, by which it can read it again.
"""

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from functions.notifier.destination import allowed_origins
from functions.runtime.credentials import sha256
from knative.local.data_folder import temporary
from knative.manifests.documents import ManifestError
from knative.manifests.gateway import declared
from knative.manifests.manifests import Manifests, Reference, Service

INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "PYTHONPATH", "VIRTUAL_ENV")
# What an installation can make for itself: both sides are told it, nobody has to know it before.
CALLBACK: Final = ("callback", "secrets")
SESSION_KEY: Final = ("console", "session-key")
READINGS: Final = ("readings", "url")
STORE_NAMES: Final = ("store-names", "STORE_NAMES_SECRET")
TICKETS: Final = ("gateway", "ticket-secret")
NOTES: Final = ("gateway", "notes-token")
LOOPBACK: Final = "127.0.0.0/8,::1/128"
THIS_MACHINE: Final = ("127.0.0.1", "localhost", "[::1]")
NOTIFIER: Final = "notifier"
CALLERS: Final = frozenset({NOTIFIER, "call"})  # of the API
GATEWAY: Final = "gateway"
# the gateway's of the runner's environment: where it sends traces (OpenTelemetry's own names)
TRACED: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_SERVICE_NAME",
    "OTEL_BSP_SCHEDULE_DELAY",
)
DEAD_LETTERS: Final = "deadletters"
CONSOLE: Final = "console"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What this machine puts in place of a cluster's values."""

    data: Path
    ingress_url: str
    ingress_secret: str  # with which functions send what is not taken from outside
    invoker_secret: str  # with which the runner calls its functions
    public_url: str  # where the API reaches the ingress, for the artefacts' URLs
    token: str | None
    settings: Mapping[str, Mapping[str, str]]  # function -> NAME -> VALUE, from --set
    work_queue: Mapping[str, str] = field(default_factory=dict)  # how those that speak AMQP reach the server
    front_door: tuple[str, int] = ("127.0.0.1", 0)  # where the gateway listens
    gateway_url: str = ""  # where functions reach it
    trusted_proxies: str = ""  # whose word the gateway takes of who asks
    mail_port: int | None = None  # where e-mails are caught, if they are

    @property
    def store(self) -> Path:
        """The folder of stored results."""
        return self.data / "store"

    @property
    def config_map(self) -> dict[str, str]:
        """The ConfigMap `errands` of a single machine: everything below the data directory, this machine called.

        Without a token only this machine's own users send events, and a job of theirs may call any of its ports. With
        one a sender is somebody else: functions fetch nothing from here, and the API is called at its configured
        origins alone; --set opens more by name (image.ALLOWED_NETWORKS, notifier.ALLOWED_ORIGINS).
        """
        return {
            "STORE_URL": self.store.as_uri(),
            "STORE_PUBLIC_URL": f"{self.public_url.rstrip('/')}/artifacts",
            "STORE_NAMES_SECRET": _secret(self.data, *STORE_NAMES) or "",
            "AMQP_URL": "",
            "DEADLETTERS_URL": f"sqlite:///{self.data / 'deadletters.db'}",
            "FLOWS_URL": f"sqlite:///{self.data / 'flows.db'}",
            "LEDGER_URL": f"sqlite:///{self.data / 'ledger.db'}",
            "NOTES_URL": "",
            "CALLBACK_URL": "",
            "CALL_URL": "",
            "ALLOWED_ORIGINS": "" if self.token else ",".join(f"http://{each}:*" for each in THIS_MACHINE),
            "ALLOWED_NETWORKS": "" if self.token else LOOPBACK,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.mail_port or 25),
            "SMTP_SECURITY": "none",
            "CAUGHT_MAIL": str(self.caught_mail) if self.mail_port else "",
        }

    @property
    def caught_mail(self) -> Path:
        """The folder of the e-mails that are caught."""
        return self.data / "mail"


def environment(service: Service, manifests: Manifests, machine: Machine) -> dict[str, str]:
    """Build one function's environment; raise ManifestError for a secret or key that is not there."""
    built = {name: os.environ[name] for name in INHERITED if name in os.environ}
    built["TMPDIR"] = str(temporary(machine.data))
    for name in service.config_maps:
        built |= _config_map(name, manifests, machine, service)
    if service.name in CALLERS and "ALLOWED_NETWORKS" in built:  # it calls configured origins alone, mostly of here
        built["ALLOWED_NETWORKS"] = built["ALLOWED_NETWORKS"] or LOOPBACK
    work_queue = machine.work_queue if service.environment.keys() & {"WORK_EXCHANGE", "WORK_QUEUE"} else {}
    given = {**work_queue, **machine.settings.get(service.name, {})}
    for name, value in service.environment.items():
        if name in given:
            continue
        resolved = _resolve(value, manifests, machine, service) if isinstance(value, Reference) else value
        if resolved is not None:
            built[name] = resolved
        if isinstance(value, Reference) and value.kind == "Secret":
            built[f"{name}_FILE"] = str(_secret_file(machine.data, value.name, value.key))
    if _sends(service, manifests):
        built |= {"K_SINK": machine.ingress_url, "K_SINK_TOKEN": machine.ingress_secret}
        built |= {"ERRANDS_TOKEN": machine.token} if machine.token else {}
    if service.name == GATEWAY:
        built |= _front_door(manifests, machine, built.get("GATEWAY_TOKENS", ""))
    elif GATEWAY in manifests.services and machine.gateway_url:
        notes_token = _secret(machine.data, *NOTES) or ""
        built |= {"NOTES_URL": f"{machine.gateway_url}notes", "NOTES_TOKEN": notes_token}
    if service.name == CONSOLE and GATEWAY in manifests.services and machine.gateway_url:
        built |= {"GATEWAY_URL": machine.gateway_url, "GATEWAY_TOKEN": machine.token or ""}
    if service.name == CONSOLE and (key := _secret(machine.data, *SESSION_KEY)):
        built.setdefault("DEADLETTERS_SESSION_KEY", key)  # by which the runner knows who has signed in
    built["ERRANDS_INVOKER_SECRET"] = machine.invoker_secret
    return built | {"K_SERVICE": service.name, "ERRANDS_RUNNER_PID": str(os.getpid())} | dict(given)


def _sends(service: Service, manifests: Manifests) -> bool:
    """Whether it sends events of its own, and not by its replies, as a work queue's function does here."""
    declared = "K_SINK" in service.environment and "WORK_QUEUE" not in service.environment
    return declared or service.name in manifests.sink_bound


def callback_origins(manifests: Manifests, machine: Machine) -> frozenset[str] | None:
    """The origins that the notifier calls back; None where that cannot be known, or it calls another one instead.

    Raises ManifestError as `environment` does, and ValueError for a setting that is wrong.
    """
    service = manifests.services.get(NOTIFIER)
    built = environment(service, manifests, machine) if service else {}
    if "ALLOWED_ORIGINS" not in built or built.get("CALLBACK_URL"):
        return None
    return allowed_origins(built["ALLOWED_ORIGINS"], built.get("CALLBACK_ENDPOINTS"))


def _front_door(manifests: Manifests, machine: Machine, tokens: str) -> dict[str, str]:
    """The gateway's own: it listens at the runner's port, with what else people find there behind it."""
    host, port = machine.front_door
    own = {
        "GATEWAY_HOST": host,
        "GATEWAY_PORT": str(port),
        "GATEWAY_PUBLIC_URL": machine.public_url,
        "GATEWAY_BEHIND": machine.ingress_url,
        "GATEWAY_DEAD_LETTER_SINK": f"{machine.ingress_url}services/{DEAD_LETTERS}",
        "GATEWAY_ROUTES": msgspec.json.encode(declared(manifests)).decode(),
        "GATEWAY_TRUSTED_PROXIES": machine.trusted_proxies,
        "GATEWAY_TICKET_SECRET": _secret(machine.data, *TICKETS) or "",
        "GATEWAY_NOTES_TOKEN": _secret(machine.data, *NOTES) or "",
    }
    own |= {name: os.environ[name] for name in TRACED if name in os.environ}
    if machine.token:
        own["GATEWAY_TOKENS"] = f"{tokens}\napi all sha256:{sha256(machine.token)}"
    notifier = manifests.services.get(NOTIFIER)
    if notifier:
        called = environment(notifier, manifests, machine)
        names = {"ALLOWED_ORIGINS": "GATEWAY_CALLBACK_ORIGINS", "CALLBACK_ENDPOINTS_FILE": "GATEWAY_CALLBACK_ENDPOINTS"}
        if not called.get("CALLBACK_URL"):  # which is called where a job's own URL may not be
            own |= {theirs: called[name] for name, theirs in names.items() if name in called}
    return own


def make_secrets(machine: Machine) -> None:
    """Make the callback secret (Standard Webhooks form), those of results' names, tickets and notes, what signs the
    console's sessions, and the URL of the readings, where there is none yet.
    """
    made = {
        CALLBACK: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        STORE_NAMES: secrets.token_hex(32),
        TICKETS: secrets.token_hex(32),
        NOTES: secrets.token_hex(32),
        SESSION_KEY: secrets.token_urlsafe(32),
        READINGS: f"sqlite:///{machine.data / 'readings.db'}",
    }
    for (name, key), value in made.items():
        file = _secret_file(machine.data, name, key)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(value)


def _secret_file(data: Path, name: str, key: str) -> Path:
    return data.absolute() / "secrets" / name / key


def _secret(data: Path, name: str, key: str) -> str | None:
    file = _secret_file(data, name, key)
    return file.read_text().strip() if file.is_file() else None


def _config_map(name: str, manifests: Manifests, machine: Machine, service: Service) -> Mapping[str, str]:
    if name not in manifests.config_maps:
        raise ManifestError(f"{service.where}: there is no ConfigMap {name!r} in these manifests")
    values = dict(manifests.config_maps[name])
    return values | machine.config_map if name == "errands" else values


def _resolve(reference: Reference, manifests: Manifests, machine: Machine, service: Service) -> str | None:
    if reference.kind == "ConfigMap":
        value = _config_map(reference.name, manifests, machine, service).get(reference.key)
        missing = f"ConfigMap {reference.name} has no key {reference.key}"
    else:
        value = _secret(machine.data, reference.name, reference.key)
        file = _secret_file(machine.data, reference.name, reference.key)
        missing = f"Secret {reference.name} has no key {reference.key}: write it to the file {file}"
    if value is None and not reference.optional:
        raise ManifestError(f"{service.where}: {missing}")
    return value
