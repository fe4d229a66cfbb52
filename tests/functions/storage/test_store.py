"""The store of results and the ledger of replies, on a folder and in memory."""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest

from events.http import Event
from events.job import job_key
from events.problem import JobFailed, TryAgain
from events.types import IcsCompleted
from functions.runtime.adapter import Ledger, reply_event
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SECRET = "0123456789abcdef" * 4
SHA256 = hashlib.sha256(b"content").hexdigest()
HOSTILE = ("../../up", "..", ".", "/etc/cron.d/x", "a/../../../../up", "a\0b", "a\nb", "..\\..\\up", "~root", "%2e%2e")


def cause(id_: str = "1", source: str = "/tests", **more: str) -> Event:
    attributes = {"specversion": "1.0", "id": id_, "source": source, "type": "dev.errands.ics.requested.v1"}
    return Event({**attributes, **more}, b"")


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/store" if request.param == "file" else "memory:///")


def test_a_result_is_stored_under_its_job_and_its_hash(store: Store) -> None:
    artifact = store.put(cause(), "a.ics", b"content", "text/calendar", now=NOW)

    assert artifact.key == f"jobs/{job_key(cause())}/{SHA256[:16]}/a.ics"
    assert (artifact.name, artifact.media_type) == ("a.ics", "text/calendar")
    assert (artifact.size_bytes, artifact.sha256, artifact.expires_at) == (7, SHA256, None)
    assert store.get(artifact.key, limit_bytes=7) == b"content"


def test_the_same_job_and_content_are_one_result_and_another_content_is_another(store: Store) -> None:
    first, again = (store.put(cause(), "a", b"content", "text/plain", now=NOW) for _ in range(2))
    other = store.put(cause(), "a", b"other", "text/plain", now=NOW)

    assert first == again
    assert other.key != first.key
    assert store.get(first.key, limit_bytes=100) == b"content"


def test_a_later_event_of_a_job_stores_beside_the_first() -> None:
    later = cause("2", "/errands/ics", type="dev.errands.ics.completed.v1", jobid="1", jobsource="/tests")

    assert job_key(later) == job_key(cause())
    assert len({job_key(cause()), job_key(cause("2")), job_key(cause(source="/others"))}) == 3


def test_a_url_of_a_folder_can_be_opened_whatever_the_name(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/with%20space")

    artifact = store.put(cause(), "é b%41.txt", b"content", "text/plain", now=NOW)

    assert (tmp_path / "with space" / artifact.key).read_bytes() == b"content"
    with urlopen(artifact.url) as opened:
        assert opened.read() == b"content"


def test_a_public_url_is_what_serves_the_keys(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}", public_url="https://files.example/errands/", names_secret=SECRET)

    artifact = store.put(cause(), "a b.txt", b"content", "text/plain", now=NOW)

    assert artifact.url == f"https://files.example/errands/{artifact.key.replace(' ', '%20')}"


def test_an_object_over_the_limit_fails_the_job(store: Store) -> None:
    artifact = store.put(cause(), "a", b"content", "text/plain", now=NOW)

    with pytest.raises(JobFailed, match="must be at most 6 bytes, got 7") as failed:
        store.get(artifact.key, limit_bytes=6)
    assert failed.value.kind == "source-refused"


@pytest.mark.parametrize("key", ["jobs/none/a.png", "jobs/é", "uploads/%6cedger/x", "templates/a", "jobs/ledger/x"])
def test_a_key_that_is_not_there_fails_the_job(store: Store, key: str) -> None:
    store.create("jobs/1/a.png", b"")

    with pytest.raises(JobFailed, match="the store has no key") as failed:
        store.get(key, limit_bytes=100)
    assert failed.value.kind == "source-refused"


@pytest.mark.parametrize(
    "key", ["jobs/", "jobs//a", "jobs/1/", "jobs/a#1", "jobs/" + "x" * 256, "uploads/" + "é" * 128]
)
def test_a_key_that_can_never_be_there_fails_the_job_and_is_not_tried_again(store: Store, key: str) -> None:
    store.create("jobs/1/a", b"content")

    with pytest.raises(JobFailed, match="the key must be a path in the store"):
        store.get(key, limit_bytes=100)


REMEMBERED = ("ledger/x.json", "ledger/callbacks/gone/x.json", "evidence/x/ics.json", "lock/x", "x.json")
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    "/{}".format,
    "//{}".format,
    "./{}".format,
    "jobs/../{}".format,
    "jobs/1/../../{}".format,
    "jobs/%2e%2e/{}".format,
    "jobs/..%2f{}".format,
    "jobs/..\\{}".format,
    "uploads/./../{}".format,
    "JOBS/../{}".format,
    lambda key: f"%{ord(key[0]):02x}{key[1:]}",
    lambda key: key.replace("/", "//"),
)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("key", REMEMBERED)
def test_no_job_reads_what_errands_remembers_however_it_is_spelt(
    tmp_path: Path, key: str, spelling: Callable[[str], str]
) -> None:
    for store in (Store(f"file://{tmp_path}/store"), Store("memory:///")):
        store.create(key, b"secret")

        with pytest.raises(JobFailed, match="the key must ") as failed:
            store.get(spelling(key), limit_bytes=100)
        assert failed.value.kind == "source-refused"


