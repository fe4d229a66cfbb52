"""Deliveries, Triggers and Services as manifests declare them: each field with its default, nothing refused.

The linter looks at these, and points at the places behind them. The runner checks them and makes frozen data of them
(`knative.manifests.manifests`). So what a field means, and what it is when it is not there, stands here alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from knative.manifests.documents import ManifestDocument, Place

Policy = Literal["linear", "exponential"]

DEFAULT_RETRY: Final = 5  # a `delivery` without `retry` (eventing-rabbitmq dispatcher)
DEFAULT_DELAY_S: Final = 0.2  # Knative's own, as is exponential (eventing config-br-defaults)
DEFAULT_TIMEOUT_S: Final = 300  # a Service without timeoutSeconds (serving config-defaults)

PARALLELISM: Final = "rabbitmq.eventing.knative.dev/parallelism"
LONGEST_WAIT: Final = "errands.dev/longest-wait"
LONGEST_FLOW: Final = "errands.dev/longest-flow"
# Serving reads both spellings of its older annotations (serving pkg/apis/autoscaling/register.go).
MIN_SCALE: Final = ("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale")
MAX_SCALE: Final = ("autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale")
WINDOW: Final = ("autoscaling.knative.dev/window",)
RETENTION: Final = (
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period",
    "autoscaling.knative.dev/scaleToZeroPodRetentionPeriod",
)
UTILIZATION: Final = (
    "autoscaling.knative.dev/target-utilization-percentage",
    "autoscaling.knative.dev/targetUtilizationPercentage",
)

_NUMBER: Final = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_ISO: Final = re.compile(rf"P(?:{_NUMBER}D)?(?:T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?")
_GO: Final = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


@dataclass(frozen=True)
class DeclaredDelivery:
    """A `delivery`: how often, with which waits and how long an event is tried."""

    place: Place

    @property
    def sink(self) -> Place:
        """Where dead letters go."""
        return self.place["deadLetterSink"]

    @property
    def timeout_s(self) -> float | None:
        """The limit of one attempt; None without one, and where it is not a duration."""
        return duration_s(self.place["timeout"].text)

    @property
    def retry(self) -> int:
        """Attempts after the first."""
        whole = self.place["retry"].whole
        return DEFAULT_RETRY if whole is None else whole

    @property
    def policy(self) -> Policy:
        """How the waits grow."""
        return "linear" if self.place["backoffPolicy"].text == "linear" else "exponential"

    @property
    def delay_s(self) -> float:
        """What the waits are counted from."""
        delay_s = duration_s(self.place["backoffDelay"].text)
        return DEFAULT_DELAY_S if delay_s is None else delay_s


@dataclass(frozen=True)
class DeclaredTrigger:
    """A Trigger of a RabbitMQ broker."""

    document: ManifestDocument

    @property
    def spec(self) -> Place:
        """The Trigger's spec."""
        return self.document.root["spec"]

    @property
    def broker(self) -> str:
        """The name of its Broker."""
        return self.spec["broker"].text or self.spec["brokerRef"]["name"].text

    @property
    def attributes(self) -> Place:
        """The filter, of which the RabbitMQ broker reads the attributes alone."""
        return self.spec["filter"]["attributes"]

    @property
    def filter(self) -> Mapping[str, str]:
        """The attributes that an event must have, as the broker sees them."""
        return {name: str(each.value) for name, each in self.attributes.members}

    @property
    def parallelism(self) -> Place:
        """The annotation of that name."""
        return self.document.root["metadata"]["annotations"][PARALLELISM]

    @property
    def longest_wait(self) -> Place:
        """For how long an event that the function takes not now is put back without an attempt: our own annotation."""
        return self.document.root["metadata"]["annotations"][LONGEST_WAIT]

    @property
    def longest_flow(self) -> Place:
        """How long the flow may take that an event begins: our own annotation, which no other Trigger has."""
        return self.document.root["metadata"]["annotations"][LONGEST_FLOW]

    @property
    def workers(self) -> int:
        """Events at once: the annotation, else 1."""
        return self.parallelism.whole or 1


@dataclass(frozen=True)
class DeclaredService:
    """A Knative Service."""

    document: ManifestDocument

    @property
    def pod(self) -> Place:
        """The spec of its revisions."""
        return self.document.root["spec"]["template"]["spec"]

    @property
    def concurrency(self) -> int | None:
        """containerConcurrency; None without a limit."""
        return self.pod["containerConcurrency"].whole or None

    @property
    def timeout_s(self) -> int:
        """timeoutSeconds, or the default."""
        return self.pod["timeoutSeconds"].whole or DEFAULT_TIMEOUT_S

    @property
    def capacity(self) -> int | None:
        """Events that all its pods work on at once; None where either side has no limit."""
        pods = self.annotation(MAX_SCALE).whole
        return pods * self.concurrency if pods and self.concurrency else None

    def annotation(self, spellings: tuple[str, ...]) -> Place:
        """An annotation of its revisions, by any of its spellings."""
        annotations = self.document.root["spec"]["template"]["metadata"]["annotations"]
        return next((annotations[each] for each in spellings if annotations[each]), annotations[spellings[0]])


def duration_s(text: str) -> float | None:
    """Seconds of an ISO 8601 duration of days, hours, minutes and seconds (`PT1M30S`); None for anything else."""
    found = _ISO.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def go_duration_s(text: str) -> float | None:
    """Seconds of a duration of Go, in hours, minutes and seconds (`1m30s`); None for anything else."""
    found = _GO.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return (hours * 60 + minutes) * 60 + seconds
