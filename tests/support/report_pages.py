"""Every built-in template with every kind of data as pictures: python -m tests.support.report_pages FOLDER
[TEMPLATE].
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]  # it has no types

from events.types import ReportRequested
from events.types.report import ReportOutput
from functions.report.document import render
from functions.report.draft import Draft
from tests.support.report_data import CASES

MADE_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def main() -> None:
    """NAME-CASE-PAGE.png, the first four pages of each, and the PDF and HTML beside them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, cases in CASES.items():
        for case, data in cases.items():
            if sys.argv[2:] in ([], [name]):
                show(folder, name, case, ReportRequested(template=name, data=data, outputs=OUTPUTS))


OUTPUTS = (ReportOutput(name="pdf"), ReportOutput(name="html", format="html"))


def show(folder: Path, name: str, case: str, job: ReportRequested) -> None:
    made = render(Draft(job=job, data=None, files={}, identifier="x", made_at=MADE_AT, pages_limit=500, rows_limit=9))
    if made.refusal:
        sys.exit(f"{name} {case}: {made.refusal}")
    for output, document in made.documents.items():
        (folder / f"{name}-{case}.{output}").write_bytes(document.content)
    pages = pypdfium2.PdfDocument(made.documents["pdf"].content)
    print(f"{name} {case}: {len(pages)} pages {' '.join(made.warnings)}")
    for number in range(min(len(pages), 4)):
        pages[number].render(scale=1).to_pil().save(folder / f"{name}-{case}-{number + 1}.png")


if __name__ == "__main__":
    main()
