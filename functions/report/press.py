"""What the sandbox loads before its first fork: the renderer, and the built-in templates compiled."""

from functions.report.builtin import compile_all
from functions.report.document import render

__all__ = ["render"]

compile_all()
