"""lvsd's reading of a file against that of ldirectord's own code: generated files and vectors.

Whatever the original accepts and means, lvsd accepts and means. The exceptions are listed with
their kind: WIDEN (refused there for no good reason), FIX (accepted there and misunderstood, an
error here), MEANS (accepted by both, read otherwise on purpose).
"""

from __future__ import annotations

import random
import re

import pytest

from lvsd.config.diagnostics import BadValue
from lvsd.config.original import surprises
from lvsd.config.original.reals import taken
from tests.interop.comparison import Kind, judged
from tests.interop.ldirectord import Reading, read

FILES = 200


SAME, REFUSED, WIDEN, FIX, MEANS = Kind


# --- generated files ------------------------------------------------------------


def generated(seed: int) -> bytes:
    """A file of a careful operator: everything the language allows, nothing it misreads."""
    draw = random.Random(seed)
    lines = [
        *_some(draw, "checktimeout={}", (1, 3, 20)),
        *_some(draw, "negotiatetimeout={}", (2, 10)),
        *_some(draw, "checkinterval={}", (1, 5)),
        *_some(draw, "failurecount = {}", (1, 3)),
        f"quiescent={draw.choice(('yes', 'no'))}",
        *_some(draw, "cleanstop={}", ("yes", "no")),
        *_some(draw, "autoreload={}", ("yes", "no")),
        *_some(draw, "fallback={}", ("127.0.0.1:80", "127.0.0.1:81 gate", "192.0.2.99:80 masq")),
        *_some(draw, "{}", ("# a remark", "   # another", "")),
    ]
    for number in range(draw.randint(1, 4)):
        lines += ["", *_block(draw, number)]
    return "\n".join([*lines, ""]).encode()


def _some(draw: random.Random, form: str, values: tuple[object, ...]) -> list[str]:
    return [form.format(draw.choice(values))] if draw.random() < 0.5 else []


def _block(draw: random.Random, number: int) -> list[str]:
    mark, six = draw.random() < 0.15, draw.random() < 0.2
    family = "6" if six else ""
    port = draw.choice((80, 443, 8080, 3128 + number))
    where = (
        str(number + 1) if mark else f"{'[2001:db8::1]' if six else '192.0.2.1'}:{port + number}"
    )
    indent = draw.choice(("\t", "    ", "\t\t", " \t", "      "))
    check = draw.choice(("http", "https", "connect", "ping", "on", "off"))
    members = [*_check(draw, check, six)]
    for last in range(draw.randint(0, 4)):
        members.append(f"real{family}={_real(draw, last + 4, six, check, mark)}")
    members += [
        *_some(draw, "scheduler={}", ("rr", "wlc", "sh", "lblcr")),
        *_some(draw, "checkinterval={}", (2, 7)),
        *_some(draw, "checktimeout={}", (4, 6)),
        *_some(draw, "negotiatetimeout={}", (8, 9)),
        *_some(draw, "failurecount={}", (2, 4)),
        *_some(draw, "quiescent={}", ("yes", "no")),
        *_some(draw, "cleanstop={}", ("yes", "no")),
        *_some(draw, "servicename={}", ("shop", "my shop")),
    ]
    if draw.random() < 0.4:
        members.append(f"persistent={draw.choice((60, 300))}")
        members += _some(draw, "netmask={}", (64,) if six else ("255.255.255.0", "255.255.0.0"))
    if draw.random() < 0.3:
        sorry = "[2001:db8::99]:80" if six else "127.0.0.1:8000"
        members.append(f"fallback{family}={sorry}{draw.choice(('', ' gate', ' masq', ' ipip'))}")
    draw.shuffle(members)
    if draw.random() < 0.3:
        members.insert(draw.randrange(len(members) + 1), "# in the middle")
    return [f"virtual{family}={where}", *(indent + member for member in members)]


