"""route= and rule= lines: what is read, what is refused and where, and the normal form."""

from ipaddress import ip_address

import pytest

from lvsd.config import ConfigError, paths, render
from lvsd.core.model import Family, Prefix, RouteKind, RuleAction, VirtualRoute, VirtualRule

PAIR = "vrrp=VI_1\n\tinterface=eth0\n\tvirtualrouterid=51\n\taddress=192.168.1.1\n"
PAIR6 = "vrrp=VI_6\n\tinterface=eth0\n\tvirtualrouterid=51\n\taddress=fd00::1\n"


def prefix(text):
    address, _, length = text.partition("/")
    return Prefix(ip_address(address), int(length or ip_address(address).max_prefixlen))


def loaded(load_text, line, head=PAIR):
    """The only path of a block with this line; its normal form must load back to the same."""
    config = load_text(f"{head}\t{line}\n")
    assert load_text(render(config)) == config
    (found,) = config.routers[0].paths
    return found


def refusal(load_text, *lines, head=PAIR):
    """Column and text of the only error."""
    with pytest.raises(ConfigError) as caught:
        load_text(head + "".join(f"\t{line}\n" for line in lines))
    (error,) = caught.value.errors
    return error.column, error.text


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "default via 192.168.1.254",
            VirtualRoute(prefix("0.0.0.0/0"), via=ip_address("192.168.1.254")),
        ),
        (
            "10.1.0.0/16 via 192.168.1.254 dev eth0 src 192.168.1.1 table 100 metric 7"
            " onlink mtu 1400",
            VirtualRoute(
                prefix("10.1.0.0/16"),
                via=ip_address("192.168.1.254"),
                dev="eth0",
                source=ip_address("192.168.1.1"),
                table=100,
                metric=7,
                onlink=True,
                mtu=1400,
            ),
        ),
        ("src 10.0.0.1 to 10.9.0.0/24 dev eth0", None),
        (
            "10.2.0.7 dev eth0 scope link notrack",
            VirtualRoute(prefix("10.2.0.7"), dev="eth0", scope=253, track=False),
        ),
        ("blackhole 10.0.0.0/8", VirtualRoute(prefix("10.0.0.0/8"), RouteKind.BLACKHOLE)),
        (
            "unreachable fd00::/8 metric 9 table main",
            VirtualRoute(prefix("fd00::/8"), RouteKind.UNREACHABLE, table=254, metric=9),
        ),
        (
            "default via fe80::1 dev eth0",
            VirtualRoute(prefix("::/0"), via=ip_address("fe80::1"), dev="eth0"),
        ),
        ("default dev eth0", VirtualRoute(prefix("0.0.0.0/0"), dev="eth0")),
        ("10.0.0.0/8 via 192.168.1.9 preference 3 no_track", None),
    ],
)
def test_a_route_is_read_in_the_words_of_iproute2(load_text, line, wanted):
    found = loaded(load_text, f"route={line}")
    assert wanted is None or found == wanted


def test_words_in_another_order_or_by_another_name_mean_the_same(load_text):
    one = loaded(load_text, "route=src 10.0.0.1 to 10.9.0.0/24 gw 10.0.0.2 pref 3 no_track")
    other = loaded(load_text, "route=10.9.0.0/24 metric 3 via 10.0.0.2 src 10.0.0.1 notrack")
    assert one == other


def test_a_destination_that_says_no_family_has_the_instances(load_text):
    assert loaded(load_text, "route=default dev eth0", PAIR6).prefix == prefix("::/0")
    assert loaded(load_text, "route=default via 10.0.0.1", PAIR6).prefix == prefix("0.0.0.0/0")
    assert loaded(load_text, "rule=iif eth0 table 7", PAIR6).family is Family.INET6
    assert loaded(load_text, "rule=inet iif eth0 table 7", PAIR6).family is Family.INET


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "from 10.0.0.0/8 table 100",
            VirtualRule(Family.INET, table=100, source=prefix("10.0.0.0/8")),
        ),
        (
            "from fd00::1 iif eth0 oif eth1 fwmark 0x1/0xff tos 0x10 priority 77 lookup main",
            VirtualRule(
                Family.INET6,
                table=254,
                source=prefix("fd00::1"),
                iif="eth0",
                oif="eth1",
                fwmark=1,
                fwmask=0xFF,
                tos=16,
                priority=77,
            ),
        ),
        (
            "not fwmark 9 prohibit notrack",
            VirtualRule(Family.INET, RuleAction.PROHIBIT, invert=True, fwmark=9, track=False),
        ),
        ("from all to 10.0.0.1 unreachable pref 1", None),
    ],
)
def test_a_rule_is_read_in_the_words_of_iproute2(load_text, line, wanted):
    found = loaded(load_text, f"rule={line}")
    assert wanted is None or found == wanted


