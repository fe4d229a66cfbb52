"""Waits until Temporal's server answers, and makes the namespace `default` there."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

T = TypeVar("T")
RETENTION_S = 86_400
POLL_S = 0.1


async def main() -> None:
    """Until the namespace can be used."""
    client = await again(lambda: Client.connect(os.environ["BENCH_TEMPORAL"]))
    period = Duration(seconds=RETENTION_S)
    registering = RegisterNamespaceRequest(namespace="default", workflow_execution_retention_period=period)
    await again(lambda: client.workflow_service.register_namespace(registering))
    await again(lambda: client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default")))


async def again(attempt: Callable[[], Awaitable[T]]) -> T | None:
    """What comes of it once it succeeds; that the namespace exists is a success."""
    while True:
        try:
            return await attempt()
        except RPCError as error:
            if error.status == RPCStatusCode.ALREADY_EXISTS:
                return None
        except RuntimeError:  # the client's own, while nobody listens
            pass
        await asyncio.sleep(POLL_S)


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(), 60))
    os._exit(0)  # the client's threads can abort an interpreter that is ending