def _check(draw: random.Random, check: str, six: bool) -> list[str]:
    if check not in ("http", "https"):
        return [f"checktype={check}"]
    lines = [f"service={check}", *_some(draw, "checktype={}", ("negotiate",))]
    lines += _some(draw, 'request="{}"', ("index.html", "/a/b?c=d", "/.testpage", "/x#y"))
    lines = [line for line in lines if "#" not in line]
    lines += _some(draw, 'receive="{}"', ("ok", "^OK .*$", r"\d+ live", "a|b"))
    lines += _some(draw, "httpmethod={}", ("GET", "get"))
    lines += _some(draw, "virtualhost={}", ("www.example.org",))
    return [*lines, *_some(draw, "checkport={}", (8080, 81))]


def _real(draw: random.Random, last: int, six: bool, check: str, mark: bool) -> str:
    if six:
        address = f"[2001:db8::{last:x}]"
    elif draw.random() < 0.15:
        address = f"198.51.100.{last}0->198.51.100.{last}3"
    else:
        address = f"198.51.100.{last}"
    # A mark tells no port to connect to; lvsd wants one, the original's checks always fail.
    port = draw.choice((":80", ":8080") if mark else ("", ":80", ":8080"))
    text = f"{address}{port} {draw.choice(('gate', 'masq', 'ipip'))}"
    if draw.random() < 0.6:
        text += f" {draw.choice((0, 1, 5, 100))}"
        if check in ("http", "https") and draw.random() < 0.3:
            text += draw.choice((' "own.html", "own"', ' "own.html" "own"', ' "a b.html","x y"'))
    return text


# --- vectors --------------------------------------------------------------------

_YES = "quiescent=yes\n"
_TAIL = "\n\treal=127.0.0.2:80 gate\n\tchecktype=connect\n"
_BLOCK = "virtual=127.0.0.1:80\n\treal=127.0.0.2:80 gate\n\tservice=http\n\tquiescent=yes\n"


def _global(text: str) -> str:
    return f"quiescent=yes\n{text}\n{_BLOCK}"


def _member(text: str) -> str:
    return f"{_BLOCK}\t{text}\n"


def _virtual(text: str) -> str:
    return f"quiescent=yes\nvirtual={text}{_TAIL}"


def _servers(text: str) -> str:
    return f"quiescent=yes\nvirtual=127.0.0.1:80\n\treal={text}\n\tservice=http\n"


