"""How a process is asked whether it lives, by what its container declares."""

import pytest

from knative.manifests.documents import ManifestError, parse
from knative.manifests.probe import Probe, probe_of


def probe(container: str) -> Probe | None:
    [document] = parse(f"kind: x\ncontainer: {container}\n", "test.yaml")
    return probe_of(document.root["container"])


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("{}", None),
        ("{readinessProbe: {httpGet: {path: /ready}}}", Probe(path="/ready")),
        ("{readinessProbe: {tcpSocket: {port: 0}, periodSeconds: 0}}", None),
        (
            "{readinessProbe: {httpGet: {path: /ready}}, livenessProbe: {httpGet: {path: /live}, periodSeconds: 3,"
            " timeoutSeconds: 2, failureThreshold: 5}}",
            Probe(path="/live", period_s=3, timeout_s=2, failures=5, by_status=True),
        ),
    ],
)
def test_the_liveness_probe_counts_or_else_the_readiness_probe_or_else_none(
    container: str, expected: Probe | None
) -> None:
    assert probe(container) == expected


def test_a_probe_that_cannot_be_honoured_is_refused_by_its_line() -> None:
    with pytest.raises(ManifestError, match=r"test\.yaml:2: "):
        probe("{livenessProbe: {httpGet: {path: /x}, periodSeconds: soon}}")
