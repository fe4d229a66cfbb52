"""The API of a trial, in a pod of its own: takes callbacks and mails, fails an event until it is told not to.

It runs from this text alone, `python -c`, in an image of ours, so it has the standard library and nothing else. Each
thing that it got is one JSON line in RECEIVED; while MENDED is not there, POST /fails answers 503.
"""

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

RECEIVED: Final = Path("/tmp/received.jsonl")  # noqa: S108  # in its pod
MENDED: Final = Path("/tmp/mended")  # noqa: S108
HTTP_PORT: Final = 8080
SMTP_PORT: Final = 2525
lock = threading.Lock()


def keep(path: str, headers: dict[str, str], body: str) -> None:
    """One line more."""
    with lock, RECEIVED.open("a") as stream:
        stream.write(json.dumps({"path": path, "headers": headers, "body": body}) + "\n")


class Http(BaseHTTPRequestHandler):
    """Takes what is posted, and says that it is there."""

    def do_GET(self) -> None:
        """The probe."""
        self._respond(200)

    def do_POST(self) -> None:
        """A callback, or an event of the Trigger that fails."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode(errors="replace")
        keep(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self._respond(503 if self.path == "/fails" and not MENDED.exists() else 202)

    def _respond(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


class Smtp(socketserver.StreamRequestHandler):
    """As much of a mail server as one message takes (RFC 5321)."""

    def handle(self) -> None:
        """One connection."""
        self._say("220 trial")
        for line in iter(self.rfile.readline, b""):
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self._say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                keep("mail", {}, b"".join(lines).decode(errors="replace"))
                self._say("250 taken")
            else:
                self._say("221 bye" if verb == b"QUIT" else "250 well")
            if verb == b"QUIT":
                return

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


def main() -> None:
    """Serve both until the pod ends."""
    RECEIVED.touch()
    mail = socketserver.ThreadingTCPServer(("", SMTP_PORT), Smtp)
    threading.Thread(target=mail.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("", HTTP_PORT), Http).serve_forever()


if __name__ == "__main__":
    main()