VECTORS: list[tuple[str, Kind]] = [
    *[(_global(text), SAME) for text in (
        "checktimeout = 3", "checktimeout=3 # c", "checktimeout=3.9", 'checktimeout="4"',
        "checkinterval=10m", "negotiatetimeout=60s", 'callback="/bin/true"',
        "autoreload=yes", "fork=no", "readdquiescent=yes", "supervised", 'logfile="local0"',
        "emailalert=\"a@example.org, d@example.org\"", "emailalertstatus=starting, running",
        "emailalertfreq=60", "smtp=mail.example.org", "fallback=127.0.0.1:80",
        "fallback=127.0.0.1:80 masq", "fallbackcommand=/bin/true", "# only a remark", "",
    )],
    *[(_global(text), REFUSED) for text in (
        "checktimeout=0", "checktimeout=abc", " checktimeout=3", "autoreload=Yes",
        'autoreload="yes"', "autoreload=true", "service=http", "scheduler=rr",
        "checktype=connect", "virtualhost=x", "emailalertstatus=all,none", "CheckTimeout=3",
        "timeout=3", "connecttimeout=3", "foo=1", "; a remark", "// a remark",
        "fallback=nosuch.invalid:80",
        "emailalertstatus=now", "checktimeout 3",
    )],
    *[(_global(text), WIDEN) for text in (
        "autoreload=yes ", "autoreload=yes # c", "autoreload=yes\r", "logfile=/var/log/x.log",
        "logfile=local0", "callback=/bin/true", 'fallback="127.0.0.1:80"',
        "fallback=127.0.0.1:80 # c", "fallback=[::1]:80", "emailalertstatus=running # c",
        'smtp="mail.example.org"', "smtp=[::1]", "emailalertstatus=running ",
        'emailalertstatus="running"',
    )],
    *[(_virtual(text), SAME) for text in (
        "1.2.3.4:80", "1.2.3.4:80 # c", "1.2.3.4:443", "1.2.3.4:http", "7",
    )],
    *[(_virtual(text), FIX) for text in (
        "1.2.3.4", "192.168.1.1 80", "1.2.3.4 :80", "5abc", "0", "192.168.200:80", "010.0.0.1:80",
        "127.1:80", "1.2.3.4:80,1.2.3.5:80", "1.2.3.4:80/tcp",
    )],
    *[(_virtual(text), REFUSED) for text in (
        "1.2.3.4:70000", "1.2.3.4:nosuch", "1.2.3.400:80", "foo", '"1.2.3.4:80"', "*:80",
        "tcp:1.2.3.4:80", "",
    )],
    (_virtual("1.2.3.4:80") + "\n" + _virtual("1.2.3.4:80"), REFUSED),
    (f"{_YES}virtual=1.2.3.4:53\n\tchecktype=on\n\nvirtual=1.2.3.4:53\n\tprotocol=tcp"
     "\n\tchecktype=on\n", SAME),
    (f"{_YES}virtual6=[2001:DB8:0:0::1]:80\n\treal6=[::2]:80 gate\n\tchecktype=connect\n", SAME),
    (f"{_YES}virtual=[2001:db8::1]:80\n\treal=[::2]:80 gate\n\tchecktype=connect\n", WIDEN),
    (f"{_YES}virtual6=7\n\treal6=[::2]:80 gate\n\tchecktype=connect\n", SAME),
    (f"{_YES}virtual6=2001:db8::1:80\n\treal6=[::2]:80 gate\n", REFUSED),
    (f"{_YES}virtual6=[::1%lo]:80\n\treal6=[::2]:80 gate\n", REFUSED),
    (f"{_YES}virtual=1.2.3.4:80", WIDEN),
    (f"{_YES}virtual=1.2.3.4:80\n\n", SAME),
    (f"{_YES}virtual=1.2.3.4:80\n   real=127.0.0.2:80 gate\n   checktype=on\n", WIDEN),
    (f"{_YES}virtual=1.2.3.4:80\n \treal=127.0.0.2:80 gate\n\t\t  checktype=on\n", SAME),
    (f"{_YES}virtual=1.2.3.4:80\n\tchecktype=on\n# c\n\treal=127.0.0.2:80 gate\n", SAME),
    (f"{_YES}virtual=1.2.3.4:80\n\tchecktype=on\n\n\treal=127.0.0.2:80 gate\n", REFUSED),
    ("\ufeffquiescent=yes\n" + _virtual("1.2.3.4:80"), WIDEN),
    ("quiescent=yes\r\nvirtual=1.2.3.4:80\r\n\treal=1.2.3.5:80 gate\r\n\tchecktype=on\r\n", WIDEN),
    ("virtual=1.2.3.4:80\n\treal=127.0.0.2:80 gate\n\tchecktype=on\n", MEANS),
    ("", FIX),
    *[(_member(text), SAME) for text in (
        'request="/a"', 'request="a b"', 'receive="a"b"', 'receive="a(b)+"', "checkport=81",
        "httpmethod=head", "scheduler=wlc", 'scheduler="wlc"', "persistent=60", "load=\"x\"",
        'service="http"', "service=http junk", "virtualhost=www.example.org",
        'virtualhost="www.example.org"', "protocol=tcp", "ops=no", "comment=a b", "cleanstop=no",
        "checktype=connect", "monitorfile=/tmp/monitor", 'fallbackcommand="/bin/true"',
        "emailalert=x@example.org", 'emailalert="Admin <a@b.c>"', "checkcommand=true",
        "real=127.0.0.3:80 masq",
    )],
    *[(_member(text), REFUSED) for text in (
        "request=/a", "request='a'", 'request=""', "checkport=0",
        "checkport=70000",
        "httpmethod=POST", "protocol=icmp", "protocol=fwm", "persistent=x", "netmask=24.0",
        "service=gopher", "checktype=nosuch", "ops=true", "checktimeout=0", "quiescent=maybe",
        "autoreload=yes", "callback=\"/x\"", "schedular=rr", "request=“/a”", "real6=[::1]:80 gate",
    )],
    *[(_member(text), WIDEN) for text in (
        'request="/a#b"', "protocol=sctp\n\tchecktype=on", "quiescent=yes ", "quiescent=no\r",
        "netmask=255.255.255.0 ", "netmask=24\n\tpersistent=60", "protocol=TCP",
        "checkport=http", 'smtp="mail.example.org"', "emailalertfrom=a@example.org",
        'fallback="127.0.0.1:80"',
    )],
    *[(_member(text), FIX) for text in (
        "scheduler=wlc2", "scheduler=Wlc", "scheduler=foo", 'receive="a(b"', "scheduler=nosuch",
        "netmask=255.0.255.0\n\tpersistent=60",
    )],
    *[(_servers(text), SAME) for text in (
        "127.0.0.2:80 gate", "127.0.0.2:80 masq 5", "127.0.0.2:80 ipip 0",
        "127.0.0.2:http gate", "127.0.0.2 gate", "127.0.0.2->127.0.0.4:80 gate",
        '127.0.0.2:80 gate 5 "index.html", "ok"', '127.0.0.2:80 gate 5 "index.html" "ok"',
        "127.0.0.2:80 gate 5 l:5 u:10", "127.0.0.2:80 gate 2147483647",
    )],
    *[(_servers(text), WIDEN) for text in (
        "127.0.0.2:80 gate 5,", "127.0.0.2 -> 127.0.0.4:80 gate",
        '127.0.0.2:80 gate "a", "HTTP/1.1 200"', '127.0.0.2:80 gate "a"  ,  "b"',
        '127.0.0.2:80 gate 5 request="/a"', '127.0.0.2:80 gate 5 "a#b", "c"',
    )],
    (f"{_YES}virtual6=[::1]:80\n\treal=127.0.0.2:80 ipip\n\tchecktype=connect\n", WIDEN),
    (f"{_YES}virtual=127.0.0.1:80\n\treal6=[::2]:80 ipip\n\tchecktype=connect\n", WIDEN),
    *[(_servers(text), MEANS) for text in (
        '127.0.0.2:80 gate 5 "/index.html", "ok"', "127.0.0.2:80 gate 5 u:10 l:5",
        '127.0.0.2:80 gate 1 "l:5" "u:7"', "5.245.224.254->5.245.225.1:80 gate",
        '127.0.0.2:80 gate "a", "b 5" l:3 u:10',
    )],
    *[(_servers(text), FIX) for text in (
        "127.0.0.2::80 gate", "127.0.0.2,80 gate", "http://127.0.0.2:80 gate",
        "127.0.0.2:80->127.0.0.4:80 gate",
    )],
    *[(_servers(text), REFUSED) for text in (
        "127.0.0.2:80", "127.0.0.2:80 route", "127.0.0.2:80 gate5", "127.0.0.2:80 gate weight=5",
        "127.0.0.2:80 gate -1", "127.0.0.2:70000 gate", "nosuch.invalid:80 gate", "my_host:80 gate",
        "127.0.0.4->127.0.0.2:80 gate", '127.0.0.2:80 gate 5 "only"',
    )],
]  # fmt: skip


