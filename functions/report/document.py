"""Makes every output of a job from one run of its template; what runs in the child process
(functions/sandbox/sandbox.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec

from events.problem import FieldError, JobFailed
from events.types.report import ReportCsv, ReportOutput, ReportPdf
from functions.report.builtin import builtin_page
from functions.report.csv_file import csv_file
from functions.report.draft import Asset, Document, Draft, Rendered, ReportRefusal, Wanted
from functions.report.engine.fonts import use_one_heap
from functions.report.engine.messages import AssetMissing, Journal
from functions.report.engine.pdf import Press, pdf
from functions.report.own import own_page
from functions.report.page import Page
from functions.report.picture import check_picture
from functions.report.records import check_columns, with_source
from functions.report.sheet import Sheet
from functions.sandbox.sandbox import ask, progress


def render(draft: Draft) -> Rendered:
    """Run the template once, and make each output of it; what cannot be done is told in the answer."""
    use_one_heap()
    journal = Journal(pages_limit=draft.pages_limit, fails=draft.job.on_missing == "fail")
    try:
        page = _page(draft)
        press = Press(_asset, journal, draft.identifier, draft.made_at)
        documents = {
            output.name: _document(page, output, place, draft, press) for place, output in enumerate(draft.job.outputs)
        }
    except JobFailed as failed:
        return Rendered(refusal=ReportRefusal(kind=failed.kind, detail=failed.detail, errors=failed.errors))
    except AssetMissing as missing:
        return Rendered(refusal=ReportRefusal(kind="asset-missing", detail=str(missing)))
    except RecursionError:
        detail = "the document is nested too deeply to be laid out"
        return Rendered(refusal=ReportRefusal(kind="limit-exceeded", detail=detail))
    return Rendered(documents=documents, warnings=page.warnings + journal.warnings)


def _page(draft: Draft) -> Page:
    job = draft.job
    data = with_source(job.data, job.data_source, draft.data, rows_limit=draft.rows_limit)
    missing = check_columns(job, data, draft.data)
    page = _filled(draft, data)
    return replace(page, warnings=missing + page.warnings)


def _filled(draft: Draft, data: dict[str, Any]) -> Page:
    job = draft.job
    if job.own is not None:
        return own_page(job.own, data, _asset, made_at=draft.made_at)
    papers = tuple(each.pdf or ReportPdf() for each in job.outputs if each.format == "pdf")
    read = draft.data is not None
    return builtin_page(
        job.template or "", data, rows_are_read=read, made_at=draft.made_at, papers=papers, files=draft.files
    )


@cache
def _asset(url: str) -> Asset:
    """Asked for once, however many outputs use it."""
    return msgspec.msgpack.decode(ask(msgspec.msgpack.encode(Wanted(url))), type=Asset)


def _document(page: Page, output: ReportOutput, place: int, draft: Draft, press: Press) -> Document:
    progress(f"{output.name} begun")
    match output.format:
        case "html":
            return Document(content=page.html.encode())
        case "pdf":
            return _pdf(page, output.pdf or ReportPdf(), place, draft, press)
        case _ if not page.sheets:
            detail = f"the template has no rows for {output.format}; it makes pdf and html"
            raise JobFailed("output-refused", detail, (FieldError(pointer=f"#/outputs/{place}/format", detail=detail),))
        case "csv":
            return Document(content=_csv(page.sheets[0], output.csv or ReportCsv(), place))
        case _:
            from functions.report.workbook import workbook  # the first report need not wait for it

            return Document(content=workbook(page.sheets, title=page.title, made_at=draft.made_at))


@contextmanager
def _told_of_strangers(draft: Draft) -> Iterator[None]:
    """What the layout of a stranger's template raises is told to them, who alone can change it: no retry would help.

    Of a built-in template it is a bug of ours.
    """
    try:
        yield
    except (JobFailed, MemoryError, OSError, RecursionError):  # a limit, the pipe to the function, what was refused
        raise
    except Exception as error:
        if draft.job.own is None:
            raise
        detail = f"the document cannot be laid out: {type(error).__name__}: {error}"[:300]
        raise JobFailed("template-refused", detail, (FieldError(pointer="#/own", detail=detail),)) from error


def _csv(sheet: Sheet, options: ReportCsv, place: int) -> bytes:
    try:
        return csv_file(sheet, options)
    except ValueError as error:
        pointer = f"#/outputs/{place}/csv/locale"
        raise JobFailed(
            "invalid-data", f"{pointer}: {error}", (FieldError(pointer=pointer, detail=str(error)),)
        ) from error


def _pdf(page: Page, options: ReportPdf, place: int, draft: Draft, press: Press) -> Document:
    at = f"#/outputs/{place}/pdf"
    if options.variant == "factur-x" and page.e_invoice is None:
        detail = "factur-x expects the template invoice, which makes the XML that programs read"
        raise JobFailed("output-refused", detail, (FieldError(pointer=f"{at}/variant", detail=detail),))
    files = {each.name: draft.files[f"{at}/attachments/{n}/source"] for n, each in enumerate(options.attachments)}
    watermark = draft.files.get(f"{at}/watermark/source")
    if watermark is not None:
        check_picture(watermark, f"{at}/watermark/source")
    with _told_of_strangers(draft):
        made = pdf(page, options, files, press, watermark=watermark)
    if not (options.before or options.after or options.encryption):
        return made
    # slow to import, and few jobs need it
    from functions.report.joining import encrypted, joined

    content, pages = made.content, made.pages
    if options.before or options.after:
        before = {f"{at}/before/{n}": draft.files[f"{at}/before/{n}"] for n in range(len(options.before))}
        after = {f"{at}/after/{n}": draft.files[f"{at}/after/{n}"] for n in range(len(options.after))}
        content, pages = joined(content, before, after, pages_limit=draft.pages_limit)
    if options.encryption:
        content = encrypted(content, options.encryption)
    return Document(content=content, pages=pages)
