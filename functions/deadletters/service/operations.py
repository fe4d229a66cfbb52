"""What an operator does with dead letters: each command checked against their rights, done, and noted in the history.

The command line, the HTTP API and the pages all come through here.
"""

from collections.abc import Mapping
from typing import Final

from functions.deadletters.service import commands
from functions.deadletters.service.changes import Changes
from functions.deadletters.service.commands import Command
from functions.deadletters.service.operation import ConsoleResources, NotFound
from functions.deadletters.service.operators import READING, Operator
from functions.deadletters.service.replaying import Replaying
from functions.deadletters.service.results import CommandResult
from functions.deadletters.service.transfer import Transfer

__all__ = ["COMMANDS", "METHODS", "NAMES", "READ_COMMANDS", "Console", "NotFound", "OperatorSession"]


class Console(ConsoleResources):
    """The dead letters, for operators."""

    def operator_session(self, operator: Operator) -> "OperatorSession":
        """The console for one operator."""
        rights = operator.rights & READING if self.read_only else operator.rights
        return OperatorSession(self, Operator(name=operator.name, rights=rights))


class OperatorSession(Changes, Replaying, Transfer):
    """An operator at the console: a method for each command. They raise Forbidden, NotFound, JobFailed,
    StorageUnavailable.
    """

    def ask(self, command: Command) -> CommandResult:
        """Do what a command says."""
        name = NAMES[type(command)]
        done: CommandResult = getattr(self, METHODS.get(name, name))(command)
        return done


# By the name that is said; those that change nothing may come by GET.
COMMANDS: Final[Mapping[str, type[Command]]] = {
    "whoami": commands.WhoAmI,
    "list": commands.List,
    "groups": commands.ListGroups,
    "group": commands.ShowGroup,
    "show": commands.Show,
    "watch": commands.Watch,
    "audit": commands.Audit,
    "progress": commands.Progress,
    "replays": commands.Replays,
    "unmask": commands.Unmask,
    "edit": commands.Edit,
    "discard": commands.Discard,
    "undo": commands.Undo,
    "acknowledge": commands.Acknowledge,
    "resolve": commands.Resolve,
    "reopen": commands.Reopen,
    "note": commands.Note,
    "owner": commands.Owner,
    "replay": commands.Replay,
    "cancel": commands.Cancel,
    "resume": commands.Resume,
    "export": commands.Export,
    "import": commands.Import,
}
READ_COMMANDS: Final = frozenset({"whoami", "list", "groups", "group", "show", "watch", "audit", "progress", "replays"})
METHODS: Final = {"import": "take_in"}  # those that Python does not let be called as the command is
NAMES: Final = {struct: name for name, struct in COMMANDS.items()}
