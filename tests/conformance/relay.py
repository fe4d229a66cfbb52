"""The runner's function of the conformance suite: passes each request on to the test and gives its answer back."""

import http.client
import os
import signal
from urllib.parse import urlsplit

from flask import Request, Response

HOP_BY_HOP = ("connection", "content-length", "transfer-encoding", "host", "server", "date")


def handle(request: Request) -> Response:
    """Pass on; where the test hangs up, this process dies, which hangs up on the dispatcher."""
    address = urlsplit(os.environ["RELAY_URL"])
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    try:
        connection.request("POST", "/" + os.environ["K_SERVICE"], request.get_data(), headers)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException):
        os.kill(os.getpid(), signal.SIGKILL)
    given = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
    passed = Response(content, response.status, given)
    if not response.getheader("content-type"):
        passed.headers.remove("content-type")
    return passed
