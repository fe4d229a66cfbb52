"""Who may do what: operators, their rights, and the token or the proxy's header by which they are known."""

from dataclasses import dataclass
from typing import Final

from functions.runtime import credentials

# to see that there are dead letters; their data; what is masked in it; to send again; to change data, groups and
# imports; to close without a replay
RIGHTS: Final = ("see", "data", "unmask", "replay", "edit", "discard")
READING: Final = frozenset({"see", "data", "unmask"})
KEY_CHARACTERS: Final = 32  # of the key that signs sessions
PROXY: Final = "proxy"  # in place of a secret: known by the header of an authenticating proxy
ANYBODY: Final = "*"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")  # where only this machine can ask


class Forbidden(Exception):
    """The operator lacks a right, which the message names."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A person or a program that deals with dead letters."""

    name: str
    rights: frozenset[str]

    def require(self, right: str) -> None:
        """Raise Forbidden without the right."""
        if right not in self.rights:
            held = ", ".join(each for each in RIGHTS if each in self.rights) or "none"
            raise Forbidden(f"the right {right!r} is needed; {self.name} has {held}")


@dataclass(frozen=True)
class Operators:
    """Those who are known: by the SHA-256 of their token, and by the name that a proxy tells."""

    by_digest: dict[str, Operator]
    by_name: dict[str, Operator]

    def with_token(self, token: str) -> Operator | None:
        """The one whose token it is; every digest is compared, and in constant time."""
        return credentials.find(self.by_digest, token)

    def told_by_proxy(self, name: str) -> Operator | None:
        """The one whom the proxy names; a line for `*` gives its rights to everybody else."""
        if not name or len(name) > 200 or not name.isprintable():
            return None
        anybody = self.by_name.get(ANYBODY)
        return self.by_name.get(name) or (anybody and Operator(name=name, rights=anybody.rights))

    def and_token(self, token: str, operator: Operator) -> "Operators":
        """One more, known by a token."""
        return Operators({**self.by_digest, credentials.sha256(token): operator}, self.by_name)


def everything(name: str) -> Operator:
    """An operator with every right."""
    return Operator(name=name, rights=frozenset(RIGHTS))


def parse(text: str) -> Operators:
    """Read lines `NAME RIGHTS SECRET`: rights separated by commas or `all`; the secret is a token, `sha256:` and its
    digest in hexadecimal, or `proxy`. Empty lines and those that begin with # are passed over.
    """
    by_digest, by_name = {}, {}
    for number, name, rights, secret in credentials.lines(text, "the operators"):
        operator = Operator(name=name, rights=_rights(rights, number))
        if secret == PROXY:
            by_name[name] = operator
        else:
            by_digest[credentials.digest(secret, number, "the operators")] = operator
    return Operators(by_digest, by_name)


def _rights(text: str, line: int) -> frozenset[str]:
    if text == "all":
        return frozenset(RIGHTS)
    given = set(text.split(","))
    if not given <= set(RIGHTS):
        unknown = ", ".join(sorted(given - set(RIGHTS)))
        raise ValueError(f"line {line} of the operators: rights are all or of {', '.join(RIGHTS)}, got {unknown}")
    return frozenset(given)
