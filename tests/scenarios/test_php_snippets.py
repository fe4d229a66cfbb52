"""Every snippet of PHP in the READMEs runs as it stands, against a real `errands up`: in a plain script, in an
application on Symfony and in one on Laravel.

Nothing is changed in them but the ports, which a test takes as it finds them free.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from events.problem import decode
from events.types import GraphRequested
from functions.storage.file_name import disposition
from tests.conftest import sample
from tests.events.test_php import signed
from tests.support.absent import absent
from tests.support.local_runner import ROOT, Up, until
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

CLIENT: Final = ROOT / "events/php/src"
APPS: Final = ROOT / "tests/files/php_apps"
README: Final = (ROOT / "README.md").read_text()
PHP_README: Final = (ROOT / "events/php/README.md").read_text()
# what the person who copies a snippet has around it
GIVEN: Final = "$invoice = json_decode(file_get_contents('invoice.json'), true);\n"
NAMES: Final = "use Errands\\Client; use Errands\\Webhook; use Errands\\Job; use Errands\\Input;\n"
SERVICE_YAML: Final = re.compile(r"```yaml\n# config/services.yaml\n(.*?)```", re.DOTALL)

Snippet = Callable[[str], str]


def snippets(text: str) -> list[str]:
    return re.findall(r"```php\n(.*?)```", text, re.DOTALL)


def snippet(text: str, part: str) -> str:
    """The one that holds this part."""
    [found] = [each for each in snippets(text) if part in each]
    return found


@pytest.fixture(scope="module")
def php() -> str:
    found = shutil.which("php")
    if found is None:
        assert not os.environ.get("CI"), "CI must have php"
        absent("php is not installed")
    return found


@pytest.fixture(scope="module")
def errands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("errands"), ROOT / "knative/base") as running:
        yield running


@contextmanager
def serving(php: str, folder: Path, script: str, errands: Up, **environment: str) -> Iterator[str]:
    """PHP's own server on one script; its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    secrets = errands.data / "secrets/callback/secrets"
    given = {
        "K_SINK": errands.url,
        "APP_URL": url,
        "ERRANDS_CLIENT": str(CLIENT),
        "ERRANDS_WEBHOOK_SECRET": secrets.read_text(),
        **environment,
    }
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [php, "-d", "display_errors=stderr", "-S", f"127.0.0.1:{port}", script],
            cwd=folder,
            env={**os.environ, **given, "PHP_CLI_SERVER_WORKERS": "4"},
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        until(lambda: answers(url), timeout_s=30, what="PHP's server")
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/", timeout=60)
    except httpx.TransportError:
        return False
    return True


def plain(folder: Path, name: str, *parts: str) -> str:
    """A script of the snippets, with the client."""
    folder.mkdir(exist_ok=True)
    script = f"<?php\nrequire '{CLIENT}/autoload.php';\n{''.join(parts)}"
    (folder / name).write_text(script)
    return name


