"""`errands preflight`, `deploy`, `undeploy`, `cluster-test`: an overlay and the cluster that kubectl talks to."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from knative.manifests import project
from knative.manifests.documents import ManifestError

if TYPE_CHECKING:
    from knative.cluster.overlay import Overlay

SAMPLES: Final = Path(__file__).parents[2] / "events" / "samples"
MISTAKE: Final = 64  # EX_USAGE of sysexits.h
READY_S: Final = 600.0

Folder = Annotated[
    Path | None,
    typer.Argument(help="The overlay's folder, which kustomize renders. Default: the project's, else Errands' own."),
]


def preflight(
    folder: Folder = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array of what was looked at.")] = False,
) -> None:
    """Say whether the cluster that kubectl talks to has what the overlay needs; exit 1 when it lacks some."""
    raise SystemExit(_lacks(_rendered(folder), as_json=as_json))


def deploy(
    folder: Folder = None,
    *,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Own fields that something else has written: after you know what.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until everything is ready.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait.")] = READY_S,
) -> None:
    """Check cluster and overlay, then apply it; the same again, and an earlier release's, are no different."""
    from knative.cluster import deployment, readiness
    from knative.cluster.kubectl import kubectl

    overlay = _rendered(folder)
    if _lacks(overlay) or _breaks_a_rule(overlay):
        raise SystemExit(1)
    try:
        typer.echo(deployment.apply(kubectl, overlay, take_over=take_over).rstrip())
        if wait:
            readiness.wait(kubectl, overlay, timeout_s=timeout_s, now=time.monotonic, sleep=time.sleep, say=typer.echo)
    except (deployment.NotDone, readiness.NotReady) as error:
        _stop(str(error), 1)


def undeploy(
    folder: Folder = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete what the overlay has put there, its queues, disks and namespace included, and wait until it is gone."""
    from knative.cluster import deployment
    from knative.cluster.kubectl import kubectl

    overlay = _rendered(folder)
    reached = kubectl("version", "--output=json")
    if not reached.well:
        _stop(f"kubectl reaches no cluster: {' '.join(reached.error.split())}", 1)
    found = deployment.present(kubectl, overlay.documents)
    if not found:
        typer.echo("nothing of it is there")
        return
    typer.echo(f"there: {deployment.summary(found)}")
    if any(each.kind == deployment.LAST for each in found):
        typer.echo(
            f"With the namespace {overlay.namespace} goes everything in it: Secrets, queues, disks, other people's too."
        )
    if not yes and not typer.confirm("Delete all of it?"):
        _stop("nothing was deleted", 1)
    try:
        deployment.remove(kubectl, found, typer.echo)
    except deployment.NotDone as error:
        _stop(str(error), 1)
    typer.echo("all of it is gone")


def cluster_test(
    folder: Folder = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; no cluster is asked.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the results there, as CI reads them.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything there at the end.")] = False,
    database_url: Annotated[
        str, typer.Option(help="A PostgreSQL; default: one in a pod.", envvar="TRIAL_DATABASE")
    ] = "",
    store_url: Annotated[str, typer.Option(help="s3://BUCKET; default: each pod keeps its results to itself.")] = "",
    postgresql_image: Annotated[str, typer.Option(help="Of that pod.")] = "docker.io/library/postgres:17-alpine",
) -> None:
    """Install the overlay, send every job through, fail and replay one, upgrade, roll back, remove all of it again."""
    from knative.cluster.kubectl import kubectl
    from knative.cluster.trial import fixture, report, steps

    overlay = _rendered(folder)
    given = fixture.fixture(
        overlay.namespace, database_url=database_url, store_url=store_url, postgresql_image=postgresql_image
    )
    trial = steps.Trial(ask=kubectl, overlay=overlay, given=given, samples=SAMPLES, keep=keep)
    results = steps.planned(trial) if dry_run else steps.run(trial, typer.echo)
    typer.echo(report.table(results))
    if junit:
        junit.write_text(report.junit(results))
    raise SystemExit(any(each.state == "failed" for each in results))


def _rendered(given: Path | None) -> "Overlay":
    from knative.cluster.overlay import overlay

    try:
        return overlay(given or _own())
    except ManifestError as error:
        _stop(str(error), MISTAKE)


def _own() -> Path:
    own = project.find(Path.cwd())
    if own is None or not own.overlay.is_dir():
        return project.PRODUCTION
    project.link_builtin(own)
    return own.overlay


def _lacks(overlay: "Overlay", *, as_json: bool = False) -> bool:
    """Say what the cluster has, and whether it lacks something that the overlay needs."""
    from knative.cli.doctor import lacks, told
    from knative.cluster.kubectl import kubectl
    from knative.cluster.needs import Needs
    from knative.cluster.preflight import look

    findings = look(kubectl, Needs(overlay.documents))
    typer.echo(told(findings, as_json=as_json))
    return lacks(findings)


def _breaks_a_rule(overlay: "Overlay") -> bool:
    from knative.lint import look_at, report

    linted = look_at(overlay.documents, production=True)
    if linted.findings:
        typer.echo(report.text(linted))
    return bool(linted.findings)


def _stop(reason: str, code: int) -> NoReturn:
    typer.echo(reason, err=True)
    sys.exit(code)
