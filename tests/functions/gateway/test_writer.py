"""The thread that writes the ledger: whoever asks is answered, whatever becomes of it."""

import asyncio
import sys
from pathlib import Path

import pytest

from functions.gateway.ledger.schema import open_ledger
from functions.gateway.ledger.writer import Writer
from functions.storage.database import StorageUnavailable, Transaction
from tests.support.loops import Run, on_both_loops


@on_both_loops
def test_whoever_asked_a_thread_that_ends_is_answered_and_the_next_request_begins_another(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> None:
        writer = Writer(open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}"), lambda: 0)
        asked = [writer.ask(each) for each in (lambda _: 1, ends, lambda _: 2)]
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
        assert [type(each) for each in answers] == [StorageUnavailable] * 3
        assert await asyncio.wait_for(writer.ask(lambda _: 3), 60) == 3
        await writer.close()

    run(ask())

    assert "the ledger's thread ended: SystemExit" in caplog.text


def ends(_: Transaction) -> None:
    sys.exit("as no bug does")
