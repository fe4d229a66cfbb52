"""Prefect's background tasks, which its documentation recommends for work taken off a web application."""

from job import carry_out
from prefect import task
from prefect.task_worker import serve


@task(name="job", log_prints=False)
def job(kind: str, id_: str) -> None:
    """The job and its callback."""
    carry_out(kind, id_)


if __name__ == "__main__":
    serve(job, limit=10)
