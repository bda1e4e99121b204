"""`service=ldap` and `service=ldaps`: a bind and a search for one entry (RFC 4511).

As ldirectord asks: a simple bind with `login` and `passwd` when both are given, else anonymous;
then a search of base scope for `request` (empty: the root DSE) with the filter (objectClass=*).
Passes when exactly one entry comes and its name matches `receive`. No attribute is asked for.
With `starttls` the bind comes inside TLS, after the StartTLS operation (§4.14).
"""

from __future__ import annotations

from collections.abc import Generator

from lvsd.checks import ber
from lvsd.checks.probe import Failed, quoted
from lvsd.checks.receive import Receive
from lvsd.checks.stream import Dialogue, Talk
from lvsd.checks.tls import Tls
from lvsd.core.model import Check

#: Bytes of one message, and of a whole dialogue.
LIMIT = 1 << 20

_BIND, _BOUND, _SEARCH, _ENTRY, _DONE, _REFERENCE = (0x60, 0x61, 0x63, 0x64, 0x65, 0x73)
#: An extended request and its response, which a notice of disconnection is as well (§4.4.1).
_EXTENDED, _EXTENDED_DONE = 0x77, 0x78
_SIMPLE, _PRESENT = 0x80, 0x87
_STARTTLS = ber.element(0x80, b"1.3.6.1.4.1.1466.20037")
_RESULTS = {
    1: "operationsError",
    2: "protocolError",
    8: "strongerAuthRequired",
    10: "referral",
    13: "confidentialityRequired",
    32: "noSuchObject",
    34: "invalidDNSyntax",
    48: "inappropriateAuthentication",
    49: "invalidCredentials",
    50: "insufficientAccessRights",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
}
_Message = tuple[int, bytes]


class Ldap(Dialogue):
    """The plain one."""

    def __init__(self, check: Check, tls: Tls | None = None) -> None:
        super().__init__(check, tls)
        self._receive = Receive(check)
        known = bool(check.login and check.passwd)
        login, passwd = (check.login, check.passwd) if known else (b"", b"")
        account = ber.element(ber.OCTETS, login) + ber.element(_SIMPLE, passwd)
        self._bind = _message(1, ber.element(_BIND, ber.integer(3), account))
        self._search = _message(2, _search(check.request))

    def talk(self) -> Talk:
        """Bind, search, judge."""
        messages = _Messages()
        if self.starttls:
            request = _message(3, ber.element(_EXTENDED, _STARTTLS))
            tag, content = yield from messages.next(request)
            _expect(tag, _EXTENDED_DONE, content)
            _succeed(content, "StartTLS")
            messages.end()
            yield self.starttls
        tag, content = yield from messages.next(self._bind)
        _expect(tag, _BOUND, content)
        _succeed(content, "bind")
        names: list[bytes] = []
        tag, content = yield from messages.next(self._search)
        while tag in (_ENTRY, _REFERENCE):
            if tag == _ENTRY:
                names.append(_first(content))
            tag, content = yield from messages.next()
        _expect(tag, _DONE, content)
        code = _code(content)
        if len(names) != 1:
            word = _RESULTS.get(code, f"result {code}") if code else f"{len(names)} entries"
            raise Failed(f"search found no single entry: {word}")
        if not self._receive.matches(names[0]):
            raise self._receive.mismatch(f'entry "{quoted(names[0])}"')
        return f'entry "{quoted(names[0])}"'


class Ldaps(Ldap):
    """The same inside TLS."""

    def __init__(self, check: Check) -> None:
        super().__init__(check, Tls(check))


class _Messages:
    """LDAP messages as they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._heard = 0

    def next(self, request: bytes = b"") -> Generator[bytes, bytes, _Message]:
        """Send `request`; tag and content of the next message's operation."""
        while request or (whole := self._whole()) is None:
            data = yield request
            request = b""
            if not data:
                after = "early" if self._heard else "without an answer"
                raise Failed(f"connection closed {after}")
            self._heard += len(data)
            if self._heard > LIMIT:
                raise Failed(f"answer larger than {LIMIT >> 20} MiB")
            self._buffer += data
        return whole

    def end(self) -> None:
        """Raises Failed when more came: nobody vouches for what is ahead of TLS."""
        if self._buffer:
            raise Failed("messages ahead of TLS")

    def _whole(self) -> _Message | None:
        try:
            found = ber.head(self._buffer)
            if self._buffer and self._buffer[0] != ber.SEQUENCE:
                raise ber.Malformed
            if found is None:
                return None
            _, start, end = found
            if end > LIMIT:
                raise ber.Malformed
            if len(self._buffer) < end:
                return None
            (number, _), operation, *_ = ber.elements(bytes(self._buffer[start:end]))
            if number != ber.INTEGER:
                raise ber.Malformed
        except (ber.Malformed, ValueError) as error:
            raise Failed(f'reply is not LDAP: "{quoted(bytes(self._buffer[:40]))}"') from error
        del self._buffer[:end]
        return operation


def _message(number: int, operation: bytes) -> bytes:
    return ber.element(ber.SEQUENCE, ber.integer(number), operation)


def _search(base: bytes) -> bytes:
    return ber.element(
        _SEARCH,
        ber.element(ber.OCTETS, base),
        ber.integer(0, ber.ENUMERATED),  # baseObject
        ber.integer(0, ber.ENUMERATED),  # neverDerefAliases
        ber.integer(0) + ber.integer(0),  # no limits
        ber.integer(0, ber.BOOLEAN),
        ber.element(_PRESENT, b"objectClass"),
        ber.element(ber.SEQUENCE, ber.element(ber.OCTETS, b"1.1")),  # no attributes (§4.5.1.8)
    )


def _expect(tag: int, wanted: int, content: bytes) -> None:
    if tag == _EXTENDED_DONE != wanted:
        raise Failed("disconnected by the server")
    if tag != wanted:
        raise Failed(f"unexpected message {tag:#x}")


def _succeed(content: bytes, what: str) -> None:
    code = _code(content)
    if code:
        raise Failed(f"{what} refused: {_RESULTS.get(code, f'result {code}')}")


def _first(content: bytes) -> bytes:
    """The content of the first element."""
    try:
        return next(ber.elements(content))[1]
    except (ber.Malformed, StopIteration):
        raise Failed("malformed answer") from None


def _code(content: bytes) -> int:
    """The resultCode that a result begins with."""
    return int.from_bytes(_first(content)[:4], "big")
