"""What an operator sends again, and how far that is."""

from itertools import chain, islice
from typing import Final

from msgspec import structs

from functions.deadletters.service import commands, results
from functions.deadletters.service.commands import Filter, Selection
from functions.deadletters.service.operation import SELECTED, Operation
from functions.deadletters.service.results import Run
from functions.deadletters.store import replays

NOTHING: Final = Selection(matching=Filter(group=2**62))  # which no group has


class Replaying(Operation):
    """The commands about replays."""

    def replay(self, command: commands.Replay) -> Run:
        self.operator.require("replay")
        if command.selection.matching:
            self._may_find(command.selection.matching)
        now, command = self.console.clock(), self._found(command)
        with self._reading() as transaction:
            for each in command.selection.dead_letters:
                self._dead_letter(transaction, each)
            if command.dry_run:
                return replays.rehearse(transaction, self.console.database, command, self.operator.name, now=now)
        with self._writing() as transaction:
            replay = replays.create(transaction, self.console.database, command, self.operator.name, now=now)
            run = self._run(transaction, replay)
            self._note(transaction, "replay ordered", replay=replay, detail={"total": run.total})
        self.console.launch(replay)
        return run

    def progress(self, command: commands.Progress) -> Run:
        self.operator.require("see")
        with self._reading() as transaction:
            return self._run(transaction, command.replay)

    def replays(self, command: commands.Replays) -> results.Runs:
        self.operator.require("see")
        with self._reading() as transaction:
            return results.Runs(runs=tuple(map(self.visibility.run, replays.latest(transaction, command.limit))))

    def cancel(self, command: commands.Cancel) -> Run:
        self.operator.require("replay")
        with self._writing() as transaction:
            if replays.end(transaction, command.replay, "cancelled", f"by {self.operator.name}"):
                self._note(transaction, "replay cancelled", replay=command.replay)
            return self._run(transaction, command.replay)

    def resume(self, command: commands.Resume) -> Run:
        self.operator.require("replay")
        with self._writing() as transaction:
            if replays.resume(transaction, command.replay):
                self._note(transaction, "replay resumed", replay=command.replay)
            run = self._run(transaction, command.replay)
        if run.state == "running":
            self.console.launch(command.replay)
        return run

    def _found(self, command: commands.Replay) -> commands.Replay:
        """The command by numbers, where SQL alone would find a text in what the operator is not shown."""
        matching = command.selection.matching
        if matching is None or self._accepted(matching) is None:
            return command
        meant = Selection(matching=replays.meant(matching))
        numbers = tuple(islice(chain.from_iterable(self._batches(meant)), SELECTED))
        return structs.replace(command, selection=Selection(dead_letters=numbers) if numbers else NOTHING)
