"""Why there is no runner: CannotStart before it was up, RunnerFailed after that."""


class CannotStart(Exception):
    """A reason why the runner does not start, in one sentence for the person who started it."""


class RunnerFailed(Exception):
    """A runner that was up and could not go on; what it accepted is delivered after the next start."""
