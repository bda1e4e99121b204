"""What `receive=` matches, against Perl itself: the same, or an error when the file is read."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from lvsd.config.diagnostics import BadValue
from lvsd.config.expressions import expression
from tests.lab import peer

#: Over every byte alone, and over these.
WORDS = ("ab12", "a\r\nb", "x\n", "x\n\n", "aa", "a-a", "Ab é", "a\n\nb")
BODIES = [*(chr(code) for code in range(256)), *WORDS]
#: As in a file, each byte a character.
PATTERNS = [
    *(r"^\h$", r"^\H$", r"^\v$", r"^\V$", r"^\R\z", r"a\Rb", r"^[\h]$", r"^[^\v]$"),
    *(r"^[\e\x{41}]$", r"^\e$", r"^\x{41}$", r"^\x{e9}$", r"^\x4", r"^x\z", r"^x\Z", r"^x$"),
    *(r"^[\x{30}-\x{39}]$", r"^[\x4]$"),
    *(r"(?<one>a)\k<one>", r"(?<one>a)-\k{one}", r"(?'one'a)\k'one'", r"(?P<one>a)(?P=one)"),
    *(f"^[[:{name}:]]$" for name in (
        "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "word", "xdigit", "^digit", "^space", "^word",
    )),
    *(r"^[^[:alpha:]_]$", r"^[]a[:digit:]]$", r"^[[a]$", r"^[a[]$", r"^[\]a]$", r"^[[:a]$"),
    *(r"^\s$", r"^\w$", r"^\d$", r"^\W$", r"^.$", r"^[\s\w]$", r"\bb\b"),
    *(r"a++", r"(?>a+)b", r"(?i)AB", r"(?i:A)b", r"(?s)a..b", r"(?<=a)a", r"(?<!a)a", "é", "[é]"),
]  # fmt: skip
#: Perl knows them, and nothing here says the same.
UNKNOWN = [
    *(r"\p{Lu}", r"\X", r"\Ka", r"\Ga", r"\Qa\E", r"\N", r"\g1", r"\o{101}", r"\cA", r"\b{wb}"),
    *(r"(?|a|b)", r"(a)(?1)", r"(?R)", r"(?{1})", r"(*FAIL)", r"(?&x)", r"a(?i)b", r"(?^:a)"),
    *(r"\x{263a}", "[[:^alpha:]]", "[[:nosuch:]]", r"[\H]", r"[\z]"),
]
_PERL = r"""
use JSON::PP;
local $/;
my ($patterns, $bodies) = @{JSON::PP->new->decode(<STDIN>)};
utf8::downgrade($_) for @$patterns, @$bodies;  # bytes, as from a file or a socket
print JSON::PP->new->encode([map { my $p = $_; [map { $_ =~ /$p/ ? 1 : 0 } @$bodies] } @$patterns]);
"""


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    """For each pattern and body, whether Perl finds it."""
    folder: Path = tmp_path_factory.mktemp("perl")
    (folder / "match.pl").write_text(_PERL)
    done = subprocess.run(
        peer.words(["perl", folder / "match.pl"], folder),
        input=json.dumps([PATTERNS, BODIES]).encode(),
        capture_output=True,
        check=True,
        timeout=300,
    )
    found: list[list[int]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("number", range(len(PATTERNS)), ids=lambda n: PATTERNS[n])
def test_an_expression_finds_what_perl_finds(matched: list[list[int]], number: int) -> None:
    translated = expression(PATTERNS[number].encode("latin1"))

    found = [int(bool(re.search(translated, body.encode("latin1")))) for body in BODIES]

    differ = [b for b, m, f in zip(BODIES, matched[number], found, strict=True) if m != f]
    assert not differ, translated
    assert expression(translated) == translated


@pytest.mark.parametrize("pattern", UNKNOWN)
def test_what_only_perl_knows_is_an_error(pattern: str) -> None:
    with pytest.raises(BadValue):
        expression(pattern.encode())
