"""What a test needs of the machine: a laptop may lack it, CI may not."""

import os
import shutil
from typing import NoReturn

import pytest


def absent(what: str) -> NoReturn:
    """Skip the test for what is not there, with how it comes there; in CI, which brings everything, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI must test with it")
    pytest.skip(what, allow_module_level=True)


def program(name: str, package: str = "") -> str:
    """Where a program is, which Debian has in a package of its name or of another."""
    return shutil.which(name) or absent(f"{name} is not installed (apt-get install {package or name})")
