"""What several files of tests share: the samples, as the events that they are."""

import json
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[1] / "events" / "samples"


def sample(job: str, phase: str = "requested") -> dict[str, Any]:
    """The sample of one event type in structured mode, for a test to change one field of it."""
    envelope: dict[str, Any] = json.loads((SAMPLES / f"dev.errands.{job}.{phase}.v1.json").read_bytes())
    return envelope
