"""Puts an overlay on a cluster, and takes it off again: `errands deploy`, `errands undeploy`.

What is applied is owned by this manifest whole (server-side apply), so a second apply, one after a failed one, and one
of an earlier release are the same thing. A field that something else has written meanwhile is a conflict, which stops:
it is a person's to decide whose it is.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

from knative.cluster.kubectl import Answer, Kubectl
from knative.cluster.overlay import Overlay
from knative.manifests.documents import ManifestDocument

APPLY_TIMEOUT_S: Final = 300.0
DELETE_TIMEOUT_S: Final = 900.0
# What brings work, then what RabbitMQ's operator must take out of a RabbitMQ that is still there, then all else.
FIRST: Final = frozenset({"PingSource", "ScaledJob", "ScaledObject", "SinkBinding", "Trigger"})
SECOND: Final = frozenset({"Binding", "Broker", "Exchange", "Permission", "Policy", "Queue", "User"})
LAST: Final = "Namespace"

Say = Callable[[str], None]


class NotDone(Exception):
    """The cluster did not do it; the message is kubectl's."""


def apply(ask: Kubectl, overlay: Overlay, *, take_over: bool = False) -> str:
    """Apply everything; raises NotDone. With `take_over` fields that others have written become this manifest's."""
    options = ["--force-conflicts"] if take_over else []
    done = ask("apply", "--server-side", *options, "--filename=-", given=overlay.text, timeout_s=APPLY_TIMEOUT_S)
    if not done.well:
        raise NotDone(_conflict(done) or done.error.strip())
    return done.output


def stages(documents: Iterable[ManifestDocument]) -> list[list[ManifestDocument]]:
    """The resources in the order in which they are taken off; a stage is gone before the next begins."""
    found: list[list[ManifestDocument]] = [[], [], [], []]
    for document in documents:
        custom = "." in document.group
        stage = 3 if document.kind == LAST else 0 if document.kind in FIRST else 2
        found[1 if custom and document.kind in SECOND else stage].append(document)
    return [each for each in found if each]


def present(ask: Kubectl, documents: Iterable[ManifestDocument]) -> list[ManifestDocument]:
    """Those of the resources that the cluster has; a kind that it does not know has none."""
    return [document for document, found in zip(documents, _found(ask, documents), strict=True) if found]


def remove(
    ask: Kubectl, documents: Iterable[ManifestDocument], say: Say, *, timeout_s: float = DELETE_TIMEOUT_S
) -> None:
    """Delete them, stage by stage, and wait until each is gone; raises NotDone with what is left."""
    for stage in stages(documents):
        say(f"deleting {summary(stage)}")
        text = yaml.safe_dump_all([dict(_identity(each)) for each in stage])
        options = ("--filename=-", "--ignore-not-found", "--wait", f"--timeout={timeout_s:.0f}s")
        done = ask("delete", *options, given=text, timeout_s=timeout_s + 30)
        left = present(ask, stage)
        if left or not done.well:
            raise NotDone(f"{summary(left)} is left: {' '.join(done.error.split())}")


def summary(documents: Iterable[ManifestDocument]) -> str:
    """`3 Trigger, Broker errands`: the name of what is alone of its kind."""
    by_kind: dict[str, list[str]] = {}
    for each in documents:
        by_kind.setdefault(each.kind, []).append(each.name)
    shown = (
        f"{kind} {names[0]}" if len(names) == 1 else f"{len(names)} {kind}" for kind, names in sorted(by_kind.items())
    )
    return ", ".join(shown) or "nothing"


def _found(ask: Kubectl, documents: Iterable[ManifestDocument]) -> Iterator[bool]:
    """Whether each is there, asked kind by kind: one that is not known would fail a question for all."""
    known: dict[tuple[str, str, str], set[str]] = {}
    for document in documents:
        key = (document.kind, document.group, document.namespace)
        if key not in known:
            known[key] = _names(ask, *key)
        yield document.name in known[key]


def _names(ask: Kubectl, kind: str, group: str, namespace: str) -> set[str]:
    options = [f"--namespace={namespace}"] if namespace else []
    shown = ask("get", f"{kind}.{group}" if group else kind, *options, "--output=json")
    items: list[Any] = json.loads(shown.output)["items"] if shown.well and shown.output else []
    return {each["metadata"]["name"] for each in items}


def _identity(document: ManifestDocument) -> Mapping[str, Any]:
    metadata = {"name": document.name} | ({"namespace": document.namespace} if document.namespace else {})
    return {"apiVersion": document.version, "kind": document.kind, "metadata": metadata}


def _conflict(done: Answer) -> str:
    """A conflict of field managers in our words; nothing of another failure."""
    if "conflict with" not in done.error:
        return ""
    mend = "See what has written these fields since (kubectl get ... --show-managed-fields), and have it stop"
    return f"{done.error.strip()}\n\n{mend}; then: errands deploy --take-over"
