"""What the runner gives each function of the real manifests: whom it may call on this machine."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from events.http import Event
from events.problem import JobFailed
from functions.net.guard import Guard
from functions.net.signature import Signer
from functions.notifier.destination import Destinations
from knative.local.process.environment import CALLERS, NOTIFIER, Machine, environment, make_secrets
from knative.manifests.manifests import load

BASE = Path(__file__).parents[4] / "knative" / "base"
TOKEN = "a-token-of-enough-characters"
HERE = ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")
SIGNER = Signer.parse("standard", ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",), setting="CALLBACK_SECRETS")
WORK_QUEUE = {"AMQP_URL": "amqp://127.0.0.1:1", "WORK_EXCHANGE": "work"}


def environments(data: Path, *, token: str | None, **settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Each function's environment on a machine with or without a token, with what `--set` gives it."""
    machine = Machine(
        data=data,
        ingress_url="http://127.0.0.1:8080/",
        ingress_secret="secret",
        invoker_secret="",
        public_url="http://127.0.0.1:8080/",
        token=token,
        settings=settings,
        work_queue=WORK_QUEUE,
    )
    make_secrets(machine)
    read = load(BASE)
    return {name: environment(service, read, machine) for name, service in read.services.items()}


def guard(variables: Mapping[str, str]) -> Guard:
    return Guard.parse(variables.get("ALLOWED_NETWORKS", ""))


def test_with_a_token_no_function_fetches_from_this_machine(tmp_path: Path) -> None:
    found = environments(tmp_path, token=TOKEN)
    closed = {name for name, variables in found.items() if all(guard(variables).refusal(each) for each in HERE)}

    assert len(closed) >= 6
    assert closed == found.keys() - CALLERS


def test_the_secret_of_results_names_is_made_once_for_all_functions(tmp_path: Path) -> None:
    first, again = (environments(tmp_path, token=None) for _ in range(2))
    file = tmp_path / "secrets/store-names/STORE_NAMES_SECRET"

    assert (
        len({found[name]["STORE_NAMES_SECRET"] for found in (first, again) for name in ("ics", "image", "report")}) == 1
    )
    assert first["ics"]["STORE_NAMES_SECRET"] == file.read_text()
    assert len(file.read_text()) == 64
    assert file.stat().st_mode & 0o777 == 0o600


def test_where_traces_go_is_told_to_the_gateway_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")

    found = environments(tmp_path, token=None)

    assert {name for name, variables in found.items() if "OTEL_EXPORTER_OTLP_ENDPOINT" in variables} == {"gateway"}


@pytest.mark.parametrize("address", HERE)
def test_without_a_token_this_machine_s_own_users_may_name_its_ports(tmp_path: Path, address: str) -> None:
    found = environments(tmp_path, token=None)

    assert guard(found["image"]).refusal(address) is None
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert callbacks(found[NOTIFIER], f"http://{host}:8000/callbacks")


def test_a_function_is_told_where_its_secrets_are_so_that_it_can_read_them_again(tmp_path: Path) -> None:
    variables = environments(tmp_path, token=None)[NOTIFIER]

    assert Path(variables["CALLBACK_SECRETS_FILE"]).read_text() == variables["CALLBACK_SECRETS"]
    assert variables["CALLBACK_ENDPOINTS_FILE"] == str(tmp_path / "secrets/callback/endpoints")  # which may come later


def test_a_function_is_opened_by_its_name_and_no_other_with_it(tmp_path: Path) -> None:
    found = environments(tmp_path, token=TOKEN, image={"ALLOWED_NETWORKS": "127.0.0.1/32"})

    assert guard(found["image"]).refusal("127.0.0.1") is None
    assert guard(found["image"]).refusal("127.0.0.2")
    assert guard(found["report"]).refusal("127.0.0.1")


def callbacks(variables: Mapping[str, str], url: str) -> bool:
    """Whether the notifier calls this `callbackurl`, as far as its origin and its address go."""
    to = Destinations.parse(variables["CALLBACK_URL"], SIGNER, variables["ALLOWED_ORIGINS"], None)
    event = Event(MappingProxyType({"id": "1", "source": "/x", "type": "t", "callbackurl": url}), b"")
    try:
        [target] = to.of(event)
    except JobFailed:
        return False
    return str(target.url) == url and guard(variables).refusal("127.0.0.1") is None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5432/", "http://localhost:8080/", "http://127.0.0.1:8000/", "http://[::1]:8000/"]
)
def test_with_a_token_no_port_of_this_machine_is_called_back_unasked(tmp_path: Path, url: str) -> None:
    assert not callbacks(environments(tmp_path, token=TOKEN)[NOTIFIER], url)


def test_with_a_token_callbacks_go_to_the_ports_that_are_configured(tmp_path: Path) -> None:
    by_origin = environments(tmp_path, token=TOKEN, notifier={"ALLOWED_ORIGINS": "http://127.0.0.1:8000"})[NOTIFIER]
    by_default = environments(tmp_path, token=TOKEN, notifier={"CALLBACK_URL": "http://127.0.0.1:8000/api"})[NOTIFIER]

    for variables in (by_origin, by_default):
        assert callbacks(variables, "http://127.0.0.1:8000/callbacks")
        assert not callbacks(variables, "http://127.0.0.1:8001/callbacks")
