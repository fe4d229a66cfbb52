"""The PHP client beside frameworks' requests and the files of results."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from events.http import STRUCTURED, read
from events.problem import decode
from events.types import REGISTRY
from tests.conftest import sample
from tests.events.test_php import SECRET, signed
from tests.support.absent import absent
from tests.support.http_server import http_server
from tests.support.local_runner import ROOT

LIBRARIES = [Path("/usr/share/php") / each for each in ("Symfony/Component/HttpFoundation", "GuzzleHttp/Psr7")]
CLIENT = f"require '{ROOT}/events/php/src/autoload.php';\n"
OF_A_REQUEST = """
require 'Symfony/Component/HttpFoundation/autoload.php';
require 'GuzzleHttp/Psr7/autoload.php';
['body' => $body, 'headers' => $headers] = json_decode(stream_get_contents(STDIN), true);
$webhook = new Errands\\Webhook($argv[1]);
$request = $argv[2] === 'symfony'
    ? Symfony\\Component\\HttpFoundation\\Request::create('/callbacks', 'POST', content: $body)
    : new GuzzleHttp\\Psr7\\ServerRequest('POST', '/callbacks', $headers, $body);
if ($argv[2] === 'symfony') $request->headers->replace($headers);
else $request->getBody()->getContents(); // somebody has read it before
try {
    echo $webhook->verifyRequest($request)->jobId;
} catch (Errands\\Exception $error) {
    echo get_class($error);
}
"""
SAVING = """
$file = Errands\\Artifact::fromArray(json_decode(stream_get_contents(STDIN), true));
try {
    $file->saveTo($argv[1], timeoutSeconds: 20);
    echo 'saved';
} catch (Errands\\NotFetched $error) {
    echo $error->getMessage();
}
"""


def php(code: str, given: object, *arguments: str) -> str:
    found = shutil.which("php")
    if found is None:
        assert not os.environ.get("CI"), "CI must have php"
        absent("php is not installed")
    done = subprocess.run(
        [found, "-r", CLIENT + code, "--", *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("framework", ["symfony", "psr7"])
@pytest.mark.parametrize(
    ("body", "change", "said"),
    [
        (json.dumps(sample("ics", "completed")), "", sample("ics", "completed")["jobid"]),
        (json.dumps(sample("ics", "completed")), " ", "Errands\\InvalidSignature"),
        ("{}", "", "Errands\\InvalidCallback"),
    ],
)
def test_a_framework_s_request_is_verified(framework: str, body: str, change: str, said: str) -> None:
    if not all(each.is_dir() for each in LIBRARIES):
        assert not os.environ.get("CI"), "CI must have Symfony's and PSR-7's requests"
        absent("Symfony's and PSR-7's requests are not installed")
    request = {"body": body + change, "headers": signed("1", body.encode())}

    assert php(OF_A_REQUEST, request, SECRET, framework) == said


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Serves /file, and says of all else that its time is over."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/file" else 403)
            self.end_headers()
            self.wfile.write(b"%PDF-1.7" if self.path == "/file" else b"<Error>expired</Error>")

    with http_server(Handler) as url:
        yield url


def artifact(url: str, **changes: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(b"%PDF-1.7").hexdigest()
    made = {"name": "請求書.pdf", "url": url, "media_type": "application/pdf", "size_bytes": 8, "sha256": sha256}
    return {**made, "key": "jobs/1/a", **changes}


def test_a_file_is_kept_whole_over_what_was_there(store: str, tmp_path: Path) -> None:
    place = tmp_path / "請求書.pdf"
    place.write_bytes(b"an older one")

    assert php(SAVING, artifact(f"{store}/file"), str(place)) == "saved"
    assert place.read_bytes() == b"%PDF-1.7"
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(
    ("path", "changes", "said"),
    [
        ("/file", {"sha256": "0" * 64}, "did not come as the job made it"),
        ("/gone", {}, "cannot be fetched: The requested URL returned error: 403"),
        ("/gone", {"expires_at": "2026-01-08T00:00:00Z"}, "its URL expired at 2026-01-08T00:00:00+00:00"),
    ],
)
def test_a_file_that_does_not_come_whole_leaves_what_was_there(
    store: str, tmp_path: Path, path: str, changes: dict[str, Any], said: str
) -> None:
    place = tmp_path / "a.pdf"
    place.write_bytes(b"an older one")

    assert said in php(SAVING, artifact(f"{store}{path}", **changes), str(place))
    assert place.read_bytes() == b"an older one"
    assert list(tmp_path.iterdir()) == [place]


def test_only_http_is_fetched(tmp_path: Path) -> None:
    assert "cannot be fetched" in php(SAVING, artifact("file:///etc/passwd"), str(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


MADE = """
$job = Errands\\Job::image()->output('a.webp')->withId('1');
echo (new Errands\\Testing\\CallbackSigner())->{$argv[1]}($job, ...json_decode(stream_get_contents(STDIN), true))->body;
"""


@pytest.mark.parametrize("phase", ["completed", "failed", "deadlettered"])
def test_a_callback_of_an_application_s_test_is_one_of_the_contract(phase: str) -> None:
    of_phase = {"completed": [sample("image", "completed")["data"]], "failed": ["no picture"], "deadlettered": ["down"]}

    event = read({"content-type": STRUCTURED}, php(MADE, of_phase[phase], phase).encode())

    assert (event.type, event.get("outcome")) == (f"dev.errands.image.{phase}.v1", phase)
    assert {name for name in sample("image", phase) if name not in ("causationid", "data", "subject")} <= {
        *event.attributes
    }
    assert phase == "deadlettered" or decode(event.data, REGISTRY[event.type])
