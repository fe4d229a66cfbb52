"""What a rendering that is done once more may load."""

from pathlib import Path

import msgspec

from functions.net.guard import Guard
from functions.report.assets import Assets, HostGuard
from functions.report.draft import FOLDER_URL, Asset, Wanted
from functions.storage.store import Store


def test_a_second_attempt_loads_as_much_as_the_first(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "logo.svg").write_bytes(b"x" * 600)
    guard = HostGuard.of(Guard.parse(""), "")
    assets = Assets(Store(tmp_path.as_uri()), guard, "templates", limit_bytes=1_000, timeout_s=1, used_bytes=100)
    wanted = msgspec.msgpack.encode(Wanted(f"{FOLDER_URL}logo.svg"))

    def asked() -> Asset:
        return msgspec.msgpack.decode(assets.answer(wanted), type=Asset)

    assert len(asked().content) == 600
    assert asked().refusal
    assets.start_again()

    assert len(asked().content) == 600
    assert assets.used_bytes == 700
