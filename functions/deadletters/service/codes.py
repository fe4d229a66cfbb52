"""What the code of a dead letter means, and what helps, for a person who looks at one."""

from typing import Final

from functions.deadletters.service.results import Kind

EXPLAINED: Final = {
    # eventing-rabbitmq main acknowledges what is in flight on SIGTERM and dead-letters it with -1
    -1: "No answer came: the dispatcher was shut down, could not connect, or waited longer than the Trigger's timeout."
    " A replay is safe.",
    0: "The broker did not say why.",
    200: "The function answered, but its reply was refused: it was not a valid event, or the broker did not take it."
    " The work may be done; a replay with the original id finds that out.",
    404: "Nothing answers at this address: the function or its route is not there.",
    408: "The function gave up waiting for the request.",
    429: "The function was asked too often. Replay at a lower rate.",
    500: "The function has a bug, or what came is not an event. Look at the error, mend the function or edit the data.",
    502: "What stands before the function got no valid answer from it.",
    503: "The function asked to try again later: something that it needs was down. Replay when that is up.",
    504: "The function did not answer in time. Replay with smaller work, or raise its timeout.",
}


# The job of such a dead letter has ended, and its end is not undone: only the API was not told.
OF_CALLBACKS: Final = {
    500: "The job has ended, but its API may not be called, or said that it takes no callbacks any more. Look at the"
    " error, mend the setting or the API, then replay.",
    503: "The job has ended, but its API did not take the callback for as long as it was tried. Replay when it does.",
}


def explain(code: int, kind: Kind = "job") -> str:
    """One or two sentences on an HTTP status or one of the broker's own codes."""
    if kind == "callback" and code in OF_CALLBACKS:
        return OF_CALLBACKS[code]
    if code in EXPLAINED:
        return EXPLAINED[code]
    if 300 <= code < 500:
        return "The function refused the event. RabbitMQ's broker loses such events; an Errands function never does so."
    return "The function failed." if code >= 500 else "The function answered, yet the event was not settled."
