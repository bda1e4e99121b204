"""The parsers of single values, one per `kind` of the directive table.

A parser takes the value's text, the table's row and a function for notices. It returns the value
or raises BadValue with the offset of the fault. Numbers that ldirectord knows are read as it
reads them (the first run of digits); lvsd's own are strict.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import pwd
import re
import shlex
import shutil
from collections.abc import Callable

from lvsd.config import addresses
from lvsd.config.diagnostics import BadValue, proposal
from lvsd.config.expressions import NESTED, expression
from lvsd.config.rows import Directive
from lvsd.core.model import Identity, Protocol

Note = Callable[[str], None]
Parser = Callable[[str, Directive, Note], object]

#: Where a program is that has no path: not where a file of the operator's can hide one.
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_NODE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*):(.*)", re.ASCII)


def is_text(value: str) -> bool:
    """Whether a value was valid UTF-8 in the file."""
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def for_node(value: str, node: str, name: str) -> tuple[str, int]:
    """The part of a value meant for `node`, and where it starts.

    `dir1:150,dir2:100` has a part per node; any other value is for every node.
    """
    parts: dict[str, tuple[str, int]] = {}
    offset = 0
    for part in value.split(","):
        text = part.strip()
        match = _NODE.fullmatch(text)
        if match is None:
            return value, 0
        start = offset + part.index(text) + match.start(2)
        parts[match[1]] = (match[2].strip(), start)
        offset += len(part) + 1
    if node in parts:
        return parts[node]
    nodes = ", ".join(parts)
    raise BadValue(
        f"no value for this node, {node} (there are {nodes}); add {node}:VALUE to {name}=,"
        " or name the node with --node"
    )


def number(value: str, row: Directive, note: Note) -> int:
    """ldirectord's number: the first run of digits, with a notice when there is more."""
    match = re.search(r"[0-9]{1,18}", value)
    if match is None:
        raise BadValue(f"{row.name} needs a whole number, not {value or 'nothing'}")
    if match[0] != value:
        note(f"only the digits count: {row.name}={int(match[0])}")
    return _bounded(int(match[0]), row)


def integer(value: str, row: Directive, note: Note) -> int:
    """A whole number and nothing else."""
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise BadValue(f"{row.name} needs a whole number, not {value or 'nothing'}")
    return _bounded(int(value), row)


def _bounded(result: int, row: Directive) -> int:
    if not row.minimum <= result <= row.maximum:
        raise BadValue(f"{row.name} must be from {row.minimum:.0f} to {row.maximum:.0f}")
    return result


def decimal(value: str, row: Directive, note: Note) -> float:
    """Seconds, with a fraction if need be."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}", value):
        raise BadValue(f"{row.name} needs a number of seconds, not {value or 'nothing'}")
    result = float(value)
    if not row.minimum <= result <= row.maximum:
        raise BadValue(f"{row.name} must be from {row.minimum:g} to {row.maximum:g} seconds")
    return result


def yesno(value: str, row: Directive, note: Note) -> bool:
    """Exactly yes or no."""
    if value in ("yes", "no"):
        return value == "yes"
    plain = value.strip("\"'").lower()
    yes = plain in ("yes", "y", "true", "on", "1")
    known = yes or plain in ("no", "n", "false", "off", "0")
    hint = f"; write {row.name}={'yes' if yes else 'no'}" if known else ""
    raise BadValue(f"{row.name} must be yes or no (lower case, no quotes){hint}")


def quoted(value: str, row: Directive, note: Note) -> bytes:
    """Text from the first to the last straight double quote, as bytes."""
    text = _between_quotes(value, row.name, note)
    if not text:
        raise BadValue(f'{row.name}="" is empty; leave the line out instead')
    return text.encode("utf-8", "surrogateescape")


def _between_quotes(value: str, name: str, note: Note) -> str:
    first, last = value.find('"'), value.rfind('"')
    if first < 0:
        inner = value.strip("'`")
        raise BadValue(f'{name} needs straight double quotes: write {name}="{inner}"')
    if first == last:
        raise BadValue(f"{name} has only one double quote; the closing one is missing", first)
    if value[:first].strip():
        raise BadValue(f"{name} must start with a double quote")
    if '"' in value[first + 1 : last]:
        note("the text runs to the last quote of the line; the inner quotes belong to it")
    if value[last + 1 :].strip():
        note(f"the text after the closing quote is ignored: {value[last + 1 :].strip()}")
    return value[first + 1 : last]


def regex(value: str, row: Directive, note: Note) -> bytes:
    """A quoted regular expression, compiled once to see that it can be."""
    text = _between_quotes(value, row.name, note)
    if not text:
        raise BadValue(f'{row.name}="" is empty; leave the line out instead')
    pattern = text.encode("utf-8", "surrogateescape")
    translated = expression(pattern, value.find('"') + 1)
    if NESTED.search(translated):
        note(
            "a repetition inside a repetition: a page that suits it fails and holds up other checks"
        )
    return translated


def word(value: str, row: Directive, note: Note) -> str:
    """One of the row's choices. Quotes and words behind it don't count, with a notice."""
    match = re.match(r"[\"']?([A-Za-z0-9_-]*)[\"']?(\s.*)?$", value, re.ASCII | re.DOTALL)
    found = match[1] if match else value
    if found in row.choices and match is not None:
        if match[0] != found:
            note(f"read as {row.name}={found}")
        return found
    near = proposal(found, row.choices)
    raise BadValue(
        f"unknown {row.name} {found or '(nothing)'} (known: {', '.join(row.choices)}){near}"
    )


def checktype(value: str, row: Directive, note: Note) -> str:
    """One of the row's choices, or a number."""
    digits = value.strip('"')
    return digits if re.fullmatch(r"[0-9]{1,6}", digits) else word(value, row, note)


