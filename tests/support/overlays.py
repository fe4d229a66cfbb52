"""What kustomize makes of our folders, as it is applied."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

from knative.cluster.overlay import Overlay, overlay_of
from tests.support.absent import absent

ROOT = Path(__file__).parents[2]
PRODUCTION = ROOT / "knative" / "overlays" / "production"


def kustomized(folder: Path) -> str:
    """What kustomize makes of a folder; CI has it where there is a Go toolchain (.ci/run)."""
    local = str(ROOT / ".venv/bin/kustomize")
    kustomize, kubectl = shutil.which("kustomize") or shutil.which(local), shutil.which("kubectl")
    command = [kustomize, "build"] if kustomize else [kubectl, "kustomize"] if kubectl else None
    if command is None:
        absent("neither kubectl nor kustomize is installed")
    flags = ["--load-restrictor", "LoadRestrictionsNone"]  # as knative.manifests.reading
    return subprocess.run([*map(str, command), *flags, str(folder)], capture_output=True, text=True, check=True).stdout


@cache
def production() -> Overlay:
    """The production overlay."""
    return overlay_of(kustomized(PRODUCTION))


def changed(folder: Path, *pairs: tuple[str, str]) -> Path:
    """A copy of the manifests below `folder`, where the production overlay's kustomization says something else."""
    for each in ("knative", "keda"):
        shutil.copytree(ROOT / each, folder / each, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    kustomization = folder / "knative/overlays/production/kustomization.yaml"
    text = kustomization.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    kustomization.write_text(text)
    return kustomization.parent
