"""The PHP client and a gateway of its own: what it says of jobs, changes and takes."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.gateway.ledger.job import key_of
from tests.conftest import sample
from tests.events.test_php_client import php
from tests.functions.gateway.test_stream import later
from tests.support.absent import absent
from tests.support.gateway_process import TOKENS, Broker, GatewayProcess, gateway_process
from tests.support.local_runner import until

pytestmark = [pytest.mark.php, pytest.mark.slow]

SOURCE = "https://shop.example/orders"
SHOP = "shop-token-shop-token"
# Calls methods of one client in turn, and tells what each came to.
CALLS = """
['sink' => $sink, 'token' => $token, 'calls' => $calls] = json_decode(stream_get_contents(STDIN), true);
$client = new Errands\\Client('https://shop.example/orders', sink: $sink, retries: 0, token: $token);
$told = [];
foreach ($calls as [$method, $arguments]) {
    if ($method === 'emit') {
        $event = $arguments[0];
        $arguments = [Errands\\Job::of($event['type'], $event['data'])->withId($event['id'])];
    }
    try {
        $came = $client->{$method}(...$arguments);
        $told[] = is_object($came)
            ? get_object_vars($came) + ['open' => $came->isOpen(), 'reason' => $came->reason(),
                'files' => array_map(fn ($file) => $file->url, $came->artifacts())]
            : $came;
    } catch (Throwable $error) {
        $told[] = ['class' => get_class($error), 'message' => $error->getMessage()] + get_object_vars($error);
    }
}
echo json_encode($told);
"""
KEYS = """
echo json_encode(array_map(fn ($each) => Errands\\Key::of(...$each), json_decode(stream_get_contents(STDIN), true)));
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[GatewayProcess, Broker]]:
    (tmp_path / "store").mkdir()
    given = {"GATEWAY_TOKENS": TOKENS, "STORE_URL": (tmp_path / "store").as_uri()}
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db", **given) as running:
        yield running


def call(gateway: GatewayProcess, *calls: tuple[str, list[Any]], token: str = SHOP) -> list[Any]:
    told: list[Any] = json.loads(php(CALLS, {"sink": gateway.url, "token": token, "calls": calls}))
    return told


def ended(job: str, id_: str, phase: str) -> dict[str, Any]:
    return {**sample(job, phase), "id": f"{id_}-{phase}", "jobsource": SOURCE, "jobid": id_}


def test_a_job_is_told_of_from_its_acceptance_to_its_end(gateway: tuple[GatewayProcess, Broker]) -> None:
    running, broker = gateway
    request = sample("image") | {"source": SOURCE}

    emitted, accepted = call(running, ("emit", [request]), ("wait", [request["id"], 0]))
    until(lambda: broker.events, what="the broker's")
    running.tell(ended("image", request["id"], "completed"))
    (status, waited) = call(running, ("status", [request["id"]]), ("wait", [request["id"], 30]))

    assert (emitted, accepted["state"] in ("waiting", "sent"), accepted["open"]) == (request["id"], True, True)
    assert (status["state"], status["open"], status["reason"]) == ("completed", False, None)
    assert status["key"] == key_of(SOURCE, request["id"])
    assert status["files"] == [sample("image", "completed")["data"]["artifacts"][0]["url"]]
    assert waited["endedAt"] == status["endedAt"]
    assert waited["result"] == sample("image", "completed")["data"]


def test_a_wait_ends_with_the_job(gateway: tuple[GatewayProcess, Broker]) -> None:
    running, broker = gateway
    request = sample("ics") | {"source": SOURCE}
    call(running, ("emit", [request]))
    until(lambda: broker.events, what="the broker's")
    end = later(running, ended("ics", request["id"], "failed"))

    (waited,) = call(running, ("wait", [request["id"], 600]))  # php() itself waits for less
    end.join()

    assert waited["state"] == "failed"
    assert "IANA time zone" in waited["reason"]


def test_bad_data_is_an_exception_that_has_each_field(gateway: tuple[GatewayProcess, Broker]) -> None:
    running, broker = gateway
    bad = sample("ics")
    bad["data"]["events"][0]["summary"] = 1042

    (refused,) = call(running, ("emit", [bad]))

    assert refused["class"] == "Errands\\InvalidJob"
    assert refused["jobId"] == bad["id"]
    assert [each["pointer"] for each in refused["errors"]] == ["#/events/0/summary"]
    assert "text" in refused["errors"][0]["detail"]
    assert broker.events == []


def test_a_job_is_cancelled_once_and_done_anew(gateway: tuple[GatewayProcess, Broker]) -> None:
    running, broker = gateway
    request = sample("ics") | {"source": SOURCE}
    id_ = request["id"]
    cancelled, again = call(running, ("emit", [request]), ("cancel", [id_]), ("cancel", [id_]))[1:]
    until(lambda: len(broker.events) >= 1, what="the outcome")

    retried, early = call(running, ("retry", [id_]), ("retry", [id_]))
    running.tell(ended("ics", id_, "completed"))
    (late,) = call(running, ("cancel", [id_]))

    assert (cancelled["state"], again["state"]) == ("cancelled", "cancelled")
    assert "cancelled" in cancelled["reason"]
    assert retried["state"] in ("waiting", "sent")
    assert (early["class"], late["class"]) == ("Errands\\TooLate", "Errands\\TooLate")
    assert "completed" in late["message"]


