"""vrrp= and script= blocks."""

from ipaddress import ip_address

import pytest

from lvsd.config import ConfigError, render
from lvsd.core.model import Family, Identity, Track, TrackKind, Vip

HEAD = "vrrp=VI_1\n\tinterface=eth0\n\tvirtualrouterid=51\n"
ADDRESS = "\taddress=192.168.1.1\n"
PAIR = HEAD + ADDRESS


def errors(load_text, text):
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    return caught.value.errors


def router(load_text, text):
    (found,) = load_text(text).routers
    return found


FULL = """\
script=chk_disk
	command=/usr/bin/test -w "/srv/a b"
	interval=2.5
	rise=2
	fall=3
	user=nobody daemon

vrrp=VI_1
	interface=eth0
	virtualrouterid=51
	priority=dir1:150,dir2:100
	advertint=1
	address=192.168.1.1/24 dev eth1 label eth1:vip scope link
	excludedaddress=2001:db8::9
	authpass=1111
	version=2
	peer=192.168.1.2
	peer=192.168.1.3
	unicastsrcip=192.168.1.2
	nopreempt
	preemptdelay=5
	startupdelay=10
	lease=no
	syncgroup=G1
	syncdaemon=eth1 51
	track=interface eth1
	track=script chk_disk weight -20
	track=virtual 192.168.1.1:http weight -40
	notify=/etc/lvsd/notify now

virtual=192.168.1.1:http
	real=127.0.0.2:80 gate
	quiescent=yes
"""


def test_every_word_of_a_vrrp_block(load_text):
    config = load_text(FULL)
    (found,) = config.routers
    assert found.addresses == (Vip(ip_address("192.168.1.1"), 24, "eth1", "eth1:vip", 253),)
    assert found.excluded == (Vip(ip_address("2001:db8::9"), 128),)
    assert (found.interface, found.vrid, found.priority, found.version) == ("eth0", 51, 150, 2)
    assert found.authpass == b"1111"
    assert found.source == ip_address("192.168.1.2")
    assert found.peers == (ip_address("192.168.1.3"),)
    assert (found.preempt, found.preemptdelay, found.startupdelay) == (False, 5, 10)
    assert (found.lease, found.syncgroup, found.syncdaemon) == (False, "G1", ("eth1", 51))
    assert found.tracks == (
        Track(TrackKind.INTERFACE, "eth1"),
        Track(TrackKind.SCRIPT, "chk_disk", -20),
        Track(TrackKind.VIRTUAL, "192.168.1.1:80", -40),
    )
    assert found.notify == ("/etc/lvsd/notify", "now")
    assert found.has_services
    (script,) = config.scripts
    assert script.command == ("/usr/bin/test", "-w", "/srv/a b")
    assert (script.interval, script.timeout, script.rise, script.fall) == (2.5, 2.5, 2, 3)
    assert script.user == Identity("nobody", "daemon")


def test_the_least_block_has_the_defaults_of_the_rfc(load_text):
    found = router(load_text, PAIR)
    assert (found.priority, found.version, found.advertint) == (100, 2, 1)
    assert found.preempt
    assert found.lease
    assert not found.has_services
    assert found.addresses[0].prefixlen == 32


def test_ipv6_means_version_3(load_text):
    found = router(load_text, HEAD + "\taddress=2001:db8::1\n\tadvertint=0.25\n")
    assert (found.version, found.family, found.advertint) == (3, Family.INET6, 0.25)
    assert found.addresses[0].prefixlen == 128