def run(php: str, folder: Path, name: str, errands: Up, url: str) -> str:
    script = folder / name
    script.write_text(script.read_text().replace("http://127.0.0.1:8000", url))
    done = subprocess.run(
        [php, name],
        cwd=folder,
        env={**os.environ, "K_SINK": errands.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where somebody tries the snippets: with an invoice, a photograph, and folders for results."""
    made = tmp_path / "api"
    for each in ("files", "invoices"):
        (made / each).mkdir(parents=True)
    (made / "invoice.json").write_text(json.dumps(sample("report")["data"]["data"]))
    shutil.copy(ROOT / "tests/files/raccoon.jpg", made / "photo.jpg")
    return made


def test_the_client_s_readme_emits_and_hears_of_it(php: str, folder: Path, errands: Up) -> None:
    receive = plain(folder, "receive.php", snippet(PHP_README, "Webhook::fromGlobals()"))
    emit = plain(folder, "emit.php", GIVEN, snippet(PHP_README, "$client->emit(\n"))
    stored = folder / "files/order-1042-invoice-Rechnung März 2026.pdf"

    with serving(php, folder, receive, errands) as url:
        said = run(php, folder, emit, errands, url)
        assert said == ""
        until(stored.is_file, what="the invoice")
        ended = errands.outcome("order-1042-invoice", source="https://shop.example/orders")
        unsigned = httpx.post(f"{url}/callbacks", content=b"{}")
        secret = (errands.data / "secrets/callback/secrets").read_text()
        no_outcome = httpx.post(f"{url}/callbacks", content=b"{}", headers=signed("1", b"{}", secret=secret))
        until(lambda: "Kim, Müller" in mails(errands), what="the e-mail in the catcher")

    assert stored.read_bytes().startswith(b"%PDF")
    assert ended is not None
    shown = httpx.get(ended["data"]["artifacts"][0]["url"])
    assert shown.headers["content-disposition"] == disposition("Rechnung März 2026.pdf")
    assert (unsigned.status_code, no_outcome.status_code) == (401, 400)
    assert "Warning" not in (folder / "server.log").read_text()


def test_the_client_s_readme_asks_and_hands_a_file_over(php: str, folder: Path, errands: Up) -> None:
    emit, ask = snippet(PHP_README, "$client->emit(\n"), snippet(PHP_README, "$client->wait(")
    asking = plain(folder, "ask.php", ask.partition("\n\n")[0], GIVEN, emit, ask.partition("\n\n")[2])

    with serving(php, folder, asking, errands) as url:
        said = run(php, folder, asking, errands, url)
        state, stream, refused = said.splitlines()
        assert stream.startswith(errands.url), said
        events = httpx.get(stream, timeout=60).text

    assert state == "completed "
    assert "is completed" in refused
    assert (folder / "files/Rechnung März 2026.pdf").read_bytes().startswith(b"%PDF")
    assert '"state":"completed"' in events
    assert "large.webp" in events


ORDERS: Final = """
final class Orders
{
    public function __construct(private readonly Errands\\ClientInterface $errands)
    {
    }

    public function place(string $order): void
    {
        $this->errands->emit(Errands\\Job::report()->template('invoice')->withSubject(SUBJECT));
    }
}
"""


@pytest.mark.parametrize(("subject", "said"), [("$order", "OK (2 tests"), ("'another'", "expected a job of Errands")])
def test_the_client_s_readme_tests_an_application(php: str, folder: Path, subject: str, said: str) -> None:
    phpunit = shutil.which("phpunit")
    if phpunit is None:
        assert not os.environ.get("CI"), "CI must have phpunit"
        absent("phpunit is not installed")
    test = plain(folder, "OrdersTest.php", snippet(PHP_README, "extends TestCase"), ORDERS.replace("SUBJECT", subject))
    command = [php, phpunit, "--do-not-cache-result", "--fail-on-warning", "--fail-on-risky", test]

    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)

    assert said in done.stdout, done.stdout + done.stderr
    assert ("got dev.errands.report.requested.v1" in done.stdout) == (subject != "$order")


def mails(errands: Up) -> str:
    """What the console shows of the newest e-mail."""
    found = sorted((errands.data / "mail").glob("*.eml"))
    if not found:
        return ""
    return httpx.get(f"{errands.url}dead/mail/{found[-1].stem}", timeout=60).text


def test_the_first_readme_emits_and_hears_of_it(php: str, folder: Path, errands: Up) -> None:
    receive = plain(folder, "receive.php", snippet(README, "Webhook::fromGlobals()"))
    emit = plain(folder, "emit.php", GIVEN, snippet(README, "Errands\\Job::report"), "echo $id;")

    with serving(php, folder, receive, errands) as url:
        id_ = run(php, folder, emit, errands, url)
        until((folder / f"invoices/{id_}.pdf").is_file, what=f"the invoice of {id_}")


def test_a_secret_that_is_not_set_is_named(php: str, folder: Path, errands: Up) -> None:
    receive = plain(folder, "receive.php", snippet(README, "Webhook::fromGlobals()"))

    with serving(php, folder, receive, errands, ERRANDS_WEBHOOK_SECRET="") as url:
        httpx.post(f"{url}/callbacks", content=b"{}")

    assert "set ERRANDS_WEBHOOK_SECRET to whsec_" in (folder / "server.log").read_text()


def test_an_origin_that_is_not_called_is_refused_at_once_and_the_setting_is_named(
    php: str, folder: Path, errands: Up
) -> None:
    emit = plain(folder, "emit.php", GIVEN, snippet(README, "Errands\\Job::report"))

    said = run(php, folder, emit, errands, "https://shop.example")

    assert "Errands\\Refused" in said
    assert "ALLOWED_ORIGINS" in said
    assert "https://shop.example" in said


def test_the_flow_of_the_client_s_readme_is_one_that_the_door_takes(php: str, folder: Path) -> None:
    given = "use Errands\\Flow;\n$key = 'uploads/products.csv';\n"
    script = plain(folder, "flow.php", given, snippet(PHP_README, "Flow::named("), "echo json_encode($job->data);")
    done = subprocess.run([php, script], cwd=folder, capture_output=True, text=True, check=False, timeout=120)

    flow = decode(done.stdout.encode(), GraphRequested)

    assert [each.name for each in flow.steps] == ["rows", "pictures", "done"], done.stderr


def test_every_snippet_is_run_by_a_test_here() -> None:
    of_frameworks = ["$this->app->singleton(Client", "Route::post('/callbacks'", "#[Route('/callbacks'"]
    elsewhere = ["new Steps("]  # tests/functions/call/test_call.py
    parts = [
        "Webhook::fromGlobals()",
        "$client->emit(\n",
        "$client->wait(",
        "Flow::named(",
        "extends TestCase",
        *of_frameworks,
        *elsewhere,
    ]

    assert [each for each in snippets(PHP_README) if not any(part in each for part in parts)] == []
    assert len(snippets(README)) == 2


@pytest.fixture
def symfony(tmp_path: Path) -> Path:
    """The application on Symfony, with the README's snippets in their places."""
    made = application("symfony", tmp_path, "/usr/share/php/Symfony/Bundle/FrameworkBundle")
    put(
        made / "src/CallbackController.php",
        "// {{ the README's snippet }}",
        snippet(PHP_README, "#[Route('/callbacks'"),
    )
    [yaml] = SERVICE_YAML.findall(PHP_README)
    put(
        made / "config/services.yaml", "    # {{ the README's snippet }}", re.sub("^", "    ", yaml, flags=re.MULTILINE)
    )
    return made


@pytest.fixture
def laravel(tmp_path: Path) -> Path:
    """The application on Laravel, with the README's snippets in their places."""
    made = application("laravel", tmp_path, "/usr/share/php/Illuminate/Foundation")
    (made / "shop.sqlite").touch()
    for each in ("bootstrap/cache", "storage", "views"):
        (made / each).mkdir(parents=True)
    provider, routes = "// {{ the README's first snippet }}", "// {{ the README's second snippet }}"
    put(made / "app/Providers/AppServiceProvider.php", provider, snippet(PHP_README, "$this->app->singleton(Client"))
    put(made / "routes/api.php", routes, snippet(PHP_README, "Route::post('/callbacks'"))
    return made


def application(name: str, tmp_path: Path, installed: str) -> Path:
    if not Path(installed).is_dir():
        assert not os.environ.get("CI"), f"CI must have {installed}"
        absent(f"{installed} is not installed")
    return Path(shutil.copytree(APPS / name, tmp_path / name))


def put(file: Path, place: str, text: str) -> None:
    source = file.read_text()
    assert place in source
    file.write_text(source.replace(place, text))


@pytest.mark.parametrize("framework", ["symfony", "laravel"])
def test_an_application_on_a_framework_emits_and_hears_of_it(
    php: str, framework: str, request: pytest.FixtureRequest, errands: Up
) -> None:
    folder: Path = request.getfixturevalue(framework)
    secret = (errands.data / "secrets/callback/secrets").read_text()
    order = sample("ics")["data"]

    with serving(php, folder, "public/index.php", errands) as url:
        asked = httpx.post(f"{url}/orders", json=order, timeout=60)
        assert asked.status_code == 202, (folder / "server.log").read_text()[-3000:]
        id_ = asked.json()["id"]
        until(lambda: outcome(url, id_) == "completed", what="the callback")
        unsigned = httpx.post(f"{url}/callbacks", content=b"{}", timeout=60)
        no_outcome = httpx.post(
            f"{url}/callbacks", content=b"{}", headers=signed("1", b"{}", secret=secret), timeout=60
        )
        late = json.dumps(sample("ics", "failed") | {"jobid": id_}).encode()
        repeated = [
            httpx.post(
                f"{url}/callbacks", content=late, headers=signed("2", late, secret=secret), timeout=60
            ).status_code
            for _ in range(2)
        ]
        ended = outcome(url, id_)

    assert (unsigned.status_code, no_outcome.status_code, repeated) == (401, 400, [204, 204])
    assert ended == "completed"


def outcome(url: str, id_: str) -> Any:
    return httpx.get(f"{url}/orders/{id_}", timeout=60).json()["outcome"]
