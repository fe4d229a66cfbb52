"""The whole demonstration, every function unchanged, on Knative's own ingress and dispatchers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.local_runner import ROOT
from tests.support.rabbitmq_server import RabbitServer

pytestmark = pytest.mark.slow


def test_the_demonstration_ends_well_on_knatives_data_plane(
    tmp_path: Path, programs: Path, rabbit: RabbitServer
) -> None:
    """`programs` and `rabbit` only say whether this machine can; it starts its own."""
    project = tmp_path / "project"
    for folder in (".ci", "events", "functions", "knative", "tests"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))

    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", "--knative"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("verified") == 7