def anycase(value: str, row: Directive, note: Note) -> str:
    """One of the row's choices, in upper or lower case."""
    return word(value.upper() if row.choices[0].isupper() else value.lower(), row, note)


def text(value: str, row: Directive, note: Note) -> str:
    """Any text; the builder of the block reads it."""
    if not value:
        raise BadValue(f"{row.name}= has no value")
    return value


def host(value: str, row: Directive, note: Note) -> bytes:
    """The Host header: the text before the next quote."""
    name = value.lstrip('"').split('"')[0].strip()
    if not name:
        raise BadValue(f"{row.name}= has no value")
    if re.search(r"[\s\x00-\x1f\x7f]", name):
        raise BadValue(f"{row.name} can't hold blanks: {name}")
    return name.encode("utf-8", "surrogateescape")


def path(value: str, row: Directive, note: Note) -> str:
    """An absolute path, quoted or not."""
    name = value.strip('"')
    if not name.startswith("/") or '"' in name:
        raise BadValue(f"{row.name} needs a path that starts with /")
    return name


def logfile(value: str, row: Directive, note: Note) -> str:
    """A path or a syslog facility; ldirectord wants quotes, lvsd does without."""
    name = _between_quotes(value, row.name, note) if value.startswith('"') else value
    facilities = {
        "auth",
        "authpriv",
        "cron",
        "daemon",
        "ftp",
        "kern",
        "lpr",
        "mail",
        "news",
        "syslog",
        "user",
        "uucp",
        *(f"local{n}" for n in range(8)),
    }
    if not name or '"' in name:
        raise BadValue(f"{row.name} needs a path, or a syslog facility such as local0")
    if not name.startswith("/") and name not in facilities:
        raise BadValue(
            f"{row.name} needs a path that starts with / or a syslog facility such as local0"
            f"{proposal(name, facilities)}"
        )
    return name


def names(value: str, row: Directive, note: Note) -> tuple[str, ...]:
    """Names between blanks or commas."""
    found = re.split(r"[\s,]+", value.strip('", \t'))
    return tuple(name_of(one) for one in found)


def name(value: str, row: Directive, note: Note) -> str:
    """One name."""
    return name_of(value)


def name_of(value: str) -> str:
    """A name, quoted or not: no blanks, quotes or #, so that it can be written anywhere."""
    plain = value.strip('"')
    if not plain or re.search(r"[\s\"'#]", plain) or not is_text(plain):
        raise BadValue(f"a name has no blanks, quotes or #: {plain or '(nothing)'}")
    return plain


def identity(value: str, row: Directive, note: Note) -> Identity:
    """A user of this machine, and a group."""
    words = value.split()
    if len(words) not in (1, 2):
        raise BadValue(f"write {row.name}=USER or {row.name}=USER GROUP")
    found = Identity(*map(name_of, words))
    try:
        pwd.getpwnam(found.user)
    except KeyError:
        raise BadValue(f'there is no user "{found.user}" on this machine') from None
    try:
        if found.group:
            grp.getgrnam(found.group)
    except KeyError:
        place = value.rindex(words[-1])
        raise BadValue(f'there is no group "{found.group}" on this machine', place) from None
    return found


