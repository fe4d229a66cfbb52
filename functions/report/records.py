"""Data by reference: JSON, JSON Lines and CSV become the data of a template."""

import csv
import io
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from events.problem import FieldError, JobFailed
from events.types.report import ReportDataSource, ReportRequested

ROWS_FIELD: Final = "rows"
DELIMITERS: Final = (";", ",", "\t", "|")
SHOWN_NAMES: Final = 20
_ALIKE: Final = 0.75  # of difflib's ratio: nett is net, and sku is not secret
SHOWN_CHARACTERS: Final = 100


def with_source(
    data: dict[str, Any] | None, source: ReportDataSource | None, content: bytes | None, *, rows_limit: int
) -> dict[str, Any]:
    """The inline data together with what was read; raise JobFailed (`invalid-source`) that names the line."""
    given = dict(data or {})
    if source is None or content is None:
        return given
    read = _read(source, content, rows_limit)
    field = _field(source)
    if field:
        return {**given, field: read}
    if not isinstance(read, dict):
        raise _invalid("the JSON must be an object; give a field for anything else")
    return {**given, **read}


def check_columns(job: ReportRequested, data: Mapping[str, Any], content: bytes | None) -> tuple[str, ...]:
    """Warnings of the columns that stand nowhere in the rows that were read.

    Raises JobFailed (`invalid-source`) where no column does, or one is there by another spelling: another delimiter or
    a misspelt name would otherwise give a document without its data.
    """
    source = job.data_source
    if source is None or content is None:
        return ()
    field = _field(source)
    warnings: list[str] = []
    for rows_field, wanted in _wanted(job, data):
        if field in (None, rows_field):
            found = _header(content, source.delimiter) if source.format == "csv" else _keys(data.get(rows_field))
            warnings += _missing(wanted, found, source)
    return tuple(warnings)


def _field(source: ReportDataSource) -> str | None:
    """Where the template finds what was read; None where it is the whole data."""
    return source.field or (None if source.format == "json" else ROWS_FIELD)


def _wanted(job: ReportRequested, data: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The columns by the field of their rows, as far as they are well-formed: what is not is told by its own check."""
    if job.own is not None:
        yield from ((each.rows, [column.name for column in each.columns]) for each in job.own.sheets)
    elif job.template == "table" and isinstance(columns := data.get("columns"), list):
        names = [each.get("name") for each in columns if isinstance(each, dict)]
        yield ROWS_FIELD, [each for each in names if isinstance(each, str)]


def _header(content: bytes, delimiter: str) -> list[str]:
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")  # decodes no more than is read
    names: list[str] = next(csv.reader(text, delimiter=delimiter), [])
    return names


def _keys(rows: Any) -> list[str] | None:
    """Those of all rows, in their order; None without rows."""
    found = [each for each in rows if isinstance(each, dict)] if isinstance(rows, list) else []
    return list(dict.fromkeys(key for row in found for key in row)) if found else None


def _missing(wanted: list[str], found: list[str] | None, source: ReportDataSource) -> list[str]:
    if found is None or not (missing := [each for each in wanted if each not in found]):
        return []
    detail = f"the data has no {_listed(missing)}; expected {_listed(wanted)}, found {_listed(found) or 'none'}"
    if source.format == "csv" and len(found) == 1 and (other := [each for each in DELIMITERS if each in found[0]]):
        detail += f"; is the delimiter {other[0]!r} and not {source.delimiter!r}?"
    unknown = {_spelling(each): each for each in found if each not in wanted}
    is_misspelt = any(get_close_matches(_spelling(each), unknown, 1, cutoff=_ALIKE) for each in missing)
    if is_misspelt or len(missing) == len(wanted):
        raise _invalid(detail)
    return [detail]


def _spelling(name: str) -> str:
    """Without what is easily mistaken: case, spaces and signs."""
    return "".join(each for each in name.casefold() if each.isalnum())


def _listed(names: list[str]) -> str:
    """In quotes, which show a space at an end; a long list is cut short."""
    shown = ", ".join(repr(each[:SHOWN_CHARACTERS]) for each in names[:SHOWN_NAMES])
    return shown + (", ..." if len(names) > SHOWN_NAMES else "")


def _read(source: ReportDataSource, content: bytes, rows_limit: int) -> Any:
    if source.format == "json":
        return _checked(_json(content, "the data"), rows_limit)
    rows = _lines(content) if source.format == "jsonl" else _csv(content, source.delimiter, rows_limit)
    return _checked(rows, rows_limit)


def _checked(read: Any, rows_limit: int) -> Any:
    if isinstance(read, list) and len(read) > rows_limit:
        raise _invalid(f"there must be at most {rows_limit} rows, got {len(read)}")
    return read


def _json(content: bytes, what: str) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"{what} must be JSON: {error}") from error


def _lines(content: bytes) -> list[Any]:
    try:
        return msgspec.json.Decoder().decode_lines(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # once more, for the number of the line
        return [_json(line, f"line {number}") for number, line in enumerate(content.splitlines(), 1) if line.strip()]


def _csv(content: bytes, delimiter: str, rows_limit: int) -> list[dict[str, str]]:
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True)
        return _named(lines, rows_limit)
    except UnicodeDecodeError as error:
        raise _invalid(f"a CSV must be UTF-8: {error}") from error
    except csv.Error as error:
        raise _invalid(f"the CSV is not well-formed: {error}") from error


def _named(lines: Any, rows_limit: int) -> list[dict[str, str]]:
    names: list[str] = next(lines, [])
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise _invalid(f"a CSV's columns must have different names, got {', '.join(repeated)[:80]} twice")
    rows: list[dict[str, str]] = []
    for cells in lines:
        if len(cells) > len(names):
            raise _invalid(f"line {lines.line_num} has {len(cells)} cells, expected at most {len(names)}")
        if len(rows) == rows_limit:
            raise _invalid(f"there must be at most {rows_limit} rows, got more")
        if cells:
            rows.append({name: cell for name, cell in zip(names, cells, strict=False) if cell})
    return rows


def _invalid(detail: str) -> JobFailed:
    return JobFailed("invalid-source", detail, (FieldError(pointer="#/data_source", detail=detail),))
