"""Templates of the caller's own: checked data, Jinja2 in the sandbox, files from a folder of the store."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from events.problem import FieldError, JobFailed, pointer_part
from events.types.report import ReportOwnTemplate, ReportSheet
from functions.report.draft import FOLDER_URL, Asset
from functions.report.labels import LABELS
from functions.report.page import Page
from functions.report.sheet import Sheet
from functions.report.table import check_cells
from functions.templating.template import MAIN, Conventions, TemplateRefused, environment, run

Ask = Callable[[str], Asset]
SHOWN_ERRORS: Final = 100
_NO_TEXTS: Final[Mapping[str, Mapping[str, str]]] = {}


def own_page(own: ReportOwnTemplate, data: dict[str, Any], ask: Ask, *, made_at: datetime) -> Page:
    """Check the data against the template's schema and run it; raise JobFailed that says what is wrong, and where."""
    source = own.html if own.html is not None else _required(own.file, ask)
    _check(data, own.schema or _json_file(own, "schema.json", ask))
    conventions = _conventions(own, ask)
    made = environment(conventions, lambda name: source if name == MAIN else _included(own, name, ask))
    view = {**data, "data": data, "made_at": made_at, "locale": own.locale}
    try:
        html = run(made, MAIN, view)
        day = made.filters["date"](made_at)
    except TemplateRefused as error:
        raise _invalid(str(error), "#/own") from error
    title = (own.folder or "Report").rstrip("/").rpartition("/")[2]
    sheets = tuple(_sheet(each, data, own, at=f"#/data/{each.rows}") for each in own.sheets)
    return Page(html=_styled(html, own.css), title=title, day=day, sheets=sheets)


def _conventions(own: ReportOwnTemplate, ask: Ask) -> Conventions:
    texts = own.translations or _json_file(own, "translations.json", ask) or _NO_TEXTS
    try:
        texts = msgspec.convert(texts, dict[str, dict[str, str]])
        made = Conventions(own.locale, own.currency, own.timezone, texts)
        made.check()
    except (msgspec.ValidationError, ValueError) as error:
        raise _invalid(str(error), "#/own") from error
    return made


def _required(file: str, ask: Ask) -> str:
    asset = ask(FOLDER_URL + file)
    if asset.refusal:
        raise JobFailed("template-refused", f"the template {file}: {asset.refusal}")
    return _text(asset.content, file)


def _included(own: ReportOwnTemplate, name: str, ask: Ask) -> str | None:
    if own.folder is None:
        return None
    asset = ask(FOLDER_URL + name)
    return None if asset.refusal else _text(asset.content, name)


def _json_file(own: ReportOwnTemplate, name: str, ask: Ask) -> dict[str, Any] | None:
    text = _included(own, name, ask)
    try:
        return None if text is None else msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid(f"{name} must be a JSON object: {error}", "#/own/folder") from error


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid(f"{name} must be UTF-8: {error}", "#/own/folder") from error


def _check(data: dict[str, Any], schema: dict[str, Any] | None) -> None:
    """Hold the data against the JSON Schema; its references lead nowhere but into itself."""
    if schema is None:
        return
    # slow to import, and few jobs need it
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, ValidationError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(schema)
        registry: Registry[Any] = Registry()
        found: list[ValidationError] = []
        for error in Draft202012Validator(schema, registry=registry).iter_errors(data):
            found.append(error)
            if len(found) == SHOWN_ERRORS:
                break
    except (SchemaError, Unresolvable) as error:
        message = getattr(error, "message", str(error))
        raise _invalid(f"the schema is no JSON Schema (2020-12): {message[:200]}", "#/own/schema") from error
    if found:
        errors = tuple(FieldError(pointer=_pointer(each), detail=each.message[:200]) for each in found)
        listed = "; ".join(f"{each.pointer}: {each.detail}" for each in errors[:3])
        raise JobFailed("invalid-data", f"the data breaks the template's schema: {listed}", errors)


def _pointer(error: Any) -> str:
    return "/".join(["#/data", *(pointer_part(str(each)) for each in error.absolute_path)])


def _sheet(wanted: ReportSheet, data: dict[str, Any], own: ReportOwnTemplate, *, at: str) -> Sheet:
    rows = data.get(wanted.rows)
    if not isinstance(rows, list):
        detail = f"must be the rows of a sheet, a list of objects, got {type(rows).__name__}"
        raise JobFailed("invalid-data", f"{at}: {detail}", (FieldError(pointer=at, detail=detail),))
    check_cells(wanted.columns, rows, at=at, more_columns=True)
    labels = LABELS.get(own.locale.partition("-")[0], LABELS["en"])
    return Sheet(wanted.title or wanted.rows, wanted.columns, rows, own.currency, labels["total"])


def _styled(html: str, css: str | None) -> str:
    """With the style sheet at the end of the head, or in front of what has none."""
    if css is None:
        return html
    style, end = f"<style>{css}</style>", html.lower().find("</head>")
    return f"{html[:end]}{style}{html[end:]}" if end >= 0 else style + html


def _invalid(detail: str, pointer: str) -> JobFailed:
    return JobFailed("invalid-template", detail, (FieldError(pointer=pointer, detail=detail),))