def test_what_is_unknown_or_not_yours_is_told_apart_from_what_may_be_tried_again(
    gateway: tuple[GatewayProcess, Broker],
) -> None:
    running, _broker = gateway

    told = call(running, ("status", ["nobody"]), ("wait", ["nobody", 1]), ("cancel", ["nobody"]))
    stranger = call(running, ("status", ["nobody"]), ("upload", [__file__]), token="wrong-token-wrong-token")
    reader = call(running, ("upload", [__file__]), token="reader-token-reader-token")
    running.stop()
    gone = call(running, ("status", ["nobody"]))

    assert [each["class"] for each in told] == ["Errands\\UnknownJob"] * 3
    assert [each["class"] for each in stranger] == ["Errands\\Refused"] * 2
    assert (reader[0]["class"], reader[0]["status"]) == ("Errands\\Refused", 403)
    assert gone[0]["class"] == "Errands\\Unreachable"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("März 2026.pdf", "M_rz 2026.pdf"),
        ("請求書.pdf", "_.pdf"),
        (".htaccess", "_.htaccess"),
        ("../../etc/passwd", "_.._.._etc_passwd"),
        ("a" * 300 + ".jpeg", "a" * 95 + ".jpeg"),
        ("-rf", "_-rf"),
        ("%2e%2e#1?x", "_2e_2e_1_x"),
    ],
)
def test_a_file_is_handed_over_under_a_name_that_is_taken(
    gateway: tuple[GatewayProcess, Broker], tmp_path: Path, name: str, kept: str
) -> None:
    running, _broker = gateway
    file = tmp_path / "given"
    file.write_bytes(b"\x00\xff" * 1_000_000)

    (key,) = call(running, ("upload", [str(file), name]))

    assert key.startswith("uploads/")
    assert key.rpartition("/")[2] == kept
    assert (tmp_path / "store" / key).read_bytes() == file.read_bytes()


def test_a_file_that_is_none_is_refused_before_it_is_sent(
    gateway: tuple[GatewayProcess, Broker], tmp_path: Path
) -> None:
    running, _broker = gateway
    (tmp_path / "empty").touch()

    told = call(running, ("upload", [str(tmp_path / "nowhere")]), ("upload", [str(tmp_path / "empty")]))

    assert [each["class"] for each in told] == ["InvalidArgumentException"] * 2


def test_a_stream_s_address_is_for_a_browser_without_a_token(gateway: tuple[GatewayProcess, Broker]) -> None:
    running, _broker = gateway
    request = sample("ics") | {"source": SOURCE}

    url = call(running, ("emit", [request]), ("streamUrl", [request["id"]]))[1]
    running.tell(ended("ics", request["id"], "completed"))
    streamed = running.client.get(url)

    assert url.startswith(f"{running.url}/jobs/{key_of(SOURCE, request['id'])}/stream?ticket=")
    assert streamed.headers["content-type"] == "text/event-stream"
    assert '"state":"completed"' in streamed.text


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=50, max_size=200))
def test_a_key_is_made_as_the_gateway_makes_it(pairs: list[tuple[str, str]]) -> None:
    made = json.loads(php(KEYS, pairs))

    assert made == [key_of(*each) for each in pairs]
    assert uuid.UUID(made[0]).version == 5


PSR18 = """
set_include_path('/usr/share/php');
foreach (['Psr/Http/Client', 'GuzzleHttp', 'GuzzleHttp/Psr7'] as $each) require "$each/autoload.php";
['sink' => $sink, 'file' => $file, 'job' => $event] = json_decode(stream_get_contents(STDIN), true);
$factory = new GuzzleHttp\\Psr7\\HttpFactory();
$transport = new Errands\\Psr18Transport(new GuzzleHttp\\Client(['proxy' => '']), $factory, $factory);
$made = fn ($sink) => new Errands\\Client('https://shop.example/orders', sink: $sink, retries: 1,
    token: 'shop-token-shop-token', transport: $transport, sleep: fn () => null);
$client = $made($sink);
$id = $client->emit(Errands\\Job::of($event['type'], $event['data']));
echo json_encode([$client->status($id)->id === $id, $client->upload($file)]);
try {
    $made('http://127.0.0.1:1/')->status($id);
} catch (Errands\\Unreachable $error) {
    echo " after {$error->attempts}";
}
"""


def test_an_application_s_own_http_client_is_used(gateway: tuple[GatewayProcess, Broker], tmp_path: Path) -> None:
    running, _broker = gateway
    if not all(Path("/usr/share/php", each).is_dir() for each in ("Psr/Http/Client", "GuzzleHttp/Promise")):
        absent("Guzzle is not installed")
    file = tmp_path / "a.txt"
    file.write_bytes(b"content")

    told = php(PSR18, {"sink": running.url, "file": str(file), "job": sample("ics")})

    accepted, _, attempts = told.partition(" after ")
    assert json.loads(accepted)[0] is True
    assert (tmp_path / "store" / json.loads(accepted)[1]).read_bytes() == b"content"
    assert attempts == "2"
