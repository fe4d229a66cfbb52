"""Where a RabbitMQ server is and how to be let in: URL, credentials, TLS."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

import pika

HEARTBEAT_S: Final = 20
CONNECT_TIMEOUT_S: Final = 10.0
PORTS: Final = MappingProxyType({"amqp": 5672, "amqps": 5671})


@dataclass(frozen=True, kw_only=True)
class AmqpServer:
    """Where a RabbitMQ server is and how to be let in; raises ValueError with the part that is wrong.

    `url` is `amqp://` or `amqps://[user[:password]@]host[:port][/vhost]`, percent-encoded, the virtual host `/` by
    default. `credentials` is a file with `user:password`, or a folder with the files `username` and `password` (as the
    RabbitMQ operator's Secret is mounted); it is read at each connection, so a rotated password is taken up.
    """

    url: str = field(repr=False)
    credentials: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    heartbeat_s: int = HEARTBEAT_S

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("an AMQP URL such as amqps://rabbitmq.example/vhost is expected (amqp or amqps, a host)")
        if parts.query or parts.fragment or "/" in parts.path[1:]:
            raise ValueError("an AMQP URL ends with its virtual host; a / in it is written %2F")
        if parts.scheme == "amqp" and (self.ca_file or self.certificate_file):
            raise ValueError("a certificate is of use with amqps:// only")
        _ = parts.port  # raises ValueError when it is no number

    @property
    def place(self) -> str:
        """The URL without credentials, for messages."""
        parts = urlsplit(self.url)
        port = parts.port or PORTS[parts.scheme]
        return f"{parts.scheme}://{parts.hostname}:{port}/{parts.path[1:]}"

    def parameters(self, name: str = "errands") -> pika.ConnectionParameters:
        """What pika needs; `name` is what the server's operator sees. Raises ValueError for unusable files."""
        parts = urlsplit(self.url)
        return pika.ConnectionParameters(
            host=str(parts.hostname),
            port=parts.port or PORTS[parts.scheme],
            virtual_host=unquote(parts.path[1:]) or "/",
            credentials=pika.PlainCredentials(*self._login()),
            ssl_options=self._tls(str(parts.hostname)) if parts.scheme == "amqps" else None,
            heartbeat=self.heartbeat_s,
            socket_timeout=CONNECT_TIMEOUT_S,
            stack_timeout=CONNECT_TIMEOUT_S,
            client_properties={"connection_name": name},
        )

    def _login(self) -> tuple[str, str]:
        if self.credentials is None:
            parts = urlsplit(self.url)
            return unquote(parts.username or "guest"), unquote(parts.password or "guest")
        try:
            if self.credentials.is_dir():
                user, password = ((self.credentials / each).read_text().strip() for each in ("username", "password"))
            else:
                user, _, password = self.credentials.read_text().strip().partition(":")
        except (OSError, UnicodeError) as error:
            raise ValueError(f"the credentials in {self.credentials} cannot be read: {error}") from error
        if not (user and password):
            raise ValueError(f"{self.credentials} must hold user:password, or be a folder with username and password")
        return user, password

    def _tls(self, host: str) -> pika.SSLOptions:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"the certificates cannot be used: {error}") from error
        return pika.SSLOptions(context, host)
