"""What `--reload` looks at: a function's folder, the rooms beside it, the contract; not the other functions."""

import os
from pathlib import Path

import pytest

from knative.local.process.reload import _newest
from knative.manifests.manifests import Service

LATER_S = 4_000_000_000.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = ("functions/ics/main.py", "functions/image/main.py", "functions/net/url.py", "events/types/ics.py")
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).parent.joinpath("__init__.py").touch()
        (tmp_path / file).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("functions/ics/main.py", True),
        ("functions/net/url.py", True),
        ("events/types/ics.py", True),
        ("functions/image/main.py", False),
    ],
)
def test_a_function_is_reloaded_for_what_it_builds_on(root: Path, changed: str, *, matters: bool) -> None:
    service = Service(
        name="ics",
        root=root,
        environment={"FUNCTION_SOURCE": "functions/ics/main.py"},
        config_maps=(),
        concurrency=1,
        min_scale=0,
        max_scale=1,
        timeout_s=5.0,
        idle_s=60.0,
        where="test",
    )
    os.utime(root / changed, (LATER_S, LATER_S))

    assert (_newest(service, root) == LATER_S) is matters
