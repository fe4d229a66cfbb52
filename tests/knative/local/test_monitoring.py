"""What a monitor reads of a runner: a real Prometheus, the dashboard's queries and the alert rules."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.absent import program
from tests.support.local_runner import ROOT, event, front_door, service, trigger, until, up
from tests.support.ports import free_port

DASHBOARD = ROOT / "knative/overlays/production/monitoring/errands.json"
RULES = {
    "one-machine": ROOT / "knative/local/monitoring/rules.yaml",
    "dead-letters": ROOT / "functions/deadletters/examples/prometheus-rules.yaml",
}
RUNBOOK = ROOT / "knative/README.md"


@contextmanager
def prometheus(folder: Path, scraped: int) -> Iterator[httpx.Client]:
    """A server that reads a runner's figures each second; the client asks it."""
    port = free_port()
    jobs = [{"job_name": "errands", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}]
    (folder / "prometheus.yml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    command = [program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                yield client
        finally:
            server.terminate()


def found(client: httpx.Client, query: str) -> list[str]:
    """The values of a query that are figures; none while the server starts."""
    try:
        answer = client.get("/api/v1/query", params={"query": query}).json()
    except (httpx.TransportError, ValueError):
        return []
    assert answer["status"] == "success", answer
    return [each["value"][1] for each in answer["data"]["result"] if each["value"][1] != "NaN"]


def queries() -> list[str]:
    """What the dashboard asks of a runner."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"] if "errands_" in target["expr"]]
    return [each.replace("$__rate_interval", "1m") for each in asked]


@pytest.mark.slow
def test_the_dashboard_shows_a_runner(tmp_path: Path) -> None:
    delivery = trigger("echo", retry=1, delay="PT0.1S")
    with up(tmp_path, (service(), delivery, *front_door())) as runner, prometheus(tmp_path, runner.port) as client:
        asked, numbers = queries(), count()

        def all_shown() -> bool:
            """A rate needs something that happens between two scrapes."""
            runner.post(event(f"done-{next(numbers)}", {"do": "done"}))
            runner.post(event(f"never-{next(numbers)}", {"do": "status", "status": 500}))
            return all(found(client, each) for each in asked)

        until(all_shown, poll_s=1.0, what="figures for each query")

    assert len(asked) >= 14


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path, name: str) -> None:
    shutil.copy(ROOT / f"tests/files/alerts-{name}.yaml", tmp_path / "alerts.yaml")
    shutil.copy(RULES[name], tmp_path / "rules.yaml")

    command = [program("promtool", "prometheus"), "test", "rules", "alerts.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)

    tested = set(re.findall(r"alertname: (\w+)", (tmp_path / "alerts.yaml").read_text()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert tested == alerts(name)


@pytest.mark.parametrize("name", RULES)
def test_each_alert_has_its_place_in_the_runbook(name: str) -> None:
    assert alerts(name) - set(re.findall(r"\*\*(\w+)\.\*\* ", RUNBOOK.read_text())) == set()


def alerts(name: str) -> set[str]:
    """The names of a file's alerts."""
    rules = yaml.safe_load(RULES[name].read_text())
    return {each["alert"] for group in rules["groups"] for each in group["rules"]}
