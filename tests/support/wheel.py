"""The wheel of Errands, built as it is for others."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support.local_runner import ROOT

PARTS: Final = ("events", "functions", "keda", "knative", "pyproject.toml", "README.md", "LICENSE")
BUILD: Final = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir")


def build_wheel(folder: Path) -> Path:
    """Build it into a folder, from a copy of what it is made of: a build leaves files beside its sources."""
    with tempfile.TemporaryDirectory() as copy:
        for each in PARTS:
            if (ROOT / each).is_dir():
                shutil.copytree(ROOT / each, Path(copy, each), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / each, copy)
        subprocess.run([sys.executable, *BUILD, folder, copy], check=True, timeout=300)
    [built] = folder.glob("errands-*.whl")
    return built
