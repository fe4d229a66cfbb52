"""How a process is asked whether it lives: what its container's `livenessProbe` says, or else its `readinessProbe`.

One that declares neither is not asked: a server that takes one request at a time has no answer while it works.
"""

from dataclasses import dataclass
from typing import Final

from knative.manifests.documents import Place
from knative.manifests.fields import text, whole

LONGEST_S: Final = 3600


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question by HTTP; the defaults are Kubernetes' own, but for its second to answer: a laptop may be busy."""

    path: str
    period_s: float = 10.0
    timeout_s: float = 5.0
    failures: int = 3
    by_status: bool = False  # whether an answer of 400 and beyond is a failure


def probe_of(container: Place) -> Probe | None:
    """The container's probe; None where it declares none by HTTP. Raises ManifestError for one that cannot be read."""
    liveness = container["livenessProbe"]
    declared = liveness or container["readinessProbe"]
    path = declared["httpGet"]["path"]
    if not path:
        return None
    return Probe(
        path=text(path),
        period_s=whole(declared["periodSeconds"], 0, LONGEST_S, default=0) or Probe.period_s,
        timeout_s=whole(declared["timeoutSeconds"], 0, LONGEST_S, default=0) or Probe.timeout_s,
        failures=whole(declared["failureThreshold"], 0, LONGEST_S, default=0) or Probe.failures,
        by_status=bool(liveness),
    )