@pytest.mark.parametrize(
    "key", ["", "/", "a", "jobs", "uploads", "../secret", "jobs/../../secret", "uploads/../../secret"]
)
def test_a_key_of_another_prefix_is_no_input_and_none_climbs(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("secret")

    with pytest.raises(JobFailed, match="the key must "):
        Store(f"file://{tmp_path}/store").get(key, limit_bytes=100)


@pytest.mark.parametrize("prefix", ["jobs", "uploads", "templates"])
def test_results_and_what_the_installation_puts_there_are_inputs(store: Store, prefix: str) -> None:
    store.create(f"{prefix}/a b%.png", b"1")

    assert store.get(f"{prefix}/a b%.png", limit_bytes=1) == b"1"


def secret_store(path: Path, secret: str = SECRET) -> Store:
    return Store(path.as_uri(), public_url="https://files.example", names_secret=secret)


def test_with_a_secret_nobody_else_computes_a_result_s_key(tmp_path: Path) -> None:
    one, other = (
        secret_store(tmp_path, secret).put(cause(), "a", b"content", "text/plain", now=NOW)
        for secret in (SECRET, SECRET[::-1])
    )
    secrets = [*one.key.split("/")[1:3], *other.key.split("/")[1:3]]

    assert len({*secrets, job_key(cause()), SHA256[:16]}) == 6
    assert [len(each) for each in secrets] == [36, 16, 36, 16]
    assert not any(each in SHA256 for each in secrets)


def test_with_a_secret_a_job_done_twice_has_one_key_and_its_results_one_folder(tmp_path: Path) -> None:
    first, again = (secret_store(tmp_path).put(cause(), "a", b"content", "text/plain", now=NOW) for _ in range(2))
    other = secret_store(tmp_path).put(cause(), "a", b"other", "text/plain", now=NOW)
    another_job = secret_store(tmp_path).put(cause("2"), "a", b"content", "text/plain", now=NOW)

    assert first == again
    assert first.key.split("/")[:2] == other.key.split("/")[:2]
    assert first.key.split("/")[2] != other.key.split("/")[2]
    assert not {*first.key.split("/")[1:3]} & {*another_job.key.split("/")[1:3]}


@pytest.mark.parametrize("secret", [None, "", "x" * 31])
def test_nothing_is_published_under_names_that_can_be_computed(tmp_path: Path, secret: str | None) -> None:
    with pytest.raises(ValueError, match="STORE_NAMES_SECRET"):
        Store(tmp_path.as_uri(), public_url="https://files.example", names_secret=secret)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_does_not_leave_the_folder(tmp_path: Path, hostile: str) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    store, outside = Store(f"file://{tmp_path}/deep/er/store"), set(tmp_path.rglob("*"))

    try:
        store.put(cause(), hostile, b"evil", "text/plain", now=NOW)
    except ValueError as error:
        assert "path" in str(error).lower()  # noqa: PT017  # some of them are names that a file may have

    inside = set((tmp_path / "deep/er/store").rglob("*"))
    assert set(tmp_path.rglob("*")) - outside == inside


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_id_or_source_is_any_other_job(store: Store, hostile: str) -> None:
    artifact = store.put(cause(hostile, hostile), "a", b"content", "text/plain", now=NOW)
    ledger, reply = ReplyLedger(store), cause("reply")
    ledger.record(cause(hostile, hostile), reply)

    assert artifact.key.split("/") == ["jobs", job_key(cause(hostile, hostile)), SHA256[:16], "a"]
    assert ledger.recall(cause(hostile, hostile)) == reply


@pytest.mark.slow
def test_of_eight_that_create_one_key_at_once_exactly_one_does(store: Store) -> None:
    for round_ in range(25):
        start = threading.Barrier(8)

        def create(who: int, key: str = f"lock/{round_}", start: threading.Barrier = start) -> bool:
            start.wait()
            return store.create(key, b"%d" % who * 100_000)

        with ThreadPoolExecutor(8) as threads:
            created = list(threads.map(create, range(8)))

        assert created.count(True) == 1
        assert store.read(f"lock/{round_}") == b"%d" % created.index(True) * 100_000


def test_a_small_object_of_our_own_is_created_read_and_deleted(store: Store) -> None:
    assert store.read("own/a") is None
    assert store.create("own/a", b"1")
    assert not store.create("own/a", b"2")
    assert store.read("own/a") == b"1"
    store.delete("own/a")
    store.delete("own/a")
    assert store.read("own/a") is None


def test_a_reply_that_is_recorded_is_recalled_as_it_was(store: Store) -> None:
    ledger: Ledger = ReplyLedger(store)
    attributes = cause("reply", subject="Łódź %41", datacontenttype="application/json").attributes
    reply = Event(attributes, b'{"a":1.50}')

    assert ledger.recall(cause()) is None
    assert ledger.record(cause(), reply) == reply
    assert ledger.recall(cause()) == reply
    assert ledger.recall(cause("2")) is None


def test_the_first_reply_counts(store: Store) -> None:
    ledger = ReplyLedger(store)
    ledger.record(cause(), cause("first"))

    counted = ledger.record(cause(), cause("second"))

    assert counted == cause("first")
    assert ledger.recall(cause()) == cause("first")


def test_a_folder_keeps_and_memory_forgets(tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}", "memory:///"):
        Store(url).create("a", b"1")

    assert Store(f"file://{tmp_path}").read("a") == b"1"
    assert Store("memory:///").read("a") is None


@pytest.mark.parametrize("url", ["", "/srv/errands", "ftp://x/y", "https://bucket", "c:\\errands"])
def test_an_unknown_scheme_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="STORE_URL must start with file://, memory:// or s3://, got "):
        Store(url)


