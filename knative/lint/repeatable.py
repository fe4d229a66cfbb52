"""Rules about flows, whose functions are run again from their beginning: what they ask the machine, they ask anew.

A Service that holds flows names their modules in FLOWS. These are read, and never run.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from knative.lint.findings import Flaw, rule
from knative.lint.resources import Resources
from knative.manifests.declared import DeclaredService
from knative.manifests.documents import Place

MODULES: Final = "FLOWS"
REQUESTED: Final = ".requested."
SIGNAL: Final = "dev.errands.signal.requested.v1"  # which is for flows that run
DECORATORS: Final = ("errands.flow", "events.flow.flow")  # the public name, and where it is made
# Whole names, and those that end with a dot: all that is within.
ASKS: Final[Mapping[str, tuple[str, ...]]] = {
    "the clock": (
        "time.",
        "asyncio.sleep",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
    ),
    "chance": ("random.", "secrets.", "uuid.uuid1", "uuid.uuid4", "os.urandom"),
    "the network": ("httpx.", "requests.", "aiohttp.", "urllib.request.", "http.client.", "socket.", "smtplib."),
    "files or the environment": ("open", "io.open", "pathlib.Path", "os.environ", "os.getenv", "subprocess."),
}


@rule(
    "flow-asks-the-machine",
    "error",
    consequence="a replay gets another answer than the run before it: the flow is held, or does something twice",
    fix="do.now, do.sleep, do.random, do.uuid(), or a step that does it",
)
def flow_asks_the_machine(resources: Resources) -> Iterator[Flaw]:
    """Clock, chance, network and files in a flow's function, and in what it calls in its module."""
    for place in _declared(resources):
        for name in (each.strip() for each in place.text.split(",")):
            file = Path(*name.split(".")).with_suffix(".py") if name else Path()
            if file.is_file():
                yield from (Flaw(place, f"{file}:{line} asks {what}: {called}") for line, what, called in asked(file))


@rule(
    "flow-has-no-longest-time",
    "error",
    consequence="after minutes the gateway asks for the flow again, and at last calls it lost while it sleeps",
    fix="errands.dev/longest-flow on the Trigger, such as P30D: by then the flow has ended",
)
def flow_has_no_longest_time(resources: Resources) -> Iterator[Flaw]:
    """The Trigger that begins a flow says how long that may take."""
    for trigger in resources.triggers:
        type_ = trigger.filter.get("type", "")
        service = resources.service(trigger.spec["subscriber"])
        begins = REQUESTED in type_ and type_ != SIGNAL and service is not None and any(_modules(service))
        if begins and not trigger.longest_flow:
            yield Flaw(trigger.attributes["type"], f"{type_} begins a flow")


def asked(file: Path) -> Iterator[tuple[int, str, str]]:
    """The line, what is asked, and the name that is called, of each place in the file's flows."""
    tree = ast.parse(file.read_text(), str(file))
    names = dict(_imported(tree))
    functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    flows = [each for each in functions.values() if any(_is_flow(mark, names) for mark in each.decorator_list)]
    for function in _reached(flows, functions):
        for node in ast.walk(function):
            if isinstance(node, ast.Name | ast.Attribute):
                called = _full_name(node, names)
                yield from ((node.lineno, what, called) for what, asks in ASKS.items() if _is_one_of(called, asks))


def _declared(resources: Resources) -> Iterator[Place]:
    for service in resources.services.values():
        yield from _modules(service)


def _modules(service: DeclaredService) -> Iterator[Place]:
    for container in service.document.root["spec"]["template"]["spec"]["containers"]:
        for entry in container["env"]:
            if entry["name"].text == MODULES:
                yield entry["value"]


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each name that stands for something of another module, with its full one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                top = each.name.partition(".")[0]
                yield (each.asname, each.name) if each.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((each.asname or each.name, f"{node.module}.{each.name}") for each in node.names)


def _reached(
    flows: list[ast.FunctionDef | ast.AsyncFunctionDef],
    functions: Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef],
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The flows, and the module's functions that they name."""
    left, seen = list(flows), set[str]()
    while left:
        function = left.pop()
        if function.name not in seen:
            seen.add(function.name)
            yield function
            named = {each.id for each in ast.walk(function) if isinstance(each, ast.Name)}
            left += [functions[each] for each in sorted(named & functions.keys())]


def _is_flow(mark: ast.expr, names: Mapping[str, str]) -> bool:
    called = mark.func if isinstance(mark, ast.Call) else mark
    return isinstance(called, ast.Name | ast.Attribute) and _full_name(called, names) in DECORATORS


def _full_name(node: ast.expr, names: Mapping[str, str]) -> str:
    """`datetime.datetime.now` of `datetime.now`, as the file imports it; empty for what is no name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        inner = _full_name(node.value, names)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def _is_one_of(name: str, asks: tuple[str, ...]) -> bool:
    return any(name.startswith(each) if each.endswith(".") else name == each for each in asks)
