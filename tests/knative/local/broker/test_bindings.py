"""What a runner remembers of its bindings: by server, and nothing where the file says nothing."""

from pathlib import Path

import pytest

from knative.local.broker.bindings import Binding, Bindings

ONE = Binding.of("x", "q", {"type": "a", "x-match": "all"})
OTHER = Binding.of("x", "q", {"type": "b", "x-match": "all"})
HERE, THERE = "amqp://here:5672/", "amqp://there:5672/"


def test_each_server_s_bindings_are_remembered_by_themselves(tmp_path: Path) -> None:
    Bindings(tmp_path, HERE).keep(frozenset([ONE, OTHER]))
    Bindings(tmp_path, THERE).keep(frozenset([ONE]))
    Bindings(tmp_path, HERE).keep(frozenset([OTHER]))

    assert Bindings(tmp_path, HERE).known() == {OTHER}
    assert Bindings(tmp_path, THERE).known() == {ONE}
    assert Binding.of("x", "q", dict(reversed(ONE.arguments.items()))) == ONE
    assert (tmp_path / "bindings.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\0\0", b"\xff", b'{"%s": 1}', b'{"%s": [1]}', b'{"%s": [["x", "q", 1]]}']
)
def test_a_file_that_cannot_be_read_is_said_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "bindings.json").write_bytes(content.replace(b"%s", HERE.encode()))
    bindings = Bindings(tmp_path, HERE)

    assert bindings.known() == frozenset()
    assert "no stale binding is known" in caplog.text
    bindings.keep(frozenset([ONE]))
    assert bindings.known() == {ONE}
