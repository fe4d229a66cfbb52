"""Writes `events/schemas/TYPE.json`, the JSON Schema of each event type's data: `make schemas`."""

import inspect
from pathlib import Path
from typing import Any, Final

import msgspec

from events.types import REGISTRY

FOLDER: Final = Path(__file__).parent / "schemas"
SITE: Final = "https://errands.dev/schemas"


def rendered(type_: str) -> bytes:
    """The text of the file of one event type."""
    return text(f"{SITE}/{type_}.json", REGISTRY[type_])


def text(identity: str, described: type) -> bytes:
    """JSON Schema 2020-12 of a struct, as the text of a file; the same with every release of msgspec."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": identity}
    schema = _settled(msgspec.json.schema(described))
    return msgspec.json.format(msgspec.json.encode(head | schema), indent=2) + b"\n"


def _settled(schema: Any) -> Any:
    """A schema without what differs between msgspec 0.20 and 0.23: indented docstrings, and where `null` stands."""
    if isinstance(schema, list):
        return [_settled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    settled = {key: _settled(each) for key, each in schema.items()}
    if isinstance(words := settled.get("description"), str):
        settled["description"] = inspect.cleandoc(words)
    if isinstance(ways := settled.get("anyOf"), list):
        settled["anyOf"] = sorted(ways, key=lambda way: way == {"type": "null"})
    return settled


def main() -> None:
    """Write every schema, and remove those of types that are gone."""
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for type_ in REGISTRY:
        (FOLDER / f"{type_}.json").write_bytes(rendered(type_))


if __name__ == "__main__":
    main()
