"""`errands dead`: what an operator does with dead letters, on the command line.

The dead letters are those of this machine (`--data`), of a database (`--database`), or of a console elsewhere
(`--url`).

Exit codes: 0 done; 1 not all of it (dead letters passed over or refused, a replay that ended before its end); 64 a
mistake in what was asked; 69 the dead letters cannot be reached; 77 not allowed.
"""

from functions.deadletters.cli import carrying, changing, looking
from functions.deadletters.cli.arguments import app

__all__ = ["app", "carrying", "changing", "looking"]  # which bring the commands with them
