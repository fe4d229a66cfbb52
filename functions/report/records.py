"""Data by reference: JSON, JSON Lines and CSV become the data of a template."""

import csv
import io
from typing import Any, Final

import msgspec

from events.problem import FieldError, JobFailed
from events.types.report import ReportDataSource

ROWS_FIELD: Final = "rows"


def with_source(
    data: dict[str, Any] | None, source: ReportDataSource | None, content: bytes | None, *, rows_limit: int
) -> dict[str, Any]:
    """The inline data together with what was read; raise JobFailed (`invalid-source`) that names the line."""
    given = dict(data or {})
    if source is None or content is None:
        return given
    read = _read(source, content, rows_limit)
    field = source.field or (None if source.format == "json" else ROWS_FIELD)
    if field:
        return {**given, field: read}
    if not isinstance(read, dict):
        raise _invalid("the JSON must be an object; give a field for anything else")
    return {**given, **read}


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
