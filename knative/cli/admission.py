"""`errands admission`: what holds jobs back, asked of the gateway: limits, and what is paused."""

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from functions.deadletters.cli.terminal import plain
from knative.cli.front_door import moment
from knative.cli.jobs import HERE, Data, Sink, TokenFile, asking

NAMES: Final = "all, type:image, api:shop, key:mailgun, or key:* for each key by itself"

app = typer.Typer(
    help="Who is let in: list what holds jobs back, pause and resume, limit. What is paused is accepted, and waits; to"
    " wait is no attempt.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help=f"Whose jobs: {NAMES}.")]


@app.command("list")
def list_rules(data: Data = HERE, sink: Sink = None, token_file: TokenFile = None) -> None:
    """List limits and pauses, and who has changed what last."""
    with asking(sink, data, token_file) as door:
        _show(door.ask("/admission"))


@app.command()
def pause(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why, for those who find it paused.")],
    data: Data = HERE,
    sink: Sink = None,
    token_file: TokenFile = None,
) -> None:
    """Let none in for now.

    errands admission pause type:image --reason "the provider is down until noon"
    """
    with asking(sink, data, token_file) as door:
        _show(door.ask(f"/pauses/{quote(name, safe='')}", method="PUT", body={"reason": reason}))


@app.command()
def resume(name: Name, data: Data = HERE, sink: Sink = None, token_file: TokenFile = None) -> None:
    """Let them in again."""
    with asking(sink, data, token_file) as door:
        _show(door.ask(f"/pauses/{quote(name, safe='')}", method="DELETE"))


@app.command()
def limit(
    name: Name,
    data: Data = HERE,
    sink: Sink = None,
    token_file: TokenFile = None,
    *,
    rate: Annotated[str | None, typer.Option(help="50/s, 100/m, 1000/h or 5000/d.")] = None,
    burst: Annotated[int, typer.Option(help="So many of them at one moment.")] = 1,
    at_once: Annotated[int | None, typer.Option(help="So many in flight.")] = None,
) -> None:
    """Have a limit hold; without --rate and --at-once none does.

    errands admission limit key:mailgun --rate 50/s --at-once 20
    """
    given = {"rate": rate, "burst": burst, "at_once": at_once}
    path = f"/limits/{quote(name, safe='')}"
    with asking(sink, data, token_file) as door:
        is_none = rate is None and at_once is None
        _show(door.ask(path, method="DELETE") if is_none else door.ask(path, method="PUT", body=given))


def _show(found: Any) -> None:
    lines = [
        f"paused  {each['name']}  since {moment(each['at'])} by {each['by']}: {each['reason']}"
        for each in found["pauses"]
    ]
    for each in found["limits"]:
        rate = f"  {each['rate']}, {each.get('burst', 1)} at a moment" if each.get("rate") else ""
        at_once = f"  {each['at_once']} at once" if each.get("at_once") else ""
        lines.append(f"limit   {each['name']}{rate}{at_once}")
    lines += [
        f"{moment(each['at'])}  {each['name']} {each['what']} by {each['by']} {each['detail']}".rstrip()
        for each in found["changes"][:10]
    ]
    typer.echo("\n".join(plain(each) for each in lines) or "nothing holds jobs back")
