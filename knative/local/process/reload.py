"""`--reload`: restarts a function when a Python file of its folder, or of what it builds on, changes."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from knative.local.process.processes import Pool
from knative.manifests.manifests import Manifests, Service

INTERVAL_S: Final = 0.5


async def watch(manifests: Manifests, pools: Mapping[str, Pool]) -> None:
    """Look at the files' times, until cancelled."""
    seen = {name: _newest(service, manifests.root) for name, service in manifests.services.items()}
    while True:
        await asyncio.sleep(INTERVAL_S)
        for name, service in manifests.services.items():
            newest = _newest(service, manifests.root)
            if newest != seen[name]:
                seen[name] = newest
                pools[name].reload()


def _newest(service: Service, root: Path) -> float:
    """When the youngest file of the function's folder, of the rooms beside it or of the contract was changed."""
    source = service.environment["FUNCTION_SOURCE"]
    folder = (root / source if isinstance(source, str) else root).parent
    rooms = [each.parent for each in folder.parent.glob("*/__init__.py") if not (each.parent / "main.py").exists()]
    files = [*folder.rglob("*"), *folder.parent.glob("*.py")]
    files += [file for room in (*rooms, root / "events") for file in room.rglob("*.py")]
    sources = [file for file in files if file.is_file() and "__pycache__" not in file.parts]
    return max((file.stat().st_mtime for file in sources), default=0.0)
