"""Two hundred long jobs while their workers are killed at random: none lost, each with one reply."""

import os
import random
import signal
import time
from pathlib import Path

from tests.support.queue_worker import inbox, job, work_queue
from tests.support.rabbitmq_server import RabbitServer

JOBS = 200
WORKERS = 6
KILL_EVERY_S = 0.4


def test_two_hundred_long_jobs_with_workers_killed_at_random_and_none_lost(
    rabbit: RabbitServer, tmp_path: Path
) -> None:
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311  # no secret
    with inbox() as places, work_queue(rabbit, places, tmp_path, work_retry=100) as made:
        jobs = [job(f"long-{number}", {"do": "sleep", "s": chance.uniform(0.1, 0.6)}) for number in range(JOBS)]
        made.send(*jobs)
        kills, end_s = 0, time.monotonic() + 180
        while len({each.get("jobid") for each in places.replies()}) < JOBS and time.monotonic() < end_s:
            while sum(worker.poll() is None for worker in made.workers) < WORKERS:
                made.start()
            time.sleep(KILL_EVERY_S)
            alive = [worker for worker in made.workers if worker.poll() is None]
            os.killpg(chance.choice(alive).pid, chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            kills += 1
        made.stop()

        replies = places.replies()
        print(f"{kills} workers killed, {len(replies)} replies to {JOBS} jobs")
        assert {each.get("jobid") for each in replies} == {each.id for each in jobs}
        assert len({each.id for each in replies}) == JOBS  # a job that was done twice has the same reply twice
        assert not places.dead_letters()
        assert made.ready() == 0
        assert kills > 20
