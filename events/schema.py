"""Writes `events/schemas/TYPE.json`, the JSON Schema of each event type's data: `make schemas`."""

from pathlib import Path
from typing import Any, Final

import msgspec

from events.types import REGISTRY

FOLDER: Final = Path(__file__).parent / "schemas"


def schema(type_: str) -> dict[str, Any]:
    """JSON Schema 2020-12 of the data of one event type."""
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://errands.dev/schemas/{type_}.json",
    }
    return described | msgspec.json.schema(REGISTRY[type_])


def rendered(type_: str) -> bytes:
    """The text of the schema's file."""
    return msgspec.json.format(msgspec.json.encode(schema(type_)), indent=2) + b"\n"


def main() -> None:
    """Write every schema, and remove those of types that are gone."""
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for type_ in REGISTRY:
        (FOLDER / f"{type_}.json").write_bytes(rendered(type_))


if __name__ == "__main__":
    main()