def test_values_per_node(load_text):
    text = HEAD.replace("eth0", "dir1:eth0,dir2:eth1") + ADDRESS
    text += "\tpriority=dir1:150,dir2:100\n\tmcastsrcip=dir1:192.168.1.2, dir2:192.168.1.3\n"
    one, two = (load_text(text, node=node).routers[0] for node in ("dir1", "dir2"))
    assert (one.interface, one.priority, str(one.source)) == ("eth0", 150, "192.168.1.2")
    assert (two.interface, two.priority, str(two.source)) == ("eth1", 100, "192.168.1.3")
    with pytest.raises(ConfigError) as caught:
        load_text(text, node="dir3")
    assert len(caught.value.errors) == 3
    assert "no value for this node, dir3 (there are dir1, dir2)" in caught.value.errors[0].text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("virtualrouterid=0", "must be from 1 to 255"),
        ("virtualrouterid=256", "must be from 1 to 255"),
        ("virtualrouterid=51a", "needs a whole number"),
        ("priority=0", "must be from 1 to 255"),
        ("priority=256", "must be from 1 to 255"),
        ("advertint=0", "must be from 0.01 to 255"),
        ("advertint=256", "must be from 0.01 to 255"),
        ("advertint=0.5", "version 2 advertises in whole seconds, not 0.5; add version=3"),
        ("version=3\n\tadvertint=41", "0.01 to 40.95 seconds in version 3"),
        ("version=3\n\tadvertint=0.005", "0.01"),
        ("version=3\n\tadvertint=0.125", "hundredths"),
        ("version=3\n\tauthpass=1111", "version 3 has no authentication"),
        ("version=4", "must be from 2 to 3"),
        ("authpass=123456789", "9 characters, VRRP carries 8"),
        ("authtype=AH", "not supported"),
        ("address=2001:db8::1", "write excludedaddress=2001:db8::1"),
        ("address=192.168.1.300", "is no address"),
        ("address=/24", "is no address"),
        ("address=192.168.1.2/33", "/33 is no length"),
        ("address=192.168.1.2 devv eth0", 'did you mean "dev"?'),
        ("address=192.168.1.2 dev", "dev has no value"),
        ("address=192.168.1.1", "listed twice"),
        ("address=224.0.0.18", "no address that a host can hold"),
        ("excludedaddress=::", "no address that a host can hold"),
        ("peer=2001:db8::2", "does not fit: this instance is IPv4"),
        ("peer=dir2", "peer needs an address"),
        ("peer=192.168.1.1", "is a virtual address"),
        ("mcastsrcip=::1", "does not fit"),
        ("interface=eth0:0", "is an address label, not an interface; write eth0"),
        ("syncdaemon=ens33:0 1", "is an address label, not an interface; write ens33"),
        ("syncdaemon=eth0 256", "from 0 to 255"),
        ("track=virtual 192.168.1.1:80 weight -40", "there is no virtual=192.168.1.1:80"),
        ("track=script chk", "there is no script=chk block"),
        ("track=interfaces eth0", 'did you mean "interface"?'),
        ("track=interface eth0 weight 300", "from -253 to 253"),
        ("track=interface", "write track=interface NAME"),
        ("notify=notify", "its whole path"),
        ("notify=/a 'b", "no closing quotation"),
        ("virtual_router_id=51", 'did you mean "virtualrouterid"?'),
        ("advert_int=1", 'did you mean "advertint"?'),
        ("real=192.168.1.4:80 gate", "belongs in a virtual= block, not in a vrrp= block"),
        ("lease=maybe", "must be yes or no"),
    ],
)
def test_members_that_are_refused(load_text, line, expected):
    found = [d.text for d in errors(load_text, f"{PAIR}\t{line}\n")]
    assert any(expected in text for text in found), found


def many(form, count):
    return HEAD + "".join(f"\taddress={form.format(n)}\n" for n in range(1, count + 1))


def test_an_advert_holds_255_addresses_and_no_more(load_text):
    assert len(router(load_text, many("10.0.0.{}", 254) + "\taddress=10.1.0.1\n").addresses) == 255
    (error,) = errors(
        load_text, many("10.0.0.{}", 254) + "\taddress=10.1.0.1\n\taddress=10.1.0.2\n"
    )
    assert "holds 255 addresses, not 256; write the others as excludedaddress=" in error.text
    assert error.line == 259


