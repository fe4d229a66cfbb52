"""`--reload`: restarts a function when a Python file of its folder, or of what it builds on, changes.

When manifests change the runner starts anew, since every part of it is made of them.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from knative.local.exceptions import CannotStart
from knative.local.process.processes import Pool
from knative.manifests.documents import ManifestError
from knative.manifests.manifests import Manifests, Service

log = logging.getLogger("errands.runner")

INTERVAL_S: Final = 0.5


async def watch(manifests: Manifests, pools: Mapping[str, Pool]) -> None:
    """Look at the files' times, until cancelled."""
    seen = {name: _newest(service, service.root) for name, service in manifests.services.items()}
    while True:
        await asyncio.sleep(INTERVAL_S)
        for name, service in manifests.services.items():
            newest = _newest(service, service.root)
            if newest != seen[name]:
                seen[name] = newest
                pools[name].reload()


async def changed(folders: Sequence[Path], check: Callable[[], Awaitable[object]]) -> None:
    """Until a file of these folders of manifests is another one, and `check` does not raise any more."""
    seen = _versions(folders)
    while True:
        await asyncio.sleep(INTERVAL_S)
        found = _versions(folders)
        if found == seen:
            continue
        seen = found
        try:
            await check()
        except (CannotStart, ManifestError) as error:
            log.error("the manifests have changed, and cannot be run so; the old ones still are: %s", error)
        else:
            return


async def lint(folders: Sequence[Path]) -> None:
    """Raise CannotStart with what the linter finds, where an error is among it.

    In a process of its own: what it loads would be in the runner's memory for ever.
    """
    command = (sys.executable, "-m", "knative.cli.main", "lint", "--format", "brief")
    linter = await asyncio.create_subprocess_exec(
        *command, *map(str, folders), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await linter.communicate()
    if linter.returncode:
        raise CannotStart(said.decode(errors="replace").strip())


def _versions(folders: Sequence[Path]) -> dict[Path, float]:
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in (".yaml", ".yml")]
    return {file: file.stat().st_mtime for file in files if file.is_file()}


def _newest(service: Service, root: Path) -> float:
    """When the youngest file of the function's folder, of the rooms beside it or of the contract was changed."""
    source = service.environment["FUNCTION_SOURCE"]
    folder = (root / source if isinstance(source, str) else root).parent
    rooms = [each.parent for each in folder.parent.glob("*/__init__.py") if not (each.parent / "main.py").exists()]
    files = [*folder.rglob("*"), *folder.parent.glob("*.py")]
    files += [file for room in (*rooms, root / "events") for file in room.rglob("*.py")]
    sources = [file for file in files if file.is_file() and "__pycache__" not in file.parts]
    return max((file.stat().st_mtime for file in sources), default=0.0)