@pytest.mark.parametrize(
    "url", ["file:", "file://", "file://data", "file:rel", "file://srv/x", "file:///x?y", "file:///x#y"]
)
def test_a_folder_that_is_not_absolute_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must have three slashes and an absolute path, got "):
        Store(url)


def test_a_store_that_is_down_is_tried_again(tmp_path: Path) -> None:
    store, ledger = Store(f"file://{tmp_path}/store"), ReplyLedger(Store(f"file://{tmp_path}/store"))
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("a file now")

    with pytest.raises(TryAgain, match=r"the store does not take a\.ics"):
        store.put(cause(), "a.ics", b"content", "text/calendar", now=NOW)
    with pytest.raises(TryAgain, match="the store does not give jobs/1/a"):
        store.get("jobs/1/a", limit_bytes=100)
    with pytest.raises(TryAgain, match="the store does not take k"):
        store.create("k", b"")
    with pytest.raises(TryAgain, match="the store does not give k"):
        store.read("k")
    with pytest.raises(TryAgain, match="the store does not remove k"):
        store.delete("k")
    with pytest.raises(TryAgain, match="the store does not give"):
        ledger.recall(cause())
    with pytest.raises(TryAgain, match="the store does not take"):
        ledger.record(cause(), cause("reply"))


def test_what_only_the_slower_of_two_deliveries_stored_is_removed(store: Store) -> None:
    ledger, job = ReplyLedger(store), cause()
    made = [store.put(job, "a.txt", content, "text/plain", now=NOW) for content in (b"first", b"second")]
    payloads = [IcsCompleted(artifacts=(each,), uids=()) for each in made]
    replies = [reply_event(job, "dev.errands.ics.completed.v1", each, now=NOW) for each in payloads]

    recorded = [ledger.record(job, reply) for reply in replies]

    assert recorded == [replies[0], replies[0]]
    assert (store.get(made[0].key, limit_bytes=10), store.read(made[1].key)) == (b"first", None)


PLANTED = ("file", "folder", "job", "name with blank", "100%", "dangling", "pipe")


def plant(root: Path, outside: Path, what: str) -> str:
    """A link in the store to something outside of it, or what is no file; the key that leads there."""
    (outside / "deep").mkdir(parents=True)
    (outside / "secret.txt").write_bytes(b"secret")
    (outside / "deep" / "secret.txt").write_bytes(b"secret")
    job = root / "jobs" / "1"
    if what == "job":
        job.parent.mkdir(parents=True)
        job.symlink_to(outside)
        return "jobs/1/deep/secret.txt"
    job.mkdir(parents=True)
    if what == "folder":
        (job / "deep").symlink_to(outside / "deep")
        return "jobs/1/deep/secret.txt"
    (job / "deep").mkdir()
    if what == "pipe":
        os.mkfifo(job / "deep" / "pipe")
        return "jobs/1/deep/pipe"
    (job / "deep" / what).symlink_to(outside / ("none" if what == "dangling" else "secret.txt"))
    return f"jobs/1/deep/{what}"


@pytest.mark.parametrize("what", PLANTED)
def test_a_link_that_was_planted_in_the_folder_is_not_followed(tmp_path: Path, what: str) -> None:
    key = plant(tmp_path / "store", tmp_path / "outside", what)
    store = Store(f"file://{tmp_path}/store")

    with pytest.raises(JobFailed, match="the store has no key"):
        store.get(key, limit_bytes=1_000)
    assert store.read(key) is None


