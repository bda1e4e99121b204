"""`lvsd check --ldirectord`: what ldirectord takes otherwise, and what it does unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvsd.cli import main
from lvsd.config import ConfigError
from lvsd.config.original import surprises

BLOCK = "virtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate\n\tservice=http\n"
BLOCK21 = "virtual=192.0.2.1:21\n\treal=192.0.2.4 gate\n"


def _asked(service: str) -> str:
    return BLOCK.replace("=http", f"={service}")


def told(text: str) -> list[str]:
    return [str(one) for one in surprises("t.cf", node="dir1", text=text.encode())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BLOCK, "t.cf:1:9: ldirectord: quiescent is not set: it removes"),
        (f"checkcount=3\n{BLOCK}", "t.cf:1:12: ldirectord: it counts only echo requests"),
        (f"{BLOCK}\tcheckinterval=2\n", "t.cf:4:16: ldirectord: it ignores this"),
        (
            "fallback=127.0.0.1:80\nvirtual=7\n\treal=192.0.2.4:80 gate\n\tservice=http\n",
            "t.cf:2:9: ldirectord: the global fallback never works for a firewall mark",
        ),
        (
            'virtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate 1 "/a","b"\n\tservice=http\n',
            "a request that begins with / is lost",
        ),
        (
            "virtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate 1 u:9 l:5\n\tservice=http\n",
            "it drops u: in this order",
        ),
        (f'maintenancedir="/tmp"\n{BLOCK}', "whose name has the quotes in it"),
        (
            "virtual=192.0.2.1:80\n\treal=192.0.2.4:8080 gate\n\tservice=http\n",
            "t.cf:2:7: ldirectord: each reload removes and adds it",
        ),
        (f"autoreload=yes\n{BLOCK}", "after a reload that failed, no check result counts"),
        (BLOCK.replace("=http", "=https"), "a certificate that the system does not trust"),
        (
            f"failurecount=3\n{BLOCK}\nvirtual=192.0.2.2:80{BLOCK.partition(':80')[2]}",
            "count each failure more than once: 192.0.2.4:80",
        ),
        (f"checktimeout=7\n{BLOCK}\treal=192.0.2.5:80 gate\n", "a pass takes 14 s"),
        (
            f'{BLOCK}\tfallbackcommand=/bin/echo "#1"\n',
            "t.cf:4:18: ldirectord: it cuts this at the #",
        ),
        (
            'virtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate 1 "l:5" "u:7"\n\tservice=http\n',
            "t.cf:2:27: ldirectord: it takes l:5 and u:7 for request and receive",
        ),
        (
            "virtual=192.0.2.1:80\n\treal=5.245.224.254->5.245.225.1:80 gate\n\tchecktype=on\n",
            "t.cf:2:7: ldirectord: it makes no server of this range",
        ),
        (_asked("pop"), "t.cf:3:10: ldirectord: without login= its pop check always passes"),
        (_asked("ftp"), "t.cf:3:10: ldirectord: without receive= its ftp check always passes"),
        (_asked("dns"), "t.cf:3:10: ldirectord: without receive= its dns check never passes"),
        (BLOCK21, "t.cf:1:9: ldirectord: without service=ftp it logs in with an empty name"),
        (
            BLOCK21.replace("21", "5060"),
            "t.cf:1:9: ldirectord: without service=sip it logs in with an empty name",
        ),
        (_asked("imap"), "t.cf:3:10: ldirectord: its imap check asks port 143, whatever"),
        (
            f"{BLOCK.replace('=http', '=none')}\tchecktype=external\n\tcheckcommand=/bin/sh -e\n",
            "t.cf:5:15: ldirectord: it looks for a program of this whole name",
        ),
        (
            BLOCK.replace("service=http", "checktype=external"),
            "t.cf:1:9: ldirectord: a program that dies by a signal passes",
        ),
        (
            BLOCK.replace("service=http", "checktype=external"),
            "the program gets the daemon's environment (here: PATH and LANG only)",
        ),
        (f"supervised=yes\n{BLOCK}", "t.cf:1:1: ldirectord: it logs to standard output then"),
        (f"{BLOCK}\tcheckport=pop3\n", "t.cf:4:12: ldirectord: it takes 3 for the port"),
        (f"{BLOCK}\tpersistent=0\n", "t.cf:4:13: ldirectord: ipvsadm refuses a persistence of 0"),
        (
            f"{BLOCK.replace('192.0.2.1:80', '7')}\tops=yes\n",
            "t.cf:4:6: ldirectord: it ignores ops for a firewall mark",
        ),
        (
            BLOCK.replace("service=http", "checktype=off"),
            "t.cf:3:12: ldirectord: at start each server gets its full weight",
        ),
        (
            BLOCK.replace("2.1:80", "2.1:080").replace("\tservice=http\n", ""),
            "t.cf:1:9: ldirectord: port 080 tells it no service: nothing is checked",
        ),
        *[
            (
                f"{BLOCK}\nvirtual=192.0.2.2:80{BLOCK.partition(':80')[2]}\t{member}\n",
                "t.cf:5:9: ldirectord: it asks 192.0.2.4:80 once for this block and that of"
                f" line 1, with the {word} of that one",
            )
            for member, word in (
                ("checktimeout=7", "timeout"),
                ("failurecount=3", "failurecount"),
                ("httpmethod=HEAD", "httpmethod"),
            )
        ],
        (
            "virtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate\n\tchecktype=external\n\n"
            "virtual=192.0.2.2:80\n\treal=192.0.2.4:80 gate\n\tchecktype=external\n",
            "with the virtual's address of that one",
        ),
        (f"{BLOCK}\trise=2\n", "t.cf:4:2: ldirectord: it refuses the whole file here"),
    ],
)
def test_each_surprise_is_told_with_its_place(text: str, expected: str) -> None:
    found = told(text)

    assert any(expected in line for line in found), found


def test_a_file_without_surprises_is_told_only_what_holds_for_every_file() -> None:
    found = told(f"quiescent=yes\n{BLOCK}")

    assert [line.partition("ldirectord: ")[2][:25] for line in found] == [
        "at start and reload each ",
        "it checks one server afte",
    ]


@pytest.mark.parametrize(
    ("service", "real"), [("http", "80"), ("80", "www"), ("domain", "53"), ("80", "080")]
)
def test_two_spellings_of_one_port_are_no_surprise(service: str, real: str) -> None:
    found = told(f"virtual=127.0.0.1:{service}\n\treal=127.0.0.2:{real} gate\n\tchecktype=on\n")

    assert not any("the port is not the service's" in line for line in found), found


@pytest.mark.parametrize("member", ["checkport=81", 'virtualhost="b.example"', 'request="/b"'])
def test_checks_that_it_tells_apart_are_not_shared(member: str) -> None:
    second = BLOCK.replace("2.1:80", "2.2:80")
    found = told(f"quiescent=yes\n{BLOCK}\tchecktimeout=7\n\n{second}\t{member}\n")

    assert not any("once for this block" in line for line in found), found


def test_a_file_that_lvsd_refuses_has_errors_instead() -> None:
    with pytest.raises(ConfigError):
        told("virtual=1.2.3.4\n")


def test_the_command_prints_them_and_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ldirectord.cf"
    path.write_text(BLOCK)

    assert main(["check", "--ldirectord", "-c", str(path)]) == 0

    printed = capsys.readouterr()
    assert f"{path}:1:9: ldirectord: quiescent is not set" in printed.err
    assert f"{path}: ok" in printed.out


def test_a_file_that_does_nothing_there_is_an_error_that_says_so() -> None:
    with pytest.raises(ConfigError, match="ldirectord accepts such a file and does nothing"):
        told("# virtual=192.0.2.1:80\n")
