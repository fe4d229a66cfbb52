"""What an operator looks at: dead letters, groups, the audit trail, and what arrives."""

import threading
import time
from typing import Final

from msgspec import structs

from functions.deadletters.service import commands, results
from functions.deadletters.service.operation import NotFound, Operation
from functions.deadletters.service.operators import RIGHTS
from functions.deadletters.store import groups, history, selection
from functions.storage.database import Transaction

WATCH_EVERY_S: Final = 0.25
WAITING: Final = threading.BoundedSemaphore(4)  # each holds a thread; whoever comes beside them is answered at once


class FindingOperations(Operation):
    """The commands that change nothing, and the one that unmasks."""

    def whoami(self, _command: commands.WhoAmI) -> results.Permissions:
        held = tuple(right for right in RIGHTS if right in self.operator.rights)
        return results.Permissions(name=self.operator.name, rights=held, read_only=self.console.read_only)

    def list(self, command: commands.List) -> results.DeadLetterPage:
        self._may_find(command.matching)
        with self._reading() as transaction:
            where = (self.console.database, transaction, command.matching)
            now, accept = self.console.clock(), self._accepted(command.matching)
            found = selection.page(*where, before=command.before, limit=command.limit + 1, now=now, accept=accept)
            # a text is looked for in every body: as far as the page needs, and no further
            total = None if command.matching.text else selection.count(*where, now=now)
        more = found[command.limit - 1].id if len(found) > command.limit else None
        shown = tuple(map(self.visibility.dead_letter, found[: command.limit]))
        return results.DeadLetterPage(dead_letters=shown, next_before=more, total=total)

    def groups(self, command: commands.ListGroups) -> results.Groups:
        self.operator.require("see")
        with self._reading() as transaction:
            found = groups.listed(transaction, command.state, command.limit)
        return results.Groups(groups=tuple(map(self.visibility.group, found)))

    def group(self, command: commands.ShowGroup) -> results.GroupDetail:
        self.operator.require("see")
        with self._reading() as transaction:
            return self._group(transaction, command.group)

    def show(self, command: commands.Show) -> results.Detail:
        self.operator.require("see")
        with self._reading() as transaction:
            return self._detail(transaction, command.dead_letter)

    def unmask(self, command: commands.Unmask) -> results.Detail:
        self.operator.require("unmask")
        with self._writing() as transaction:
            self._note(transaction, "unmasked", dead_letter=self._dead_letter(transaction, command.dead_letter).id)
            return self._detail(transaction, command.dead_letter, unmasked=True)

    def watch(self, command: commands.Watch) -> results.Arrivals:
        self.operator.require("see")
        if not command.wait_s or not WAITING.acquire(blocking=False):
            return self._arrivals(structs.replace(command, wait_s=0.0))
        try:
            return self._arrivals(command)
        finally:
            WAITING.release()

    def _arrivals(self, command: commands.Watch) -> results.Arrivals:
        end_s = time.monotonic() + command.wait_s
        cursor, waiting = command.cursor, threading.Event()
        while True:
            with self._reading() as transaction:
                arrivals = selection.arrivals(transaction, cursor)
                if arrivals.dead_letters or time.monotonic() >= end_s:
                    shown = tuple(map(self.visibility.dead_letter, arrivals.dead_letters))
                    return results.Arrivals(dead_letters=shown, cursor=arrivals.cursor)
            cursor = arrivals.cursor
            waiting.wait(min(WATCH_EVERY_S, max(0.0, end_s - time.monotonic())))

    def audit(self, command: commands.Audit) -> results.Trail:
        self.operator.require("see")
        with self._reading() as transaction:
            actions = history.everything(transaction, before=command.before, limit=command.limit)
        more = actions[-1].id if len(actions) == command.limit else None
        return results.Trail(actions=tuple(map(self.visibility.action, actions)), next_before=more)

    def _group(self, transaction: Transaction, id_: int) -> results.GroupDetail:
        group = groups.find(transaction, id_)
        if group is None:
            raise NotFound(f"there is no group {id_}")
        done = tuple(map(self.visibility.action, history.of_group(transaction, id_)))
        return results.GroupDetail(group=self.visibility.group(group), history=done)
