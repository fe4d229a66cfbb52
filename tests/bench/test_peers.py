"""The figures in the READMEs are those of a real run, and what makes them from it is right."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.bench.peers import chart, processes, publishing, table
from tests.bench.peers.aims import AIMS
from tests.bench.peers.command import SECRET, place
from tests.bench.peers.measuring import Amounts, Spent, drain, quantile
from tests.bench.peers.receiver import Receiver, receiving
from tests.bench.peers.results import Results
from tests.bench.peers.systems import errands
from tests.support.local_runner import ROOT
from tests.support.rabbitmq_server import RabbitServer

KEPT = Results.read(publishing.newest())


@pytest.mark.parametrize("file", publishing.texts(KEPT), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_readme_shows_exactly_what_the_newest_kept_run_gives(file: Path) -> None:
    shown = publishing.BETWEEN.search(file.read_text())

    assert shown is not None
    assert shown[0] == publishing.texts(KEPT)[file]


@pytest.mark.parametrize("name", publishing.charts(KEPT))
def test_a_chart_is_exactly_what_the_newest_kept_run_gives(name: str) -> None:
    assert (publishing.FOLDER / name).read_text() == publishing.charts(KEPT)[name]


def test_the_kept_run_names_its_day_its_machine_and_its_versions() -> None:
    shown = table.short(KEPT)

    assert publishing.newest().stem == KEPT.date
    assert KEPT.date in shown
    assert {"processor", "cores", "memory", "kernel"} <= KEPT.machine.keys()
    assert {"errands", "celery", "dramatiq", "python", "rabbitmq", "commit"} <= KEPT.versions.keys()
    assert all(f"{name} {version}" in shown for name, version in KEPT.versions.items())


def test_the_kept_run_has_several_rounds_of_every_system_that_it_names() -> None:
    assert len(KEPT.rounds) >= 2
    assert all(one[name] for one in KEPT.rounds for name in KEPT.systems)
    assert all(KEPT.values(name, "drained_per_s") for name in ("embedded", "rabbitmq", "celery", "dramatiq"))


def results(**rates: list[float]) -> Results:
    """A run of one figure, by the system's name."""
    rounds = [
        {name: {"drained_per_s": rate} for name, rate in zip(rates, one, strict=True)}
        for one in zip(*rates.values(), strict=True)
    ]
    told: dict[str, Any] = {"durability": "on disk", "settings": "as it comes", "pace_per_s": 20}
    return Results(
        at="2026-11-22T10:00:00Z",
        took_s=60,
        machine={"processor": "A processor", "cores": "2", "memory": "8 GB", "kernel": "Linux 6"},
        versions={"python": "3.11"},
        amounts={},
        systems={name: told | {"title": name.capitalize()} for name in rates},
        rounds=rounds,
    )


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians() -> None:
    run = results(embedded=[100.0, 400.0, 90.0], celery=[50.0, 100.0, 60.0])

    assert run.median("embedded", "drained_per_s") == 100
    assert run.ratio("embedded", "drained_per_s") == 2.0


def test_what_was_not_measured_has_no_figure() -> None:
    run = results(embedded=[100.0], celery=[50.0])

    assert run.median("embedded", "cpu_ms") is None
    assert run.ratio("embedded", "cpu_ms") is None
    assert "cpu" not in table.full(run).lower().replace("processor", "")


def test_a_failed_round_of_celery_takes_no_part_in_the_ratios() -> None:
    run = results(embedded=[100.0, 300.0], celery=[50.0, 100.0])
    del run.rounds[1]["celery"]["drained_per_s"]

    assert run.ratio("embedded", "drained_per_s") == 2.0


def test_a_table_has_a_row_for_each_system_with_its_median_and_its_ratio() -> None:
    shown = table.short(results(embedded=[1500.0], celery=[1000.0]))

    assert "| Embedded | 1,500 | 1.50 | - |" in shown
    assert "| Celery | 1,000 | 1.00 | - |" in shown
    assert "2026-11-22, medians of 1 rounds; A processor, 2 cores" in shown


def test_an_aim_is_reached_missed_or_not_measured() -> None:
    run = results(embedded=[1900.0], celery=[1000.0], dramatiq=[1400.0])
    reached = {aim.unit: aim.reached(run) for aim in AIMS[:2]}

    assert reached == {"x Celery": False, "x Dramatiq": True}
    assert "| at least 2 x Celery | 1.90 | **no** |" in table.aims(run)
    assert "| at least 1.3 x Dramatiq | 1.36 | yes |" in table.aims(run)
    assert "| at most 2 s | - | not measured |" in table.aims(run)


def test_a_run_is_read_as_it_was_saved(tmp_path: Path) -> None:
    run = results(embedded=[1500.0], celery=[1000.0])
    run.save(tmp_path / "run.json")

    assert Results.read(tmp_path / "run.json") == run


