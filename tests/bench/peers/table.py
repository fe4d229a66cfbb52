"""The tables: for a terminal, for the README, and in full."""

from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.peers.aims import AIMS
from tests.bench.peers.figures import BARE_START, FIGURES, GROUPS, STARTS, Figure
from tests.bench.peers.results import OWN, YARDSTICK, Results

SHORT: Final = {
    "drained_per_s": "no-op jobs/s",
    "handed_over_p50_ms": "p50, ms",
    "handed_over_p99_ms": "p99, ms",
    "cpu_ms": "CPU a job, ms",
    "image_per_s": "pictures/s",
    "at_rest_pss_mb": "at rest, MB",
    "from_zero_s": "from nothing, s",
}
SERVERS: Final = {"cpu_ms": "cpu_servers_ms", "at_rest_pss_mb": "at_rest_servers_pss_mb"}  # shown beside


def short(results: Results) -> str:
    """A row for each system: the README's table, and the machine below it."""
    header = ["", f"x {results.systems[YARDSTICK]['title']}"] if YARDSTICK in results.systems else ["", ""]
    titles = list(SHORT.values())
    rows = [[*header[:1], titles[0], header[1], *titles[1:]]]
    for name in results.systems:
        first, *others = [_short_cell(results, name, key) for key in SHORT]
        rows.append([title(results, name), first, _ratio(results, name, "drained_per_s"), *others])
    return f"{markdown(rows)}\n\n{stamp(results)}"


def full(results: Results) -> str:
    """Every figure: the median, the least and the most of the rounds, and the ratio to Celery of the same rounds."""
    parts = [_group(results, heading, group) for heading, group in GROUPS.items()]
    return "\n\n".join([*filter(None, parts), *own(results), aims(results), settings(results), stamp(results)])


def _group(results: Results, heading: str, group: Mapping[str, Figure]) -> str:
    shown = {key: figure for key, figure in group.items() if any(results.values(name, key) for name in results.systems)}
    if not shown:
        return ""
    rows = [[heading, *(f"{figure.title}, {figure.unit}".removesuffix(", ") for figure in shown.values())]]
    rows += [[title(results, name), *(_full_cell(results, name, key) for key in shown)] for name in results.systems]
    return markdown(rows)


def own(results: Results) -> list[str]:
    """What is measured of Errands alone."""
    parts = []
    if results.values(OWN, BARE_START):
        rows = [["start to first answer", "s", "x wsgiref"]]
        for key, name in STARTS.items():
            ratio = results.ratio(OWN, key, OWN, BARE_START)
            rows.append([name, number(results.median(OWN, key), 3), number(ratio, 1)])
        parts.append(markdown(rows))
    if count := results.median(OWN, "backlog_events"):
        rate = number(results.ratio(OWN, "backlog_last_per_s", OWN, "backlog_first_per_s"), 2)
        first, last = (number(results.median(OWN, f"backlog_{each}_per_s")) for each in ("first", "last"))
        low, high = (number(results.median(OWN, f"backlog_{each}_rss_mb")) for each in ("at_rest", "highest"))
        parts.append(
            f"A backlog of {count:,.0f} events on the embedded broker: the first 10,000 drained at {first}/s, the last "
            f"at {last}/s ({rate} x); the runner's memory {low} MB before, {high} MB at most."
        )
    return parts


def aims(results: Results) -> str:
    """What was asked of this project, and whether this run has it."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [["aim", "asked", "found", "reached"]]
    for aim in AIMS:
        asked = f"at {'least' if aim.at_least else 'most'} {aim.limit:g} {aim.unit}"
        rows.append([aim.title, asked, number(aim.value(results), 2), words[aim.reached(results)]])
    return markdown(rows, "---")


def settings(results: Results) -> str:
    """How each system is set up, and what it has done when it says that a job is accepted."""
    rows = [["", "set up", "an accepted job is"]]
    rows += [[title(results, name), told["settings"], told["durability"]] for name, told in results.systems.items()]
    return markdown(rows, "---")


def stamp(results: Results) -> str:
    """When, where, on what."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    machine = results.machine
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, {machine['kernel']}"
    return f"{results.date}, medians of {len(results.rounds)} rounds; {where}; {versions}."


def terminal(results: Results) -> str:
    """A row for each figure, a column for each system."""
    names = list(results.systems)
    lines = [" " * 40 + "".join(f"{name:>20}" for name in names)]
    for key, figure in FIGURES.items():
        cells = [_terminal_cell(results, name, key) for name in names]
        if any(cells):
            lines.append(f"{figure.title + ' ' + figure.unit:<40}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join([*lines, *own(results), aims(results), stamp(results)])


def markdown(rows: Sequence[Sequence[str]], align: str = "---:") -> str:
    """A table whose first row is its head; all columns but the first hold numbers, or what `align` is for."""
    head, *others = rows
    lines = [head, ["---", *([align] * (len(head) - 1))], *others]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def title(results: Results, name: str) -> str:
    """A system's, with Errands' own in bold."""
    told = str(results.systems[name]["title"])
    return f"**{told}**" if told.startswith("Errands") else told


def number(value: float | None, digits: int = 0) -> str:
    """For people; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _short_cell(results: Results, name: str, key: str) -> str:
    cell = number(results.median(name, key), FIGURES[key].digits)
    if key in SERVERS and (servers := results.median(name, SERVERS[key])):
        cell += f" + {number(servers, FIGURES[key].digits)}"
    pace_per_s = results.systems[name]["pace_per_s"]
    if key.startswith("handed_over") and pace_per_s != 20 and cell != "-":
        cell += f" at {pace_per_s:g}/s"
    return cell


def _full_cell(results: Results, name: str, key: str) -> str:
    values, figure = results.values(name, key), FIGURES[key]
    if not values:
        return "-"
    least, most = (number(each, figure.digits) for each in (min(values), max(values)))
    cell = number(results.median(name, key), figure.digits) + (f" ({least} to {most})" if least != most else "")
    ratio = results.ratio(name, key) if figure.compared and name != YARDSTICK else None
    return cell + (f", {ratio:.2f} x" if ratio is not None else "")


def _ratio(results: Results, name: str, key: str) -> str:
    return number(results.ratio(name, key), 2)


def _terminal_cell(results: Results, name: str, key: str) -> str:
    median, figure = results.median(name, key), FIGURES[key]
    if median is None:
        return ""
    ratio = results.ratio(name, key) if figure.compared and name != YARDSTICK else None
    return number(median, figure.digits) + (f" ({ratio:.2f} x)" if ratio is not None else "")
