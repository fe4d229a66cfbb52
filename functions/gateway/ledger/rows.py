"""Statements about many rows: a commit that holds for hundreds of jobs has as few of them as it can."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from functions.storage.database import Row, Transaction

SIZES: Final = (64, 16, 4, 1)  # rows of one statement
MARK: Final = "{rows}"


def execute(transaction: Transaction, statement: str, rows: Sequence[Sequence[object]]) -> list[Row]:
    """Execute a statement that has `{rows}` where the rows are to stand, for all of them; what it returns."""
    returned: list[Row] = []
    for some in _chunks(rows):
        text = _text(statement, len(some), len(some[0]))
        returned += transaction.execute(text, *(value for row in some for value in row))
    return returned


def _chunks(rows: Sequence[Sequence[object]]) -> Iterator[Sequence[Sequence[object]]]:
    start = 0
    while start < len(rows):
        size = next(each for each in SIZES if each <= len(rows) - start)
        yield rows[start : start + size]
        start += size


@cache
def _text(statement: str, count: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.replace(MARK, ", ".join([row] * count))
