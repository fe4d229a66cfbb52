"""Validators that no one here wrote: veraPDF for PDF/A and PDF/UA, Mustang for e-invoices.

`.ci/validators` brings them. A laptop may lack them, or Java; CI may not.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from tests.support.absent import absent

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "errands" / "validators"
# A warning of PEPPOL's of empty elements; Factur-X requires that of the delivery, though it has nothing to say.
EMPTY_DELIVERY = "PEPPOL-EN16931-R008"
FLAVOURS = {"pdf/a-2b": "2b", "pdf/a-3b": "3b", "pdf/ua-1": "ua1"}


def jars(program: str) -> str:
    """The class path of a program; skips the test where there is none, and fails it in CI."""
    found = sorted(CACHE.glob(f"{program}-*/ready"))
    if not found or shutil.which("java") is None:
        absent(f"{program} is not installed: .ci/validators brings it, with Java 17 and Maven")
    return str(found[-1].parent / "*")


def broken_rules(variant: str, files: Sequence[Path]) -> dict[str, list[str]]:
    """By file name the clauses of the variant that veraPDF finds broken, such as 7.3-1; empty where it is valid."""
    command = ["java", "-cp", jars("verapdf"), "org.verapdf.apps.GreenfieldCliWrapper"]
    options = ["--flavour", FLAVOURS[variant], "--format", "text", "--verbose"]
    said = subprocess.run([*command, *options, *map(str, files)], capture_output=True, text=True, check=False).stdout
    found: dict[str, list[str]] = {}
    for line in said.splitlines():
        if line.startswith(("PASS ", "FAIL ")):
            rules = found.setdefault(Path(line.split(" ", 1)[1].rsplit(" ", 1)[0]).name, [])
        elif line.startswith("  FAIL "):
            rules.append(line.split()[-1])
    assert found.keys() == {each.name for each in files}, said
    return found


def invoice_findings(files: Sequence[Path]) -> dict[str, list[str]]:
    """By file name what Mustang finds wrong with an e-invoice, its PDF and its XML; empty where it is valid."""
    command = ["java", "-cp", jars("mustang"), str(Path(__file__).with_name("Mustang.java"))]
    said = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    reports = [line.removeprefix("REPORT ") for line in said.stdout.splitlines() if line.startswith("REPORT ")]
    assert len(reports) == len(files), said.stderr
    return {file.name: _findings(report) for file, report in zip(files, reports, strict=True)}


def _findings(report: str) -> list[str]:
    root = ElementTree.fromstring(report)  # noqa: S314  # Mustang's own
    words = [each.text or "" for each in root.iter() if each.tag in ("error", "fatal", "exception", "warning")]
    words = [each for each in words if EMPTY_DELIVERY not in each]
    summaries = [each.get("status") for each in root.iter("summary")]
    return words if summaries and all(each == "valid" for each in summaries) else [*words, f"summary: {summaries}"]
