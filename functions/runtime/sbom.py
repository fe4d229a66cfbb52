"""`python -m functions.runtime.sbom`: what an image holds, Python's and Debian's packages, as CycloneDX 1.6.

Read off what is installed where it runs, so it is run in the image.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Final
from urllib.parse import quote

FIELDS: Final = "${Package}\\t${Version}\\t${Architecture}\\n"  # of dpkg-query
DEBIAN: Final = "debian"


def bill(function: str, version: str) -> dict[str, Any]:
    """The bill of materials of the image that this runs in."""
    found = {each["purl"]: each for each in (*_distributions(), *_packages())}  # a tree may tell of one twice
    components = [found[purl] for purl in sorted(found)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"errands/{function}", "version": version}},
        "components": components,
    }


def _distributions() -> Iterator[dict[str, Any]]:
    for each in metadata.distributions():
        name = each.metadata["Name"].lower().replace("_", "-")
        licence = next(iter(each.metadata.get_all("License-Expression") or ()), None)
        shown = {"licenses": [{"expression": licence}]} if licence else {}
        yield _component(name, each.version, f"pkg:pypi/{name}@{quote(each.version)}") | shown


def _packages() -> Iterator[dict[str, Any]]:
    """None where there is no dpkg."""
    program = shutil.which("dpkg-query")
    if program is None:
        return
    shown = subprocess.run([program, "--show", f"--showformat={FIELDS}"], capture_output=True, check=True, text=True)
    for line in shown.stdout.splitlines():
        name, version, architecture = line.split("\t")
        yield _component(name, version, f"pkg:deb/{DEBIAN}/{name}@{quote(version)}?arch={architecture}")


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


if __name__ == "__main__":
    json.dump(bill(*sys.argv[1:3]), sys.stdout, indent=1)
