"""A bare process in a loop: takes files of the folder `jobs`, each done and called back."""

import os
import time
from pathlib import Path

from job import carry_out


def main() -> None:
    """Until it is ended; a rename takes a job, so that no two processes do the same."""
    jobs = Path(os.environ["BENCH_FOLDER"]) / "jobs"
    while True:
        for each in sorted(jobs.glob("*.job")):
            taken = each.with_suffix(f".{os.getpid()}")
            try:
                each.rename(taken)
            except FileNotFoundError:
                continue
            carry_out(taken.read_text(), each.stem)
        time.sleep(0.002)


if __name__ == "__main__":
    main()
