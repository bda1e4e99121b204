"""track= lines with the process= and file= blocks that they name."""

import pytest

from lvsd.config import ConfigError, render
from lvsd.core.model import Track, TrackFile, TrackKind, TrackProcess

BLOCKS = """\
process=web
	command=/usr/sbin/nginx -g "a b"
	quorum=2
	quorummax=9
	forkdelay=1.5
	terminatedelay=2
process=ssh
	command=sshd

file=load
	path=/run/load

"""
PAIR = "vrrp=VI_1\n\tinterface=eth0\n\tvirtualrouterid=51\n\taddress=192.168.1.1\n"


def test_processes_and_files_are_tracked_by_name(load_text):
    lines = "\ttrack=process web\n\ttrack=process ssh weight -10\n\ttrack=file load weight 2\n"
    config = load_text(BLOCKS + PAIR + lines)

    assert config.processes == (
        TrackProcess("web", ("/usr/sbin/nginx", "-g", "a b"), 2, 9, 1.5, 2),
        TrackProcess("ssh", ("sshd",)),
    )
    assert config.files == (TrackFile("load", "/run/load"),)
    assert config.routers[0].tracks == (
        Track(TrackKind.PROCESS, "web"),
        Track(TrackKind.PROCESS, "ssh", -10),
        Track(TrackKind.FILE, "load", 2),
    )
    assert not config.warnings
    assert load_text(render(config)) == config


def test_weights_are_reversed_as_in_keepalived(load_text):
    lines = "\ttrack=process web weight 0 reverse\n\ttrack=process ssh weight 20 reverse\n"
    config = load_text(BLOCKS + PAIR + lines)

    assert config.routers[0].tracks == (
        Track(TrackKind.PROCESS, "web", 0, reverse=True),
        Track(TrackKind.PROCESS, "ssh", 20, reverse=True),
    )
    assert load_text(render(config)).routers == config.routers


@pytest.mark.parametrize("words", ["reverse", "weight 5 revers", "weight 5 reverse 1", "weight"])
def test_reverse_stands_behind_a_weight(load_text, words):
    with pytest.raises(ConfigError) as caught:
        load_text(BLOCKS + PAIR + f"\ttrack=process web {words}\n")
    text = "write track=process NAME or track=process NAME weight N [reverse]"
    assert [e.text for e in caught.value.errors if "weight N" in e.text] == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PAIR + "\ttrack=process wep\n", 'no process=wep block; did you mean "web"?'),
        (PAIR + "\ttrack=file web\n", "there is no file=web block"),
        ("process=web\n\tcommand=x\n", "process web was defined on line 1 already"),
        ("file=load\n\tpath=/x\n", "file load was defined on line 10 already"),
        ("process=x\n\tcommand=a\n\tquorum=3\n\tquorummax=2\n", "quorummax is below quorum"),
        ("file=x\n\tcommand=a\n", "file=x has no path="),
    ],
)
def test_what_is_wrong_is_said(load_text, text, expected):
    with pytest.raises(ConfigError) as caught:
        load_text(BLOCKS + text)
    assert any(expected in error.text for error in caught.value.errors)


def test_a_block_that_nothing_tracks_is_warned_of(load_text):
    warnings = load_text(BLOCKS + PAIR).warnings
    assert [w.split(": ", 2)[2] for w in warnings] == [
        "no vrrp= block tracks this process",
        "no vrrp= block tracks this process",
        "no vrrp= block tracks this file",
    ]
