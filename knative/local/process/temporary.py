"""The temporary files of each process: in a folder of its own, which goes when the process has ended, however it did.

What a runner that was killed has left is removed at its next start (knative/local/data_folder.py).
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

log = logging.getLogger("errands.processes")

VARIABLE: Final = "TMPDIR"


@asynccontextmanager
async def own_temporary(environment: Mapping[str, str]) -> AsyncIterator[dict[str, str]]:
    """The environment with a folder within the one that it names, for as long as the process runs."""
    if VARIABLE not in environment:
        yield dict(environment)
        return
    folder = tempfile.mkdtemp(prefix="process-", dir=environment[VARIABLE])
    try:
        yield {**environment, VARIABLE: folder}
    finally:
        await asyncio.to_thread(_remove, folder)


def _remove(folder: str) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        log.warning("the temporary files of a process that ended are still there: %s", error)