@pytest.mark.parametrize(
    ("line", "column", "text"),
    [
        ("route=10.0.0.0/8 vai 10.1.1.1", 18, 'did you mean "via"?'),
        ("route=10.0.0.1/8 dev eth0", 7, "has bits set behind its length; write 10.0.0.0/8"),
        ("route=10.0.0.0/8 via fd00::1", 22, "via fd00::1 is of another family"),
        ("route=10.0.0.0/8 via", 18, "via needs a value"),
        ("route=10.0.0.0/8 via x", 22, "x is no address"),
        ("route=via 10.0.0.1", 7, "a route needs a destination"),
        ("route=blackhole 10.0.0.0/8 via 10.0.0.1", 32, "a blackhole route has no via"),
        ("route=10.0.0.0/8 dev eth0 onlink", 27, "there is no via"),
        ("route=fd00::/8 dev eth0 scope link", 31, "an IPv6 route has no scope"),
        ("route=10.0.0.0/8 dev eth0 scope lnk", 33, "lnk is no scope"),
        ("route=10.0.0.0/8 dev eth0 metric -1", 34, "from 0 to 4294967295, not -1"),
        ("route=10.0.0.0/8 dev eth0 mtu 20", 31, "from 68 to 65535"),
        ("route=10.0.0.0/8 table nowhere", 24, "nowhere is no table"),
        ("route=10.0.0.0/8 nexthop via 10.0.0.1", 18, "one route has one via"),
        ("route=10.0.0.0/8 proto static", 18, "the protocol is always 18"),
        ("route=10.0.0.0/8 10.1.0.0/16", 18, "10.1.0.0/16 is not supported in route="),
        ("route=10.0.0.0/8 dev eth0 dev eth1", 27, "dev is given twice"),
        ("route=10.0.0.0/8 dev eth0:1", 22, "an address label"),
        ("rule=from 10.0.0.0/8", 6, "a rule needs table N"),
        ("rule=from 10.0.0.0/8 table 5 blackhole", 30, "a rule does one thing"),
        ("rule=from 10.0.0.0/8 goto 5", 22, "goto is not supported in rule=; known are not, from"),
        ("rule=fwmark 1/x table 5", 15, "mask must be a number"),
        ("rule=tos 3 table 5", 10, "the two lowest bits"),
        ("rule=not from 10.0.0.0/8 to fd00::/8 table 5", 29, "IPv4 and IPv6 in one rule"),
        ("rule=from 10.0.0.0/8 priority 0 table 5", 31, "from 1 to 4294967295"),
    ],
)
def test_an_error_names_the_word_and_its_column(load_text, line, column, text):
    found, told = refusal(load_text, line)
    assert text in told
    assert found == column + 1  # the TAB


def test_the_same_object_twice_is_an_error_that_names_the_other_line(load_text):
    found = refusal(load_text, "route=10.0.0.0/8 dev eth0", "route=10.0.0.0/8 via 10.9.9.9")
    assert found == (8, "the same destination, table and metric as on line 5")
    found = refusal(load_text, "rule=to 10.0.0.1 table 5", "rule=to 10.0.0.1/32 table 5 notrack")
    assert found == (7, "the same rule as on line 5")


def test_a_table_may_have_a_name_of_iproute2(load_text, tmp_path, monkeypatch):
    (tmp_path / "rt_tables").write_text("# names\n200 isp2\n0x1F hex\n255\tlocal\nbad\n")
    monkeypatch.setattr(paths, "TABLE_FILES", (str(tmp_path / "rt_*"), "/nonexistent"))
    assert loaded(load_text, "route=10.0.0.0/8 dev eth0 table isp2").table == 200
    assert loaded(load_text, "rule=to 10.0.0.1 table hex").table == 31
    _, told = refusal(load_text, "route=10.0.0.0/8 dev eth0 table isp3")
    assert 'did you mean "isp2"?' in told


def test_the_interface_of_a_route_is_tracked_unless_it_says_otherwise(load_text):
    def tracks(*lines):
        config = load_text(PAIR + "".join(f"\t{line}\n" for line in lines))
        assert load_text(render(config)) == config
        return [(track.name, track.weight) for track in config.routers[0].tracks]

    over = "route=10.0.0.0/8 dev eth1"
    assert tracks(over, "route=10.0.0.0/9 dev eth1") == [("eth1", 0)]
    assert tracks(over + " notrack", "route=10.0.0.0/9 dev eth0", "rule=iif eth1 table 5") == []
    assert tracks(over, "track=interface eth1 weight -20") == [("eth1", -20)]


def test_an_interface_that_is_missing_is_a_warning(load_text):
    text = PAIR + "\troute=10.0.0.0/8 dev eth9\n\trule=iif eth8 table 5\n"
    warned = [w for w in load_text(text).warnings if "no interface" in w]
    assert [w.split(":")[1:3] for w in warned] == [["5", "23"], ["6", "11"]]
