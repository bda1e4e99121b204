"""`service=radius`: an Access-Request with `login`, `passwd` and `secret`, and an Access-Accept.

The password goes as PAP (RFC 2865 §5.2). As ldirectord's library does, the request names this host
by NAS-IP-Address (NAS-IPv6-Address, RFC 3162, on IPv6). It begins with a Message-Authenticator
(RFC 3579 §3.2), which hardened servers demand. A reply counts when its own authenticators fit the
secret, so nobody without it can answer for a dead server; others are ignored.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import struct
from collections.abc import Iterator

from lvsd.checks.datagram import Datagrams
from lvsd.checks.probe import Failed, LocalFault, quoted
from lvsd.core.model import Check

_HEADER = struct.Struct("!BBH16s")
_REQUEST, _ACCEPT, _REJECT, _CHALLENGE = 1, 2, 3, 11
_USER_NAME, _USER_PASSWORD, _NAS_IP_ADDRESS, _REPLY_MESSAGE = 1, 2, 4, 18
_MESSAGE_AUTHENTICATOR, _NAS_IPV6_ADDRESS = 80, 95


class Radius(Datagrams):
    """Passes when the account is accepted. Raises LocalFault for an account RADIUS can't carry."""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        if len(check.login) > 253 or len(check.passwd) > 128:
            raise LocalFault("login or passwd is longer than RADIUS carries (253 and 128 bytes)")
        self._identifier = 0
        self._authenticator = b""

    def render(self, source: tuple[str, int]) -> bytes:
        """A request with an authenticator of its own."""
        self._identifier = os.urandom(1)[0]
        self._authenticator = os.urandom(16)
        attributes = (
            _attribute(_MESSAGE_AUTHENTICATOR, bytes(16))
            + _attribute(_USER_NAME, self.check.login)
            + _attribute(_USER_PASSWORD, self._hidden())
            + _address(source[0])
        )
        digest = self._digest(_REQUEST, self._authenticator, attributes)
        return self._packet(
            _REQUEST,
            self._authenticator,
            _attribute(_MESSAGE_AUTHENTICATOR, digest) + attributes[18:],
        )

    def judge(self, data: bytes) -> str | None:
        """The reply, when it is genuine."""
        if len(data) < _HEADER.size:
            return None
        code, identifier, length, authenticator = _HEADER.unpack_from(data)
        attributes = data[_HEADER.size : length]
        if identifier != self._identifier or not _HEADER.size <= length <= len(data):
            return None
        signed = self._packet(code, self._authenticator, attributes) + self.check.secret
        if not hmac.compare_digest(_md5(signed), authenticator):
            return None
        message = b""
        for kind, at, value in _attributes(attributes):
            if kind == _MESSAGE_AUTHENTICATOR:
                plain = attributes[:at] + bytes(len(value)) + attributes[at + len(value) :]
                if not hmac.compare_digest(self._digest(code, self._authenticator, plain), value):
                    return None
            elif kind == _REPLY_MESSAGE:
                message = b": " + value
        if code == _ACCEPT:
            return "access accepted"
        words = {_REJECT: "access rejected", _CHALLENGE: "access challenged"}
        raise Failed(words.get(code, f"reply of code {code}") + quoted(message))

    def late(self) -> str:
        """Also what a server does that does not know us or has another secret."""
        return "no valid answer (secret?)" if self._strange else "no answer"

    def _packet(self, code: int, authenticator: bytes, attributes: bytes) -> bytes:
        length = _HEADER.size + len(attributes)
        return _HEADER.pack(code, self._identifier, length, authenticator) + attributes

    def _digest(self, code: int, authenticator: bytes, attributes: bytes) -> bytes:
        packet = self._packet(code, authenticator, attributes)
        return hmac.digest(self.check.secret, packet, "md5")

    def _hidden(self) -> bytes:
        """The password, hidden (RFC 2865 §5.2)."""
        passwd, hidden, before = self.check.passwd, b"", self._authenticator
        for at in range(0, max(16, len(passwd)), 16):
            mask = _md5(self.check.secret + before)
            block = passwd[at : at + 16].ljust(16, b"\0")
            before = bytes(a ^ b for a, b in zip(block, mask, strict=True))
            hidden += before
        return hidden


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _attribute(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value) + 2)) + value


def _address(host: str) -> bytes:
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        return _attribute(_NAS_IPV6_ADDRESS, packed)
    return _attribute(_NAS_IP_ADDRESS, socket.inet_pton(socket.AF_INET, host))


def _attributes(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, offset of the value, value; ends at the first that is malformed."""
    at = 0
    while at + 2 <= len(data) and 2 <= data[at + 1] <= len(data) - at:
        yield data[at], at + 2, data[at + 2 : at + data[at + 1]]
        at += data[at + 1]