def test_adverts_larger_than_a_frame_are_a_warning(load_text):
    assert load_text(many("2001:db8::{}", 90)).warnings == ()
    (warning,) = load_text(many("2001:db8::{}", 91)).warnings
    assert "91 addresses do not fit into one Ethernet frame" in warning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vrrp=a\n\tvirtualrouterid=1\n\taddress=1.2.3.4\n", "has no interface="),
        ("vrrp=a\n\tinterface=lo\n\taddress=1.2.3.4\n", "has no virtualrouterid="),
        (HEAD, "has no address="),
        (HEAD + "\tversion=2\n\taddress=::2\n", "IPv6 needs version=3"),
        ("script=a\n\tinterval=1\n", "has no command="),
        ("vrrp=a b\n\tinterface=lo\n", "a name has no blanks"),
        ("vrrp=\n", "has no value"),
    ],
)
def test_blocks_that_are_refused(load_text, text, expected):
    assert any(expected in d.text for d in errors(load_text, text))


def test_a_vrid_used_twice_is_reported_at_both_places(load_text):
    found = errors(load_text, PAIR + "\n" + PAIR.replace("VI_1", "VI_2"))
    assert [(d.line, d.column) for d in found] == [(3, 18), (8, 18)]
    assert "also by vrrp=VI_1 (line 3)" in found[1].text


def test_one_vrid_serves_both_families(load_text):
    six = HEAD.replace("VI_1", "VI_2") + "\taddress=2001:db8::1\n"
    assert len(load_text(PAIR + "\n" + six).routers) == 2


def test_a_name_used_twice_is_an_error(load_text):
    found = errors(load_text, PAIR + "\n" + PAIR.replace("51", "52"))
    assert [d.text for d in found] == ["vrrp instance VI_1 was defined on line 1 already"]


def test_instances_that_disagree_about_the_sync_daemon_are_an_error(load_text):
    other = PAIR.replace("VI_1", "VI_2").replace("51", "52") + "\tsyncdaemon=eth1 2\n"
    (found,) = errors(load_text, PAIR + "\tsyncdaemon=eth1 1\n\n" + other)
    assert "vrrp=VI_1 says otherwise on line 5" in found.text


def test_a_tracked_virtual_must_carry_a_weight(load_text):
    text = f"{PAIR}\ttrack=virtual 1.2.3.4:80\nvirtual=1.2.3.4:80\n"
    assert "needs a weight" in errors(load_text, text)[0].text


def test_an_interface_that_does_not_exist_is_a_warning_with_the_nearest(load_text):
    config = load_text(PAIR.replace("eth0", "eht0"))
    assert any('eht0 on this machine yet; did you mean "eth0"?' in w for w in config.warnings)


def test_authtype_is_accepted_with_a_hint(load_text):
    config = load_text(PAIR + "\tauthtype=PASS\n\tauthpass=1111\n")
    assert any("authtype is not needed" in w for w in config.warnings)


def test_a_script_nobody_tracks_is_a_warning(load_text):
    config = load_text("script=a\n\tcommand=/bin/true\n")
    assert any("no vrrp= block tracks this script" in w for w in config.warnings)


def test_programs_run_as_the_global_scriptuser_unless_told_otherwise(load_text):
    text = "scriptuser=nobody daemon\n\nscript=a\n\tcommand=/bin/true\n\n"
    text += "script=b\n\tcommand=/bin/true\n\tuser=root\n\n" + PAIR + "\ttrack=script a\n"
    text += "\ttrack=script b\n\n" + PAIR.replace("=VI_1", "=VI_2").replace("=51", "=52")
    config = load_text(text + "\tscriptuser=daemon\n")
    nobody = Identity("nobody", "daemon")

    assert [script.user for script in config.scripts] == [nobody, Identity("root")]
    assert [found.scriptuser for found in config.routers] == [nobody, Identity("daemon")]
    again = load_text(render(config))
    assert (again.routers, again.scripts) == (config.routers, config.scripts)


@pytest.mark.parametrize(
    ("value", "column", "expected"),
    [
        ("nobody-there", 13, 'there is no user "nobody-there" on this machine'),
        ("nobody  none-there", 21, 'there is no group "none-there" on this machine'),
        ("a b c", 13, "write scriptuser=USER or scriptuser=USER GROUP"),
    ],
)
def test_users_and_groups_that_are_not_there_are_errors_with_their_place(
    load_text, value, column, expected
):
    (error,) = errors(load_text, PAIR + f"\tscriptuser={value}\n")
    assert str(error) == f"t.conf:5:{column}: error: {expected}"
