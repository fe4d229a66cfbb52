"""Results in a store that is a folder, over HTTP: somebody's data, which is shown, but runs nothing and loads nothing.

A result's key is made with a secret of the installation, so nobody finds it who was not told.
"""

import logging
import os
from pathlib import Path
from typing import Final, cast

from functions.runtime.port import Application, problem
from functions.storage.file_name import disposition
from functions.storage.folder import leads_astray

log = logging.getLogger("errands.gateway")

PLACE: Final = "/artifacts/"
HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "cache-control": "private, max-age=3600",
}


def artifact(store: Path | None, key: str) -> Application:
    """The result of a key, or that there is none."""
    parts = key.split("/")
    file = store / key if store and len(parts) == 4 and parts[0] == "jobs" else None
    if file is None or ".." in parts or "\0" in key or not os.path.isfile(file):  # Path's raises for a long name
        return problem(404, "not-found", "there is no such artefact here")
    if leads_astray(cast(Path, store), key):
        log.error("not served: a link stands at %s or on the way there", file)
        return problem(404, "not-found", "there is no such artefact here")
    from starlette.responses import FileResponse  # a large import, for who reads one here alone

    headers = {**HEADERS, "content-disposition": disposition(parts[-1])}
    return cast(Application, FileResponse(file, headers=headers))  # but for the names of its parameters