#: Members that a second block, with the server of the first, has besides.
MEMBERS = (
    *("checktimeout=7", "negotiatetimeout=7", "failurecount=3", "httpmethod=HEAD", 'login="a"'),
    *("checkport=81", "virtualhost=b.example", 'request="/b"', 'receive="b"', "service=https"),
    "checktype=connect",
)


def _pair(member: str) -> str:
    second = _BLOCK.replace("0.1:80", "0.1:81").replace("0.2:80 gate", "0.2:80 masq")
    return f"{_BLOCK.replace('gate', 'masq')}\n{second}\t{member}\n"


#: Lines of real servers, well written or not.
LINES = [
    f"127.0.0.2{port} gate{weight}{strings}{limits}"
    for port in (":80", "", "->127.0.0.3:80", " -> 127.0.0.3:80")
    for weight in ("", " 5", " 5,")
    for strings in ("", ' "a", "b"', ' "/a","b"', ' "a" , "b"', ' "a", "b 7"', ' "l:5" "u:7"')
    for limits in ("", " l:3 u:9", " u:9 l:3", " x", ' request="a"')
]


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    """The original's reading of everything below, in one run of its code."""
    files = {f"generated-{seed:03}": generated(seed) for seed in range(FILES)}
    files |= {f"vector-{i:03}": text.encode() for i, (text, _) in enumerate(VECTORS)}
    files |= {f"pair-{i}": _pair(member).encode() for i, member in enumerate(MEMBERS)}
    files |= {f"line-{i:03}": _servers(line).encode() for i, line in enumerate(LINES)}
    return read(files, tmp_path_factory.mktemp("ldirectord"))


