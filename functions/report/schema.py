"""Writes `functions/report/schemas/TEMPLATE.json`, the JSON Schema of each built-in template's data: `make schemas`."""

from pathlib import Path
from typing import Final

from events.schema import SITE, text
from functions.report.builtin import TEMPLATES

FOLDER: Final = Path(__file__).parent / "schemas"


def rendered(template: str) -> bytes:
    """The text of the schema's file."""
    return text(f"{SITE}/report/{template}.json", TEMPLATES[template])


def main() -> None:
    """Write every schema."""
    FOLDER.mkdir(exist_ok=True)
    for template in TEMPLATES:
        (FOLDER / f"{template}.json").write_bytes(rendered(template))


if __name__ == "__main__":
    main()
