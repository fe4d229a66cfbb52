"""The real manifests for a test of real processes: their Triggers try again sooner, and a flow may be another."""

import re
import shutil
from pathlib import Path

from knative.manifests.manifests import MANIFESTS
from tests.support.local_runner import ROOT

EXAMPLE = "functions.flows.examples.onboarding"


def impatient(folder: Path, *, module: str = EXAMPLE, name: str = "onboarding") -> Path:
    """A copy of the manifests in this folder; the example's flow is replaced by the one of this module and name."""
    shutil.copytree(MANIFESTS, folder)
    for file in folder.glob("*.yaml"):
        text = re.sub("retry: [678]", "retry: 1", file.read_text()).replace("Delay: PT1S", "Delay: PT0.05S")
        text = text.replace("value: functions/", f"value: {ROOT}/functions/")
        if file.name == "flows.yaml":
            text = text.replace(EXAMPLE, module).replace("onboarding", name)
        file.write_text(text)
    return folder
