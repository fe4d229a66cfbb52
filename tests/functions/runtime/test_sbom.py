"""The bill of materials: every distribution and Debian package of the machine that it is made on, each once."""

import json
import subprocess
import sys
from importlib import metadata
from typing import Any


def bill() -> dict[str, Any]:
    command = [sys.executable, "-m", "functions.runtime.sbom", "ics", "0.1.0"]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout))


def test_every_distribution_is_in_it_with_its_version() -> None:
    made = bill()
    known = {each["purl"] for each in made["components"]}

    installed = {f"pkg:pypi/{each.name.lower().replace('_', '-')}@{each.version}" for each in metadata.distributions()}
    assert {each for each in installed if "+" not in each} <= known
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["name"] == "errands/ics"


def test_no_component_is_in_it_twice_and_the_same_machine_makes_the_same() -> None:
    made = bill()
    references = [each["bom-ref"] for each in made["components"]]

    assert len(references) == len(set(references))
    assert made == bill()
