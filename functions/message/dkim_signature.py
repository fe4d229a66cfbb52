"""Signs an e-mail with the key of its sender's domain (DKIM, RFC 6376), for mail servers that do not do it themselves.

A signature names the second in which it was made, so a job that is sent again has the same bytes but for that.
"""

from dataclasses import dataclass, field
from typing import Final

# What readers and list servers go by; RFC 8058 4 asks for the two of one-click unsubscription.
SIGNED: Final = (
    *("From", "From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"),
    *("In-Reply-To", "References", "Auto-Submitted", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
)


@dataclass(frozen=True, kw_only=True)
class DkimKey:
    """An RSA key in PEM, whose public half stands in the DNS at `selector`._domainkey.`domain`."""

    domain: str
    selector: str
    private_key: str = field(repr=False)

    def __post_init__(self) -> None:
        """Raise ValueError for a key that signs nothing; its text is not shown."""
        import dkim  # type: ignore[import-untyped]  # it has no types; for installations that sign

        try:
            self.signature(b"From: a@client.example\r\n\r\n")
        except dkim.DKIMException:
            raise ValueError("DKIM_PRIVATE_KEY must be an RSA key in PEM (openssl genrsa 2048)") from None

    def signs_for(self, domain: str) -> bool:
        """Whether receivers take its signature for the domain's own (DMARC, RFC 7489 3.1.1, relaxed)."""
        return domain.lower() == self.domain.lower() or domain.lower().endswith(f".{self.domain.lower()}")

    def signature(self, content: bytes) -> bytes:
        """The header field of the signature, which goes before the e-mail's own.

        `From` is signed once more than it is there, so that no second one can be added on the way (RFC 6376 5.4).
        """
        import dkim

        names = [each.lower().encode() for each in SIGNED]
        made: bytes = dkim.sign(
            content,
            self.selector.encode(),
            self.domain.encode(),
            self.private_key.encode(),
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=names,
        )
        return made