def argv(value: str, row: Directive, note: Note) -> tuple[str, ...]:
    """A program with an absolute path, and its arguments, quoted as in a shell."""
    words = process(value, row, note)
    if not words[0].startswith("/"):
        raise BadValue(f"{row.name} needs a program with its whole path, such as /etc/lvsd/notify")
    return words


def process(value: str, row: Directive, note: Note) -> tuple[str, ...]:
    """The name or path of a program, and arguments, quoted as in a shell."""
    return words_of(value, row.name)


def words_of(value: str, name: str) -> tuple[str, ...]:
    """A program and its arguments, for `name`; `written` gives a text back. Raises BadValue."""
    try:
        words = tuple(shlex.split(value))
    except ValueError as problem:
        raise BadValue(f"{name}: {str(problem).lower()}") from None
    if not words or not words[0]:
        raise BadValue(f"{name} needs a program")
    inner = "".join(words)
    if '"' in inner and ("#" in inner or not inner.isascii()):
        raise BadValue(f"{name}: too many kinds of quotes; put this into a script of its own")
    return words


def written(words: tuple[str, ...]) -> str:
    """Words for shlex, double-quoted so that # and blanks survive the line grammar.

    One alone must not look like several with quotes around the whole, which `command` takes off.
    """
    alone = len(words) == 1 and re.search(r"[\s']", words[0])
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    return ('""' if alone else "") + " ".join(f'"{word}"' for word in quoted)


def command(value: str, row: Directive, note: Note) -> tuple[str, ...]:
    """A program and arguments, or, when one pair of quotes holds it all, the path of a file.

    ldirectord knows paths only, so where such a text names no file it is read as the other.
    """
    whole = value[1:-1]
    if value == f'"{whole}"' and '"' not in whole:
        if " " not in whole or os.path.exists(whole):
            return _found(process(f'""{value}', row, note), row)
        value = whole
    words = _found(process(value, row, note), row)
    if len(words) > 1:
        note(f"{words[0]} is given arguments; ldirectord would look for a file of the whole name")
    return words


def _found(words: tuple[str, ...], row: Directive) -> tuple[str, ...]:
    """Words whose program has its whole path: a bare name is looked for where the system's are."""
    program = words[0]
    if program.startswith("/"):
        return words
    found = None if "/" in program else shutil.which(program, path=_PATH)
    if found is None:
        raise BadValue(
            f"{row.name} needs a program with its whole path, or the name of one in {_PATH}"
        )
    return (found, *words[1:])


def port(value: str, row: Directive, note: Note) -> int:
    """A port number for checks, or the name of a service over TCP."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", value):
        return addresses.port(value, Protocol.TCP, addresses.Resolver())
    if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= 65535:
        raise BadValue(f"{row.name} must be a number from 1 to 65535, not {value or 'nothing'}")
    return int(value)


def interface(value: str, row: Directive, note: Note) -> str:
    """A network interface, not an address label."""
    return interface_name(value.strip('"'))


def interface_name(name: str) -> str:
    """A network interface by the kernel's rules (dev_valid_name: 15 bytes, no slash, blank, :)."""
    if ":" in name:
        device = name.split(":")[0]
        raise BadValue(f"{name} is an address label, not an interface; write {device}")
    if not name or len(name.encode("utf-8", "surrogateescape")) > 15 or name in (".", ".."):
        raise BadValue(f"{name or 'nothing'} can't be an interface: 1 to 15 characters")
    if re.search(r"[\s/*?#\"]", name):
        raise BadValue(f"{name} can't be an interface")
    return name


def source(value: str, row: Directive, note: Note) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address of this director."""
    try:
        return ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        raise BadValue(f"{row.name} needs an address, not {value or 'nothing'}") from None


def secret(value: str, row: Directive, note: Note) -> bytes:
    """A password, quoted or not, of at most 8 bytes (RFC 2338, section 5.3.6.1)."""
    name = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    result = name.encode("utf-8", "surrogateescape")
    if not result or '"' in name:
        raise BadValue(f"{row.name} needs 1 to 8 characters other than double quotes")
    if len(result) > 8:
        raise BadValue(
            f"{row.name} has {len(result)} characters, VRRP carries 8 (keepalived uses the first 8"
            " and says nothing)"
        )
    return result


PARSERS: dict[str, Parser] = {
    parser.__name__: parser
    for parser in (
        *(
            number,
            integer,
            decimal,
            yesno,
            quoted,
            regex,
            word,
            checktype,
            anycase,
            text,
            host,
            path,
        ),
        *(logfile, name, names, identity, argv, process, command, port, interface, source, secret),
    )
}
