"""`errands callbacks`: which endpoints are not called now, and calling one again that was gone.

`knative/cli/callbacks.py` adds commands to these: what needs the dead letters is no function's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from events.problem import TryAgain

if TYPE_CHECKING:  # slow to import, and no other command need wait for it
    from functions.storage.store import Store

app = typer.Typer(
    help="Callbacks: the endpoints that are not called now; resume one that is gone.", no_args_is_help=True
)

Data = Annotated[Path, typer.Option("--data", help="The runner's data directory.", envvar="ERRANDS_DATA")]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="Another installation's store: s3://bucket/prefix.", envvar="STORE_URL")
]


@app.command("list")
def list_endpoints(data: Data = Path(".errands"), store: StoreUrl = None) -> None:
    """List the endpoints that answered 410, and the peers that are left alone for a while."""
    from functions.notifier.endpoint_state import gone, paused

    with _store(data, store) as opened:
        lines = [f"gone    since {each.since:%Y-%m-%d %H:%M:%S}Z  {each.url}" for each in gone(opened).values()]
        for each in paused(opened, now=datetime.now(UTC)):
            lines.append(f"paused  until {each.until:%Y-%m-%d %H:%M:%S}Z  {each.peer}  {each.reason}")
    typer.echo("\n".join(sorted(lines)) or "every endpoint is called")


def resume(url: str, data: Path, store: str | None) -> None:
    """Call an endpoint again that answered 410, from its next callback on; raise BadParameter where none is gone."""
    from functions.notifier import endpoint_state

    with _store(data, store) as opened:
        resumed = endpoint_state.resume(opened, url)
    if not resumed:
        raise typer.BadParameter(f"no endpoint {url} is gone; `errands callbacks list` shows those that are")
    typer.echo(f"{url} is called again")


@contextmanager
def _store(data: Path, url: str | None) -> Iterator["Store"]:
    from functions.storage.store import Store

    if url is None and not (data / "store").is_dir():
        raise typer.BadParameter(f"there is no store in {data}: give --data, or --store for another installation's")
    try:
        yield Store(url or (data / "store").absolute().as_uri())
    except (ValueError, TryAgain) as error:
        raise typer.BadParameter(str(error)) from error
