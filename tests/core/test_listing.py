"""Tables in ipvsadm's rule language. The lines are what ipvsadm 1.31 printed for these tables."""

from __future__ import annotations

from lvsd.core.listing import rules
from tests.kernel.table_contract import VARIETY


def test_rules_are_the_lines_ipvsadm_saves() -> None:
    lines = rules(VARIETY).splitlines()
    for line in (
        "-A -t 192.0.2.1:80 -s wlc",
        "-a -t 192.0.2.1:80 -r 192.0.2.12:80 -g -w 3",
        "-A -u 192.0.2.1:53 -s rr -o",
        "-A -u 192.0.2.1:5060 -s rr -p 60 --pe sip -o",
        "-a --sctp-service 192.0.2.1:2905 -r 192.0.2.11:2905 -m -w 2147483647",
        "-A -t 192.0.2.1:443 -s sh -p 300 -M 255.255.255.0",
        "-a -t 192.0.2.1:443 -r 192.0.2.11:443 -i -w 1 --tun-type ipip",
        "-a -t 192.0.2.1:443 -r 192.0.2.12:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
        "-a -t 192.0.2.1:443 -r 192.0.2.13:443 -i -w 1 --tun-type gre --tun-nocsum",
        "-A -t 192.0.2.2:1 -s sh -b sh-fallback,sh-port",
        "-A -t 192.0.2.2:2 -s mh -b mh-port",
        "-A -t 192.0.2.2:3 -s rr -b flag-3",
        "-A -t [2001:db8::1]:80 -s wlc -p 300 -M 64",
        "-a -t [2001:db8::1]:80 -r [2001:db8::11]:80 -g -w 1",
        "-A -f 1 -s wlc",
        "-a -f 1 -r 192.0.2.11:0 -g -w 1",
        "-A -f 2147483647 -6 -s wlc -p 600",
    ):
        assert line in lines


def test_an_empty_table_has_no_rules() -> None:
    assert rules({}) == ""
