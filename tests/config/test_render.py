"""The normal form, and what arbitrary bytes do."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from lvsd.config import render
from lvsd.config.table import TABLE
from tests.config.fuzz import judge

PIECES = st.sampled_from(
    [
        *(f"{row.name}=" for row in TABLE),
        *(
            "\n",
            "\n\t",
            "\n    ",
            "\n\n",
            " ",
            "#",
            '"',
            "“",
            "–",
            ",",
            "->",
            ":",
            "=",
            "\t",
            "\r\n",
        ),
        *("yes", "no", "1", "80", "0", "1.2.3.4:80", "127.0.0.2:80 gate", "[::1]:80", "7", "3.5"),
        *('"a", "b"', '"(x"', "l:5 u:7", "masq 3", "ipip", "http", "connect", "ping", "wlc", "udp"),
        *(
            "eth0",
            "eth0 1",
            "script a weight 4",
            "/bin/true a",
            "192.168.1.1/24 dev eth0",
            "\udcff",
        ),
        *('request="http://127.0.0.9/x"', "é", '"a"b"', "localhost:80", "$(x)", "\\z"),
    ]
)
BLOCKS = st.lists(
    st.sampled_from(
        [
            "virtual=1.2.3.4:80\n",
            "virtual=1.2.3.4:443\n",
            "virtual6=[::1]:80\n",
            "virtual=9\n",
            "checkinterval=7\n",
            "fallback=127.0.0.1\n",
            "fallback6=[::1]:81 masq\n",
            "logfile=local3\n",
            "operators=a b\n",
            "\tservice=http\n",
            "\tservice=https\n",
            "\tservice=ftp\n",
            "\tservice=ldaps\n",
            "\tservice=simpletcp\n",
            '\tservice=radius\n\tsecret="#s"\n',
            '\tlogin="jo"e"\n',
            '\tpasswd="é # "\n',
            "\tchecktype=external\n\tcheckcommand=/bin/true -x\n",
            "\tchecktype=connect\n",
            "\tchecktype=3\n",
            "\tchecktype=ping\n",
            "\tchecktype=off\n",
            "\tcheckport=8080\n",
            "\tcheckcount=4\n",
            "\tchecktimeout=4\n",
            '\trequest="a\\"b"\n',
            '\treceive="x"y"\n',
            '\treceive="a\\z|\\Z#\xff"\n',
            "\tvirtualhost=h.example\n",
            "\tpersistent=60\n\tnetmask=24\n",
            "\tprotocol=udp\n",
            "\tops=yes\n",
            "\tscheduler=sh\n\tschedflags=sh-port,sh-fallback\n",
            "\tquiescent=no\n\tcleanstop=no\n",
            "\twatch=yes\n\tfailfast=yes\n",
            "\tquorum=3\n\thysteresis=1\n\trise=2\n",
            "\treal=127.0.0.2 gate\n",
            "\treal=127.0.0.3:81 masq 5 l:1 u:9\n",
            '\treal=127.0.0.4:81 gate 5 "r", "s"\n',
            '\treal=127.0.0.5 ipip 5 request="http://127.0.0.9:81/z"\n',
            '\treal=127.0.0.6 masq 5 receive="#s"\n',
            "\treal=[::2] masq 2\n",
            "\treal=[::3]:8 ipip 2 checkport=9\n",
            "\tfallback=127.0.0.9:99 masq\n",
        ]
    ),
    max_size=14,
).map("".join)
quick = settings(deadline=None)


def check(text):
    """Either a ConfigError with places, or a Config whose normal form gives it back."""
    judge(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))


@quick
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_but_config_error(data):
    check(data)


@quick
@given(pieces=st.lists(PIECES, max_size=40))
def test_shuffled_words_raise_nothing_but_config_error(pieces):
    check("".join(pieces).replace("include=", "include ="))


@settings(quick, max_examples=300)
@given(text=BLOCKS)
def test_the_normal_form_loads_back_to_an_equal_config(text):
    check(text)


def test_the_normal_form_of_a_long_range_takes_a_moment_only():
    text = "virtual=1.2.3.4:80\n\tservice=http\n\treal=10.0.0.0->10.0.{}.255:80 gate\n"
    few, many = (_cost(text.format(last)) for last in (3, 31))
    assert many < 32 * few, "the time grows faster than the range"


def _cost(text):
    """CPU seconds until a text is judged."""
    began = time.process_time()
    check(text)
    return time.process_time() - began


def test_the_port_of_a_connect_check_beside_sctp_survives(load_text):
    text = "virtual=1.2.3.4:80\n\tprotocol=sctp\n\tchecktype=connect\n\tcheckport=81\n"
    config = load_text(text + "\treal=127.0.0.2:80 masq checkport=9\n\treal=127.0.0.3 masq\n")
    assert [real.check.port for real in config.virtuals[0].reals] == [9, 81]
    assert load_text(render(config)) == config


def test_the_normal_form_of_everything_loads_back(load_text):
    text = """\
autoreload=yes
checkers=4
logfile="/var/log/x.log"
operators=alice, bob
standbytable=no
script=s
	command=/bin/sh -c 'test "$1" = \\\\x' "a b" # c
	timeout=0.5
vrrp="VI_1"
	interface=eth0
	virtualrouterid=9
	address=2001:db8::1/64
	excludedaddress=10.0.0.1/24 dev eth1 label eth1:a scope 7
	advertint=0.07
	peer=fe80::1
	track=script s
	track=interface eth1 weight 3
	nopreempt
	startupdelay=0
	notify="/etc/lvsd/my notify" "#1"
virtual=7
	real=127.0.0.2 masq 2
	real=127.0.0.3:81 gate
	checkport=99
	checktype=connect
	quiescent=no
"""
    config = load_text(text)
    assert load_text(render(config)) == config
    assert config.checkers == 4
    assert config.scripts[0].command[3:] == ("a b",)
