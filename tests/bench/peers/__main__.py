"""`python -m tests.bench.peers --help`."""

from tests.bench.peers.command import main

main()
