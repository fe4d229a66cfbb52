"""A RabbitMQ server of the tests' own: in a folder of its own, on free ports, apart from the system's."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.absent import absent
from tests.support.local_runner import until
from tests.support.ports import free_port

# Debian's /usr/sbin/rabbitmq-server changes the user and drops the environment; this is the server's own script.
BIN = Path("/usr/lib/rabbitmq/bin")


class RabbitServer:
    """One node, which tests stop, kill, start again and put under alarm."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.node = f"errands{self.port}@localhost"
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self.tls_url = ""
        plugins = folder / "enabled_plugins"
        plugins.write_text("[].")
        self._epmd_port = free_port()
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),  # the Erlang cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",  # no spinning on 2 cores
        }

    def take_tls(self, certificates: Path) -> None:
        """Listen for TLS as well, with tls.crt and tls.key of the folder."""
        port = free_port()
        self.tls_url = f"amqps://guest:guest@localhost:{port}/"
        settings = {
            "listeners.ssl.default": port,
            "ssl_options.cacertfile": certificates / "ca.crt",
            "ssl_options.certfile": certificates / "tls.crt",
            "ssl_options.keyfile": certificates / "tls.key",
        }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self._folder / "rabbitmq.conf").write_text("".join(lines))

    def start(self) -> "RabbitServer":
        """Start it and wait until it takes connections."""
        with (self._folder / "out.log").open("a") as log:
            self._process = subprocess.Popen(
                [BIN / "rabbitmq-server"],
                env=self._environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._up, poll_s=0.2, what="the RabbitMQ server")
        return self

    @property
    def pid(self) -> int:
        """Of the script that started the node, whose child it is."""
        return self._process.pid

    def stop(self) -> None:
        """As an administrator stops it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(120)

    def kill(self) -> None:
        """SIGKILL to the whole of it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(120)

    def control(self, *command: str) -> str:
        """rabbitmqctl."""
        done = subprocess.run(
            [BIN / "rabbitmqctl", "-q", "-n", self.node, *command],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def alarm(self, *, on: bool) -> None:
        """A memory alarm: the server takes no messages of publishers until it is off."""
        self.control("set_vm_memory_high_watermark", "0.0000001" if on else "0.6")

    def queues(self) -> dict[str, int]:
        """The messages of each queue, those in flight among them."""
        rows = [line.rsplit("\t", 1) for line in self.control("list_queues", "name", "messages").splitlines()[1:]]
        return {name: int(count) for name, count in rows}

    def remove(self) -> None:
        """Kill it and what it started."""
        if self._process.poll() is None:
            self.kill()
        subprocess.run(["epmd", "-port", str(self._epmd_port), "-kill"], capture_output=True, check=False)

    def _up(self) -> bool:
        assert self._process.poll() is None, (self._folder / "out.log").read_text()[-2000:]
        log = self._folder / "log" / f"{self.node}.log"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                connection.settimeout(2)
                return bool(connection.recv(1)) and log.exists()
        except OSError:
            return False


@contextmanager
def rabbit_server(folder: Path, *, certificates: Path | None = None) -> Iterator[RabbitServer]:
    """A started server, removed at the end; skips the test where RabbitMQ is not installed, and fails it in CI."""
    if not (BIN / "rabbitmq-server").exists() or not shutil.which("epmd"):
        absent("rabbitmq-server is not installed (apt-get install rabbitmq-server)")
    folder.mkdir(parents=True, exist_ok=True)
    server = RabbitServer(folder)
    if certificates:
        server.take_tls(certificates)
    try:
        yield server.start()
    finally:
        server.remove()


def make_certificates(folder: Path) -> Path:
    """A certificate of localhost that is its own authority: ca.crt, tls.crt, tls.key."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "tls.key", "-out", "tls.crt"]
    subprocess.run([*command, *names], cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "tls.crt", folder / "ca.crt")
    return folder
