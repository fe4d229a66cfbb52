"""What goes to a fork server: a request with its files, all of them or none."""

import os
from pathlib import Path

import pytest

from functions.sandbox.fork_server import FILES_LIMIT, channel, receive, send


def test_a_request_comes_with_all_its_files_or_is_refused(tmp_path: Path) -> None:
    near, far = channel()
    fds = [os.open(tmp_path, os.O_RDONLY) for _ in range(FILES_LIMIT + 1)]
    with near, far:
        send(near, "all", fds[:-1])
        received = receive(far, str)
        with pytest.raises(ValueError, match=f"at most {FILES_LIMIT} files, got {FILES_LIMIT + 1}"):
            send(near, "more", fds)

    assert received is not None
    assert (received[0], len(received[1])) == ("all", FILES_LIMIT)
    for fd in (*fds, *received[1]):
        os.close(fd)