def test_the_longest_bar_is_the_best_systems_and_the_rounds_spread_lies_over_it() -> None:
    drawn = chart.drained(results(celery=[1000.0, 900.0], embedded=[2000.0, 1800.0]), chart.THEMES["light"])
    widths = [float(each) for each in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]

    assert widths == sorted(widths, reverse=True)
    assert widths[0] / widths[1] == pytest.approx(2.0, rel=0.01)
    assert drawn.index("Embedded") < drawn.index("Celery<")


@pytest.mark.parametrize(("highest", "expected"), [(1.9, [0, 0.5, 1, 1.5]), (2000, [0, 500, 1000, 1500, 2000])])
def test_a_scale_has_round_numbers(highest: float, expected: list[float]) -> None:
    assert chart.ticks(highest) == expected


def test_text_goes_between_the_markers_and_nowhere_else() -> None:
    text = f"before\n{publishing.BEGIN}\nold\n{publishing.END}\nafter\n"

    assert publishing.put(text, "new\n") == f"before\n{publishing.BEGIN}\nnew\n{publishing.END}\nafter\n"


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="must have a line"):
        publishing.put("nothing\n", "new\n")


def test_the_99th_percentile_of_200_is_the_198th() -> None:
    assert quantile([float(each) for each in range(1, 201)], 0.99) == 198


def test_processor_time_is_told_for_the_system_and_for_its_servers_apart() -> None:
    spent = (Spent({"own": 5.0, "RabbitMQ": 3.0}) - Spent({"own": 1.0, "RabbitMQ": 1.0})) / 1000

    assert spent.figures() == pytest.approx({"cpu_ms": 4.0, "cpu_servers_ms": 2.0})


def test_memory_and_processor_time_are_those_of_the_whole_tree() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), child.pid} <= set(processes.tree([os.getpid()]))
        own, whole = processes.memory([child.pid]), processes.memory([os.getpid()])
    finally:
        child.communicate()

    assert 0 < own.pss_bytes <= own.rss_bytes < whole.rss_bytes
    assert processes.cpu_s([os.getpid()]) > 0


def test_a_process_that_is_gone_takes_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    assert processes.memory([child.pid]).rss_bytes == 0
    assert processes.cpu_s([child.pid]) == 0


def call_back(receiver: Receiver, secret: str, id_: str = "job-1") -> int:
    """A callback as a peer's worker makes it."""
    now, body = datetime.now(UTC), f'{{"type": "job.completed", "jobid": "{id_}"}}'
    signature = Webhook(secret).sign(msg_id=id_, timestamp=now, data=body)
    stamp = str(int(now.timestamp()))
    headers = {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": signature}
    return httpx.post(receiver.url, content=body, headers=headers).status_code


def test_a_callback_is_answered_noted_and_its_signature_believed_only_when_it_is_right() -> None:
    with receiving() as receiver:
        answered = call_back(receiver, SECRET)
        receiver.wait("job", 1, timeout_s=5)

        assert answered == 204
        assert receiver.verify(SECRET) == 1

        receiver.forget()
        call_back(receiver, "whsec_" + "B" * 44)
        receiver.wait("job", 1, timeout_s=5)
        with pytest.raises(WebhookVerificationError):
            receiver.verify(SECRET)


def test_a_callback_that_comes_again_is_counted_and_the_first_ones_time_kept() -> None:
    with receiving() as receiver:
        call_back(receiver, SECRET)
        receiver.wait("job", 1, timeout_s=5)
        first_s = receiver.seen_s["job-1"]
        call_back(receiver, SECRET)

        assert receiver.repeated == 1
        assert receiver.seen_s == {"job-1": first_s}


def test_a_job_that_failed_is_not_taken_for_one_that_was_done() -> None:
    receiver = Receiver()
    receiver.take(b"", b'{"jobid": "job-1", "outcome": "failed"}')

    with pytest.raises(ValueError, match="every job must be completed, 1 were not"):
        receiver.verify(SECRET)


def test_waiting_for_callbacks_that_do_not_come_says_how_many_came() -> None:
    with pytest.raises(TimeoutError, match="2 callbacks were expected within 0 s, 0 came"):
        Receiver().wait("job", 2, timeout_s=0)


def test_a_backlog_is_accepted_held_drained_and_every_job_called_back(tmp_path: Path, rabbit: RabbitServer) -> None:
    with receiving() as receiver, place(tmp_path / "bench", b"", receiver, rabbit) as where:
        figures = drain(errands.EMBEDDED, where, Amounts(share=0.01))

        assert receiver.count("") == Amounts(share=0.01).jobs(errands.EMBEDDED.noop_jobs)
        assert receiver.verify(SECRET) >= 1
    assert figures["accepted_per_s"] > 0
    assert figures["drained_per_s"] > 0
    assert figures["at_work_pss_mb"] > 0