def test_no_result_is_put_through_a_link(tmp_path: Path) -> None:
    store, outside = Store(f"file://{tmp_path}/store"), tmp_path / "outside"
    folder = tmp_path / "store" / store.put(cause(), "a.png", b"1", "image/png", now=NOW).key.rpartition("/")[0]
    outside.mkdir()
    shutil.rmtree(folder.parent)
    folder.parent.symlink_to(outside)

    with pytest.raises(TryAgain, match="a link stands where"):
        store.put(cause(), "a.png", b"1", "image/png", now=NOW)
    assert list(outside.iterdir()) == []


def test_the_store_s_own_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = Store(f"file://{tmp_path}/store")

    artifact = store.put(cause(), "a b%.png", b"1", "image/png", now=NOW)

    assert store.get(artifact.key, limit_bytes=10) == b"1"


@dataclass
class Disk:
    """What a disk holds of a store of which only what was synced is there: file by inode, names by their folder."""

    files: set[int] = field(default_factory=set)
    names: dict[Path, set[str]] = field(default_factory=dict)

    def sync(self, descriptor: int) -> None:
        status, path = os.fstat(descriptor), Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            self.names[path] = set(os.listdir(path))
        else:
            self.files.add(status.st_ino)

    def holds(self, root: Path, key: str) -> bool:
        steps = [root, *(root / "/".join(key.split("/")[:many]) for many in range(1, key.count("/") + 2))]
        named = all(step.name in self.names.get(step.parent, set()) for step in steps[1:])
        return named and (root / key).stat().st_ino in self.files


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Every file and folder that was synced, as it was then."""
    disk = Disk()
    monkeypatch.setattr(os, "fsync", disk.sync)
    return disk


def test_a_reply_and_its_results_are_on_the_disk_when_they_are_told(tmp_path: Path, disk: Disk) -> None:
    store, job = Store(tmp_path.as_uri()), cause()
    made = tuple(store.put(job, name, b"content", "text/plain", now=NOW) for name in ("a", "b"))
    reply = reply_event(job, "dev.errands.ics.completed.v1", IcsCompleted(artifacts=made, uids=()), now=NOW)

    ReplyLedger(store).record(job, reply)

    kept = [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()]
    assert len(kept) == 3
    assert [key for key in kept if not disk.holds(tmp_path, key)] == []


def test_what_is_created_has_its_content_on_the_disk_before_it_has_its_name(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, link = [], os.link

    def observed(staged: Path, file: Path) -> None:
        named.append(staged.stat().st_ino in disk.files)
        link(staged, file)

    monkeypatch.setattr(os, "link", observed)
    Store(tmp_path.as_uri()).create("ledger/1/claim.json", b"{}")

    assert named == [True]
    assert disk.holds(tmp_path, "ledger/1/claim.json")


def test_what_is_written_only_in_part_is_under_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path.as_uri())
    store.write("own/a", b"before")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TryAgain, match="No space left"):
        store.create("own/b", b"1")
    monkeypatch.setattr(Path, "write_bytes", lambda self, content: full(0))
    with pytest.raises(TryAgain, match="No space left"):
        store.write("own/a", b"after")

    assert store.list("own/") == ("own/a",)
    assert store.read("own/a") == b"before"
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["a"]


@pytest.mark.parametrize("left", [b"", b"\0" * 40, b"{", b'{"specversion":"1.0"}', b"\xff"])
def test_a_ledger_entry_that_cannot_be_read_counts_as_none_is_said_and_replaced(
    store: Store, caplog: pytest.LogCaptureFixture, left: bytes
) -> None:
    ledger, job = ReplyLedger(store), cause()
    store.write(f"ledger/{job_key(job)}/reply-{job.type}.json", left)

    before = ledger.recall(job)
    recorded = ledger.record(job, cause("reply"))

    assert before is None
    assert "counts as none, and is replaced" in caplog.text
    assert (recorded, ledger.recall(job)) == (cause("reply"), cause("reply"))
    assert ledger.record(job, cause("later")) == cause("reply")


def test_an_own_object_that_is_empty_is_none_and_is_replaced(store: Store) -> None:
    store.write("own/a", b"")

    assert store.read("own/a") is None
    assert store.create("own/a", b"1")
    assert not store.create("own/a", b"2")
    assert store.read("own/a") == b"1"


@pytest.mark.parametrize("what", PLANTED)
def test_nothing_of_our_own_is_written_through_a_link(tmp_path: Path, what: str) -> None:
    key = plant(tmp_path / "store", tmp_path / "outside", what)
    store, before = Store(f"file://{tmp_path}/store"), contents(tmp_path / "outside")

    for write in (store.create, store.write):
        with pytest.raises(TryAgain, match="a link stands where"):
            write(key, b"1")

    assert contents(tmp_path / "outside") == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
