"""What a peer's worker does: the job, then the callback. The same for every peer.

The picture is made with Pillow's fastest options of the same quality (shrink-on-load, the exact box, a reducing gap of
2), and the callback is signed as Standard Webhooks says by its own library, over one HTTP client kept by each process.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

SMALL_PX = (800, 600)


def carry_out(kind: str, id_: str) -> None:
    """The whole of a job: when this returns the API has heard of it."""
    call_back(id_, perform(kind, id_))


def perform(kind: str, id_: str) -> dict[str, Any]:
    """Do the work; what came of it."""
    return {} if kind == "noop" else {"artifacts": [make_small(id_)]}


def make_small(id_: str) -> dict[str, Any]:
    """Make the small picture and keep it."""
    from PIL import Image  # a worker that does nothing does not owe it

    folder = Path(os.environ["BENCH_FOLDER"])
    image = Image.open(io.BytesIO((folder / "photo.jpg").read_bytes()), formats=["JPEG"])
    image.draft("RGB", (SMALL_PX[0] * 2, SMALL_PX[1] * 2))
    small = image.resize(SMALL_PX, Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80, progressive=True, optimize=True)
    content = buffer.getvalue()
    (folder / f"{id_}.jpg").write_bytes(content)
    return {"name": f"{id_}.jpg", "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def call_back(id_: str, data: dict[str, Any]) -> None:
    """Tell the API; raises when it does not answer with 2xx."""
    now = datetime.now(UTC)
    told = {"type": "job.completed", "timestamp": now.isoformat(), "jobid": id_, "data": data}
    body = json.dumps(told)
    headers = {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook().sign(msg_id=id_, timestamp=now, data=body),
    }
    status = poster()(body.encode(), headers)
    if not 200 <= status < 300:
        raise RuntimeError(f"the API must answer a callback with 2xx, got {status}")


@cache
def webhook() -> Webhook:
    """The signer."""
    return Webhook(os.environ["BENCH_SECRET"])


@cache
def poster() -> Callable[[bytes, dict[str, str]], int]:
    """One keep-alive client for each process: httpx, or urllib3 where BENCH_HTTP asks for the fastest."""
    url = os.environ["BENCH_CALLBACK_URL"]
    if os.environ.get("BENCH_HTTP") == "urllib3":
        import urllib3

        pool = urllib3.PoolManager(maxsize=32)
        return lambda body, headers: pool.request("POST", url, body=body, headers=headers).status
    import httpx

    client = httpx.Client(timeout=15)
    return lambda body, headers: client.post(url, content=body, headers=headers).status_code
