"""Regular expressions as the operator writes them: Perl's dialect, over bytes, compiled at load.

What Perl writes otherwise than `re` is translated piece by piece, so that the result is the same
when it is read again. What cannot be said in `re` is an error, never another meaning.
"""

from __future__ import annotations

import re
import warnings

from lvsd.config.diagnostics import BadValue

#: As in `(a+)+`: the time it takes can double with each byte of the page.
NESTED = re.compile(rb"(?<!\\)[+*]\)[+*{]")
_COMMON = rb"\\x\{(?P<braced>[^}]*)\}|\\x(?P<hex>[0-9A-Fa-f]{0,2})|\\(?P<escape>.)"
#: What is looked at between brackets, and outside.
_IN = re.compile(_COMMON + rb"|\[:(?P<posix>\^?\w+):\]|(?P<close>\])", re.DOTALL)
_OUT = re.compile(
    rb"\\k[<{'](?P<back>\w+)[>}']|\\(?P<boundary>[bB]\{)|"
    + _COMMON
    + rb"|\(\?[<'](?P<name>[A-Za-z_]\w*)[>']|(?P<open>\[\^?\]?)",
    re.DOTALL,
)
_HORIZONTAL, _VERTICAL = rb" \t\xa0", rb"\n\x0b\f\r\x85"
#: Escapes between brackets, and those outside.
_INSIDE = {b"h": _HORIZONTAL, b"v": _VERTICAL, b"e": rb"\x1b"}
_OUTSIDE = {
    b"z": rb"(?![\s\S])",
    b"Z": rb"(?=\n?(?![\s\S]))",
    b"h": b"[" + _HORIZONTAL + b"]",
    b"H": b"[^" + _HORIZONTAL + b"]",
    b"v": b"[" + _VERTICAL + b"]",
    b"V": b"[^" + _VERTICAL + b"]",
    b"R": rb"(?>\r\n|[" + _VERTICAL + b"])",
    b"e": rb"\x1b",
}
#: Classes such as [[:digit:]], in ASCII as in Perl's bytes.
_POSIX = {
    b"alnum": b"0-9A-Za-z",
    b"alpha": b"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": b"0-9",
    b"^digit": rb"\D",
    b"graph": b"!-~",
    b"lower": b"a-z",
    b"print": b" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb"\s",
    b"^space": rb"\S",
    b"upper": b"A-Z",
    b"word": rb"\w",
    b"^word": rb"\W",
    b"xdigit": b"0-9A-Fa-f",
}


def expression(pattern: bytes, offset: int = 0) -> bytes:
    """A regular expression over bytes, as `re` understands it.

    Raises BadValue; `offset` is where the pattern stands in its value.
    """
    translated = _translated(pattern, offset)
    if not _is_utf8(pattern):
        translated = re.sub(rb"(\\\\)|\\?([\x80-\xff])", _escaped, translated)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(translated)
    except re.error as problem:
        at = problem.pos if problem.pos is not None and translated == pattern else 0
        text = f"bad regular expression: {problem.msg}"
        raise BadValue(text, offset + _characters(pattern[:at])) from None
    except (OverflowError, RecursionError, ValueError) as problem:
        raise BadValue(f"bad regular expression: {problem}", offset) from None
    return translated


def _escaped(match: re.Match[bytes]) -> bytes:
    r"""A byte as `\xNN`; a pair of backslashes before it stays a pair."""
    return match[1] or b"\\x%02x" % match[2][0]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _characters(data: bytes) -> int:
    return len(data.decode("utf-8", "replace"))


def _translated(pattern: bytes, offset: int) -> bytes:
    result, place, inside = b"", 0, False
    while match := (_IN if inside else _OUT).search(pattern, place):
        try:
            result += pattern[place : match.start()] + _piece(match, inside)
        except BadValue as problem:
            at = offset + _characters(pattern[: match.start()])
            raise BadValue(problem.text, at) from None
        place = match.end()
        inside = match.lastgroup == "open" or (inside and match.lastgroup != "close")
    return result + pattern[place:]


def _piece(match: re.Match[bytes], inside: bool) -> bytes:
    """One piece as `re` writes it, `inside` brackets or outside. Raises BadValue."""
    kind = match.lastgroup or ""
    text = match[kind]
    if kind in ("braced", "hex"):
        return _character(text)
    if kind == "escape":
        return (_INSIDE if inside else _OUTSIDE).get(text, match[0])
    if kind == "back":
        return b"(?P=" + text + b")"
    if kind == "name":
        return b"(?P<" + text + b">"
    if kind == "boundary":
        raise BadValue(f"\\{text.decode()}…}} is not understood")
    if kind == "posix":
        if text not in _POSIX:
            raise BadValue(f"the class [:{text.decode()}:] is not understood")
        return _POSIX[text]
    return match[0]


def _character(digits: bytes) -> bytes:
    r"""`\x{41}` or `\x4` with two digits. Raises BadValue for what is no byte."""
    if not re.fullmatch(rb"\s*[0-9A-Fa-f]*\s*", digits):
        raise BadValue(f"\\x{{{digits.decode('utf-8', 'replace')}}} is no hexadecimal number")
    code = int(digits.strip() or b"0", 16)
    if code > 255:
        raise BadValue(f"\\x{{{code:x}}} is more than a byte: write the character itself")
    return b"\\x%02x" % code
