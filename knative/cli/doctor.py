"""`errands doctor`: what this machine has and lacks, with the one line that mends each."""

import ctypes.util
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from functions.sandbox import walls
from knative.local.broker.integrity import examined

LIBRARIES: Final = {"pango-1.0": "libpango-1.0-0", "pangoft2-1.0": "libpangoft2-1.0-0"}
FASTER: Final = {"harfbuzz-subset": "libharfbuzz-subset0"}
PACKAGES: Final = {
    "ics": ("tzdata",),
    "image": ("PIL",),
    "report": ("weasyprint", "jinja2", "babel", "pikepdf", "xlsxwriter"),
    "message": ("apprise", "jinja2", "babel"),
    "notifier": ("uvloop", "idna"),
    "local": ("uvloop", "yaml", "croniter", "prometheus_client", "jsonschema"),
}
FREE_DISK_BYTES: Final = 1024**3


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One thing looked at. `mend` is a command or a sentence; `needed` tells whether `up` and its functions need it."""

    what: str
    well: bool
    mend: str
    needed: bool = True

    @property
    def line(self) -> str:
        """What the person reads."""
        if self.well:
            return f"ok       {self.what}"
        return f"{'MISSING' if self.needed else 'optional':<8} {self.what}: {self.mend}"


def as_array(found: Sequence[Diagnosis]) -> str:
    """For programs: an object for each, with `what`, `well`, `needed` and, where it is not well, `mend`."""
    shown = [asdict(each) | ({"mend": None} if each.well else {}) for each in found]
    return json.dumps(shown, indent=2)


def told(found: Sequence[Diagnosis], *, as_json: bool) -> str:
    """What was looked at, a line each, or for programs."""
    return as_array(found) if as_json else "\n".join(each.line for each in found)


def lacks(found: Sequence[Diagnosis]) -> bool:
    """Whether something that is needed is not there."""
    return any(each.needed and not each.well for each in found)


def look(data: Path, port: int) -> list[Diagnosis]:
    """Everything, in the order in which it would be missed."""
    return [
        Diagnosis(what="Python 3.11 or later", well=sys.version_info >= (3, 11), mend="apt-get install python3"),
        *[_packages(extra, modules) for extra, modules in PACKAGES.items()],
        *[_library(name, package, needed=True) for name, package in LIBRARIES.items()],
        *[_library(name, package, needed=False) for name, package in FASTER.items()],
        Diagnosis(what="fonts", well=_fonts(), mend="apt-get install fonts-dejavu-core"),
        _walls(),
        _data(data),
        *_event_log(data / "journal.db"),
        _port(port),
        _command("php", "apt-get install php-cli php-curl (for the PHP example)", _php_has_curl),
        _command("rabbitmq-server", "apt-get install rabbitmq-server (for a broker on more than one machine)"),
        _command("kubectl", "see kubernetes.io/docs/tasks/tools (to deploy on a cluster)"),
    ]


def _packages(extra: str, modules: tuple[str, ...]) -> Diagnosis:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    what = f"Python packages of {extra}" + (f" ({', '.join(missing)})" if missing else "")
    return Diagnosis(what=what, well=not missing, mend=f"pip install 'errands[{extra}]'")


def _library(name: str, package: str, *, needed: bool) -> Diagnosis:
    found = ctypes.util.find_library(name) is not None
    why = "for PDFs" if needed else "renders PDFs 2.8 times as fast"
    return Diagnosis(what=f"lib{name} ({why})", well=found, mend=f"apt-get install {package}", needed=needed)


def _fonts() -> bool:
    """Whether fontconfig, which chooses the fonts of a PDF, knows any."""
    lister = shutil.which("fc-list")
    if lister:
        return bool(subprocess.run([lister], capture_output=True, check=False, timeout=30).stdout.strip())
    return any(Path("/usr/share/fonts").rglob("*.[to]tf"))


def _walls() -> Diagnosis:
    """Whether the kernel keeps hostile pictures and templates from files, network and processes."""
    lacks = walls.missing()
    what = "walls around hostile jobs (Landlock, seccomp)"
    mend = f"this kernel lacks {'; '.join(lacks)}"
    return Diagnosis(what=what, well=not lacks, mend=mend, needed=False)


def _data(data: Path) -> Diagnosis:
    folder, mend = data, "give --data DIR"
    try:
        folder = next(each for each in (data, *data.resolve().parents) if each.exists())
        mend = f"make {folder} a folder that this user can write, or give --data DIR"
        with tempfile.TemporaryFile(dir=folder):
            free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        return Diagnosis(what=f"data directory {data} ({error.strerror})", well=False, mend=mend)
    what = f"data directory {data} with {free_bytes / 1024**3:.1f} GiB free"
    return Diagnosis(what=what, well=free_bytes >= FREE_DISK_BYTES, mend="free some of the disk, or give --data DIR")


def _event_log(file: Path) -> list[Diagnosis]:
    """What a runner would say of the events that it kept; nothing where it has kept none."""
    try:
        found = examined(file) if any(file.parent.glob("journal.*")) else None
    except OSError:
        return []  # what is wrong with the folder is said of it
    if found is None:
        return []
    mend = "restore a backup (knative/README.md, Backup and restore), or send again the jobs that have no outcome"
    damages = [Diagnosis(what=f"event log {file}: {each}", well=False, mend=mend) for each in found.wrong]
    return damages or [
        Diagnosis(what=f"event log {file}, in which {found.waiting} deliveries wait", well=True, mend="")
    ]


def _port(port: int) -> Diagnosis:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        return Diagnosis(what=f"port {port} ({error.strerror})", well=False, mend="stop what uses it, or give --port N")
    return Diagnosis(what=f"port {port}", well=True, mend="")


def _command(name: str, mend: str, also: Callable[[str], bool] = lambda _path: True) -> Diagnosis:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return Diagnosis(what=name, well=path is not None and also(path), mend=mend, needed=False)


def _php_has_curl(path: str) -> bool:
    shown = subprocess.run([path, "-m"], capture_output=True, check=False, text=True, timeout=30)
    return "curl" in shown.stdout.split()
