"""A cluster as kubectl shows it, without one: what each question was answered by a real API server, made shorter."""

import json
from collections.abc import Mapping
from typing import Any

from knative.cluster.kubectl import TIMEOUT_S, Answer
from knative.cluster.needs import Needs

NODE = {"spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
STORAGE = {"metadata": {"name": "ssd", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
NOT_FOUND = "Error from server (NotFound): {} not found"


class RecordedCluster:
    """Has everything that is needed, but for what a test takes away; keeps what it was asked."""

    def __init__(self, needs: Needs, *, without: frozenset[str] = frozenset(), **differing: object) -> None:
        """`without` are names: of kinds' groups, Secrets, ConfigMaps; `differing` are answers by what is got."""
        self.asked: list[tuple[str, ...]] = []
        groups: dict[str, Any] = {}
        for each in needs.kinds:
            if each.group not in without:
                groups.setdefault(f"{each.group} {each.kind}", []).append(each.version)
        secrets = {each.name: "\n".join(each.keys) for each in needs.secrets if each.name not in without}
        self._answers: Mapping[str, object] = {
            "version": {"serverVersion": {"major": "1", "minor": "34+"}},
            "crds": "\n".join(f"{name} {' '.join(versions)}" for name, versions in groups.items()),
            "nodes": {"items": [NODE] * 3},
            "storageclasses": {"items": [STORAGE]},
            "config-features knative-serving": {"data": dict.fromkeys(needs.features, "enabled")},
            "config-features knative-eventing": {"data": {}},
            "config-observability knative-serving": {"data": {"request-metrics-protocol": "prometheus"}},
            **secrets,
        } | {name.replace("__", " ").replace("_", "-"): answer for name, answer in differing.items()}

    def __call__(self, *arguments: str, given: str = "", timeout_s: float = TIMEOUT_S) -> Answer:
        self.asked.append(arguments)
        what = arguments[0] if arguments[0] == "version" else " ".join(_subject(arguments))
        answer = self._answers.get(what)
        if answer is None:
            return Answer(output="", error=NOT_FOUND.format(what), code=1)
        return Answer(output=answer if isinstance(answer, str) else json.dumps(answer))


def _subject(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """What is got; of Knative's ConfigMaps with their namespace."""
    names = [each for each in arguments[1:] if not each.startswith("--")]
    namespaces = [each.partition("=")[2] for each in arguments if each.startswith("--namespace=")]
    return (names[-1], *namespaces) if names[-1].startswith("config-") else (names[-1],)
