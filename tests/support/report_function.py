"""The report function in this process, as functions-framework loads it, and what tests read of its results."""

import ctypes.util
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pypdf

from tests.support.absent import absent
from tests.support.function_client import FunctionClient

ROOT = Path(__file__).parents[2]
SAMPLE = json.loads((ROOT / "events/samples/dev.errands.report.requested.v1.json").read_text())
Deliver = Callable[..., dict[str, Any]]


def require_pango() -> None:
    """WeasyPrint's system library: a laptop may lack it, CI may not."""
    if ctypes.util.find_library("pango-1.0") is None:
        absent("libpango-1.0-0 is not installed")


def require_noto() -> None:
    """Fonts for every script: as above."""
    if not any(Path("/usr/share/fonts").rglob("NotoSansCJK*")) or not any(
        Path("/usr/share/fonts").rglob("NotoSansArab*")
    ):
        absent("fonts-noto-core and fonts-noto-cjk are not installed")


@contextmanager
def serving(store: Path, **environment: str) -> Iterator[Deliver]:
    """The function with a store in this folder; gives what delivers the sample with changes of its data."""
    require_pango()
    with patch.dict(os.environ, {"STORE_URL": store.as_uri(), **environment}):
        client = FunctionClient(ROOT / "functions/report/main.py")
    with sys.modules["main"].sandbox:
        yield lambda **changes: post(client, changes)


def post(client: FunctionClient, changes: dict[str, Any]) -> dict[str, Any]:
    """The payload of the reply with the outcome beside it, or the problem with `outcome` `error`; a field that is
    None is left out of the data."""
    job_id = changes.pop("id", SAMPLE["id"])
    data = {name: value for name, value in {**SAMPLE["data"], **changes}.items() if value is not None}
    answer = client.post("/", content=json.dumps({**SAMPLE, "id": job_id, "data": data}), headers=HEADERS)
    return {
        "outcome": answer.headers.get("ce-outcome", "error"),
        "status": answer.status_code,
        **json.loads(answer.content),
    }


HEADERS = {"content-type": "application/cloudevents+json"}


def uploaded(folder: Path, name: str) -> Path:
    """Where a file is that the API puts into the store."""
    (folder / "uploads").mkdir(parents=True, exist_ok=True)
    return folder / "uploads" / name


def stored(reply: dict[str, Any], folder: Path, index: int = 0) -> bytes:
    """An artefact's content, which is what its size and hash say."""
    assert reply["outcome"] == "completed", reply
    artifact = reply["artifacts"][index]
    content = Path(folder, artifact["key"]).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (artifact["size_bytes"], artifact["sha256"])
    return content


def pdf_texts(content: bytes) -> list[str]:
    """The text of each page, with every run of spaces as one."""
    pages = pypdf.PdfReader(io.BytesIO(content)).pages
    return [re.sub(r"\s+", " ", page.extract_text()) for page in pages]