@pytest.mark.parametrize("seed", range(FILES))
def test_a_careful_file_means_the_same(readings: dict[str, Reading], seed: int) -> None:
    kind, why = judged(readings[f"generated-{seed:03}"], generated(seed))

    assert kind is SAME, f"{kind}: {why}\n{generated(seed).decode()}"


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_a_vector_is_read_as_the_policy_says(readings: dict[str, Reading], number: int) -> None:
    text, expected = VECTORS[number]

    kind, why = judged(readings[f"vector-{number:03}"], text.encode())

    assert kind is expected, f"{kind}: {why}\n{text}"


def stops(text: bytes) -> list[int]:
    """The lines at which `lvsd check --ldirectord` says that the original refuses the file."""
    found = surprises("t.cf", node="dir1", text=text)
    return [one.line for one in found if "refuses the whole file" in one.text]


@pytest.mark.parametrize("seed", range(FILES))
def test_nothing_is_said_to_stop_ldirectord_in_a_file_it_takes(seed: int) -> None:
    assert stops(generated(seed)) == []


#: The vectors that lvsd accepts.
ACCEPTED = [n for n, (_, kind) in enumerate(VECTORS) if kind in (SAME, WIDEN, MEANS)]


@pytest.mark.parametrize("number", ACCEPTED)
def test_check_names_the_very_line_at_which_ldirectord_stops(
    readings: dict[str, Reading], number: int
) -> None:
    text, _ = VECTORS[number]
    there = re.search(r" at line ([0-9]+):", readings[f"vector-{number:03}"].error)

    assert stops(text.encode())[:1] == ([int(there[1])] if there else [])


@pytest.mark.parametrize("number", range(len(MEMBERS)), ids=lambda n: MEMBERS[n])
def test_check_tells_of_blocks_that_share_one_check(
    readings: dict[str, Reading], number: int
) -> None:
    member = MEMBERS[number]
    one = len(readings[f"pair-{number}"].checks) == 1
    found = surprises("t.cf", node="dir1", text=_pair(member).encode())

    told = any("once for this block" in remark.text for remark in found)

    assert told is (one and "login" not in member)  # no login is asked for over http


@pytest.mark.parametrize("number", range(len(LINES)), ids=lambda n: LINES[n])
def test_a_real_line_is_taken_as_the_original_takes_it(
    readings: dict[str, Reading], number: int
) -> None:
    there = readings[f"line-{number:03}"]
    if there.error:
        with pytest.raises(BadValue):
            taken(LINES[number])
        return
    real = there.virtuals[0]["real"][0]
    here = taken(LINES[number])

    strings = (here.strings or ("", ""))[0].removeprefix("/"), (here.strings or ("", ""))[1]
    assert int(real["weight"]) == here.weight
    assert (int(real.get("l-threshold") or 0), int(real.get("u-threshold") or 0)) == (
        here.lower,
        here.upper,
    )
    assert (real.get("request") or "").removeprefix("/") == strings[0]
    assert (real.get("receive") or "") == ("" if here.lost else strings[1])
