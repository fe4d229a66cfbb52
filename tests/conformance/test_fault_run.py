"""A short fault run in front of each broker on RabbitMQ; `python -m tests.conformance.fault_run` is the long one."""

from pathlib import Path

import pytest

from tests.conformance.fault_run import Account, prepared, run
from tests.support.rabbitmq_server import RabbitServer

pytestmark = pytest.mark.slow

JOBS = 300
SEED = 20261122


def test_the_runner_on_rabbitmq_loses_no_job_whatever_is_killed(tmp_path: Path, rabbit: RabbitServer) -> None:
    account = faulty("rabbitmq", tmp_path, rabbit, tmp_path)

    assert account.lost == {}
    assert account.two_outcomes == []


def test_knatives_data_plane_loses_dead_letters_alone(tmp_path: Path, rabbit: RabbitServer, programs: Path) -> None:
    """It acknowledges before it publishes a dead letter, and drops one whose sink is down; no other job may be lost."""
    account = faulty("knative", tmp_path, rabbit, programs)

    assert {stage for stage in account.lost if "dead letter was lost" not in stage} == set()
    assert account.two_outcomes == []


def faulty(kind: str, folder: Path, rabbit: RabbitServer, programs: Path) -> Account:
    """A run with its account printed, which pytest shows when a test fails."""
    with prepared(kind, folder, rabbit, programs) as (system, callbacks):
        account = run(system, rabbit, callbacks, JOBS, SEED)
    print(f"seed {SEED}\n{account}")
    return account
