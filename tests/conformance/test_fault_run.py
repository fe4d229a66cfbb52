"""Short fault runs in front of each broker; `python -m tests.conformance.fault_run` is the long one."""

from pathlib import Path

import pytest

from tests.conformance.fault_run import DOWN_S, Account, OnKnative, of_ledger, prepared, run, send_all, until_quiet
from tests.support.rabbitmq_server import RabbitServer

pytestmark = pytest.mark.slow

JOBS = 300
SEED = 20261122
DOOMED = 1  # of ten times as many jobs


def test_the_runner_on_its_embedded_broker_loses_no_job_whatever_is_killed(tmp_path: Path) -> None:
    account = faulty("embedded", tmp_path)

    assert account.lost == {}
    assert account.two_outcomes == []
    assert account.ended_in_the_ledger == JOBS


def test_the_runner_on_rabbitmq_loses_no_job_whatever_is_killed(tmp_path: Path, rabbit: RabbitServer) -> None:
    account = faulty("rabbitmq", tmp_path, rabbit)

    assert account.lost == {}
    assert account.two_outcomes == []
    assert account.ended_in_the_ledger == JOBS


def test_behind_the_gateway_every_job_ends_whatever_knatives_data_plane_loses(
    tmp_path: Path, rabbit: RabbitServer, programs: Path
) -> None:
    """What was lost with a dead letter is asked for again; a callback that was is known by the job's end alone."""
    account = faulty("knative", tmp_path, rabbit, programs)

    assert account.ended_in_the_ledger == JOBS
    assert account.two_outcomes == []


def test_knatives_data_plane_by_itself_loses_dead_letters_alone(
    tmp_path: Path, rabbit: RabbitServer, programs: Path
) -> None:
    """It acknowledges before it publishes a dead letter, and drops one whose sink is down; no other job may be lost."""
    account = faulty("knative", tmp_path, rabbit, programs, straight=True)

    assert {stage for stage in account.lost if "dead letter" not in stage} == set()
    assert account.two_outcomes == []


def test_what_the_data_plane_drops_with_its_sink_is_asked_for_again_and_named(
    tmp_path: Path, rabbit: RabbitServer, programs: Path
) -> None:
    """While the sink is down for longer than its retries each dead letter is dropped: these jobs have no end then."""
    account = Account(DOOMED * 10)
    with prepared("knative", tmp_path, rabbit, programs) as (system, callbacks):
        assert isinstance(system, OnKnative)
        assert system.ledger
        system.down("deadletters", for_s=2 * DOWN_S)
        send_all(system.url, DOOMED * 10)
        until_quiet(system, callbacks, DOOMED * 10)
        of_ledger(account, system.ledger)

    assert len(callbacks.outcomes) == DOOMED * 10
    assert account.states["deadlettered"] == DOOMED
    assert account.asked_again == {"deadlettered": DOOMED}


def faulty(
    kind: str, folder: Path, rabbit: RabbitServer | None = None, programs: Path | None = None, *, straight: bool = False
) -> Account:
    """A run with its account printed, which pytest shows when a test fails."""
    with prepared(kind, folder, rabbit, programs, straight=straight) as (system, callbacks):
        account = run(system, rabbit, callbacks, JOBS, SEED)
    print(f"seed {SEED}\n{account}")
    return account
