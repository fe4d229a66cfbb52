"""Writes `functions/report/schemas/TEMPLATE.json`, the JSON Schema of each built-in template's data: `make schemas`."""

from pathlib import Path
from typing import Final

import msgspec

from functions.report.builtin import TEMPLATES

FOLDER: Final = Path(__file__).parent / "schemas"


def rendered(template: str) -> bytes:
    """The text of the schema's file."""
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://errands.dev/schemas/report/{template}.json",
    }
    schema = msgspec.json.schema(TEMPLATES[template])
    return msgspec.json.format(msgspec.json.encode(described | schema), indent=2) + b"\n"


def main() -> None:
    """Write every schema."""
    FOLDER.mkdir(exist_ok=True)
    for template in TEMPLATES:
        (FOLDER / f"{template}.json").write_bytes(rendered(template))


if __name__ == "__main__":
    main()
