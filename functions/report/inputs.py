"""The files that a job names, read before it is rendered: its data, attachments, and the PDFs to join."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from events.problem import FieldError, JobFailed, decode
from events.types import Input, ReportRequested
from functions.net.guard import Guard
from functions.report.draft import LOGO
from functions.storage.inputs import load
from functions.storage.store import Store


@dataclass(frozen=True)
class InputReader:
    """Reads inputs, wherever they are."""

    store: Store
    guard: Guard
    timeout_s: float

    def read(self, source: Input, pointer: str, *, limit_bytes: int) -> bytes:
        """The bytes; raises JobFailed that names the field, TryAgain when the place is down."""
        try:
            return load(source, store=self.store, guard=self.guard, limit_bytes=limit_bytes, timeout_s=self.timeout_s)
        except JobFailed as failed:
            error = FieldError(pointer=pointer, detail=failed.detail)
            raise JobFailed(failed.kind, f"{pointer}: {failed.detail}", (error,)) from failed

    def data(self, job: ReportRequested, *, limit_bytes: int) -> bytes | None:
        """What the data source holds, if there is one."""
        if job.data_source is None:
            return None
        return self.read(job.data_source.source, "#/data_source/source", limit_bytes=limit_bytes)


def files_of(job: ReportRequested, reader: InputReader, *, limit_bytes: int) -> dict[str, bytes]:
    """The contents of all files by pointer; together at most `limit_bytes`."""
    files: dict[str, bytes] = {}
    for pointer, source in _sources(job):
        left_bytes = limit_bytes - sum(map(len, files.values()))
        files[pointer] = reader.read(source, pointer, limit_bytes=left_bytes)
    return files


def _sources(job: ReportRequested) -> Iterator[tuple[str, Input]]:
    if job.template is not None and job.data is not None and "logo" in job.data:
        yield LOGO, decode(msgspec.json.encode(job.data["logo"]), Input, at=LOGO)
    for place, output in enumerate(job.outputs):
        if output.pdf is None:
            continue
        at = f"#/outputs/{place}/pdf"
        for number, attachment in enumerate(output.pdf.attachments):
            yield f"{at}/attachments/{number}/source", attachment.source
        if output.pdf.watermark is not None and output.pdf.watermark.source is not None:
            yield f"{at}/watermark/source", output.pdf.watermark.source
        for field in ("before", "after"):
            for number, source in enumerate(getattr(output.pdf, field)):
                yield f"{at}/{field}/{number}", source
