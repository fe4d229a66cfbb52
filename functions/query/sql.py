"""One SELECT over files, by DuckDB, in a child process (functions/sandbox/sandbox.py).

Before the query is read DuckDB is shut: it opens the files that are its inputs and its result, loads nothing, and its
settings are locked. The walls around the child say the same to the kernel.
"""

import os
import shutil
from pathlib import Path
from typing import IO, Any, Final

import duckdb
import msgspec

READERS: Final = {
    "csv": "read_csv('{}', header = true, buffer_size = 4000000)",  # 32 MB otherwise, for each table
    "jsonl": "read_json('{}')",
    "parquet": "read_parquet('{}')",
}
WRITERS: Final = {
    "csv": "FORMAT csv, HEADER true",
    "jsonl": "FORMAT json",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
}
SHUT: Final = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """The query, and for each table its name and format; the files follow in that order."""

    sql: str
    tables: tuple[tuple[str, str], ...]
    parameters: dict[str, Any]
    result: str
    rows_limit: int
    memory_bytes: int
    threads: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the query gives: a file's content, or each row as JSON."""

    columns: tuple[tuple[str, str], ...]
    count: int
    rows: tuple[str, ...] = ()
    content: bytes = b""


def answer(task: Task, *files: IO[bytes]) -> Answer:
    """Do the query; raise ValueError where it, or a file, is wrong."""
    folder = Path.cwd()
    inputs = [_kept(folder / f"input-{number}.{task.tables[number][1]}", file) for number, file in enumerate(files)]
    output = folder / "output"
    connection = _opened(task, folder, [*inputs, output])
    try:
        for (name, format_), path in zip(task.tables, inputs, strict=True):
            connection.execute(f'CREATE VIEW "{name}" AS FROM {READERS[format_].format(path)}')
        _require_select(connection, task.sql)
        connection.execute(f"CREATE TEMP TABLE _result AS {task.sql.strip().rstrip(';')}", task.parameters or None)
        return _read(connection, task, output)
    except duckdb.Error as error:
        raise ValueError(str(error)) from error
    finally:
        connection.close()


def _kept(path: Path, file: IO[bytes]) -> Path:
    with path.open("wb") as kept:
        shutil.copyfileobj(file, kept)
    return path


def _opened(task: Task, folder: Path, allowed: list[Path]) -> duckdb.DuckDBPyConnection:
    os.environ["HOME"] = str(folder)
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": task.threads,
        "memory_limit": f"{task.memory_bytes}B",
        "temp_directory": str(folder / "spill"),
    }
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET allowed_paths = ?", [[str(each) for each in allowed]])
    for each in SHUT:
        connection.execute(each)
    return connection


def _require_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    kinds = [each.type.name for each in connection.extract_statements(sql)]
    if kinds != ["SELECT"]:
        raise ValueError(f"one SELECT is expected, got {', '.join(kinds) or 'nothing'}")


def _read(connection: duckdb.DuckDBPyConnection, task: Task, output: Path) -> Answer:
    columns = tuple((str(each[0]), str(each[1])) for each in connection.execute("DESCRIBE _result").fetchall())
    [(count,)] = connection.execute("SELECT count(*) FROM _result").fetchall()
    if count > task.rows_limit:
        raise ValueError(f"a result may have {task.rows_limit} rows, this one has {count}")
    if task.result != "rows":
        connection.execute(f"COPY _result TO '{output}' ({WRITERS[task.result]})")
        return Answer(columns=columns, count=count, content=output.read_bytes())
    rows = connection.execute("SELECT to_json(r) FROM _result AS r").fetchall()
    return Answer(columns=columns, count=count, rows=tuple(str(each[0]) for each in rows))
