"""The process's httpx client for addresses that its operator configured: an ingress, a console, a sink.

Never for a URL that came with a job, which `functions.net.transport` holds to the guard. The environment's proxies and
.netrc play no part: a token for this machine's ingress would go to a proxy, whose own response would be taken for the
ingress's. A private authority is known by SSL_CERT_FILE.
"""

import ssl
from functools import cache

import httpx


@cache
def client() -> httpx.Client:
    """One for all threads, and for the life of the process: a new one reads the certificate bundle again."""
    return httpx.Client(verify=tls_context(), trust_env=False)


@cache
def tls_context() -> ssl.SSLContext:
    """One for the process."""
    return httpx.create_ssl_context()
