"""The finer words of a vrrp= block: values, defaults, refusals, and the normal form."""

from ipaddress import ip_address

import pytest

from lvsd.config import ConfigError, render
from lvsd.core.model import PeerTtl, SyncOptions

PAIR = "vrrp=VI_1\n\tinterface=eth0\n\tvirtualrouterid=51\n\taddress=192.168.1.1\n"


def router(load_text, lines, head=PAIR):
    """The router of a block with these lines; its normal form must load back to the same."""
    config = load_text(head + "".join(f"\t{line}\n" for line in lines.split("\n")))
    assert load_text(render(config)) == config
    (found,) = config.routers
    return found


def refusal(load_text, lines, head=PAIR):
    with pytest.raises(ConfigError) as caught:
        load_text(head + "".join(f"\t{line}\n" for line in lines.split("\n")))
    return "; ".join(error.text for error in caught.value.errors)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("downtimeradverts=5", "downtimeradverts", 5),
        ("garpmasterrepeat=2", "garpmasterrepeat", 2),
        ("garpmasterdelay=0.5", "garpmasterdelay", 0.5),
        ("garpmasterrefresh=60", "garpmasterrefresh", 60),
        ("garpmasterrefreshrepeat=2", "garpmasterrefreshrepeat", 2),
        ("garplowerpriorepeat=0", "garplowerpriorepeat", 0),
        ("garplowerpriodelay=0", "garplowerpriodelay", 0),
        ("delayafterboot=60", "delayafterboot", 60),
        ("interfacedowndelay=1.9", "interfacedowndelay", 1.9),
        ("interfaceupdelay=20", "interfaceupdelay", 20),
    ],
)
def test_a_word_sets_its_field_and_survives_the_normal_form(load_text, line, field, value):
    found = router(load_text, line)
    assert getattr(found, field) == value != getattr(router(load_text, "priority=100"), field)


def test_defaults_are_keepaliveds(load_text):
    found = router(load_text, "priority=100")
    assert found.downtimeradverts == 3
    assert (found.garpmasterrepeat, found.garpmasterdelay) == (5, 5)
    assert (found.garpmasterrefresh, found.garpmasterrefreshrepeat) == (0, 1)
    assert (found.garplowerpriorepeat, found.garplowerpriodelay) == (5, 5)


def test_the_answer_to_a_lower_bidder_follows_the_first_announcement(load_text):
    found = router(load_text, "garpmasterrepeat=2\ngarpmasterdelay=1")
    assert (found.garplowerpriorepeat, found.garplowerpriodelay) == (2, 1)
    found = router(load_text, "garpmasterrepeat=2\ngarplowerpriorepeat=5")
    assert (found.garpmasterrepeat, found.garplowerpriorepeat) == (2, 5)


@pytest.mark.parametrize("state", ["master", "backup", "fault", "stop", "masterrxlowerpri"])
def test_a_program_with_arguments_survives_the_normal_form(load_text, state):
    found = router(load_text, f'notify{state}=/etc/lvsd/it "a b" #')
    assert getattr(found, f"notify{state}") == ("/etc/lvsd/it", "a b")


@pytest.mark.parametrize(
    "line",
    [
        "downtimeradverts=0",
        "downtimeradverts=101",
        "garpmasterrepeat=0",
        "garpmasterrefreshrepeat=0",
        "garpmasterdelay=3601",
    ],
)
def test_a_value_out_of_bounds_is_refused(load_text, line):
    assert "must be from" in refusal(load_text, line)


V3 = PAIR + "\tversion=3\n"


@pytest.mark.parametrize("word", ["v3checksumasv2", "lowerprionoadvert"])
def test_a_switch_is_off_unless_it_is_there(load_text, word):
    assert not getattr(router(load_text, "priority=100", V3), word)
    assert getattr(router(load_text, word, V3), word)
    assert not getattr(router(load_text, f"{word}=no", V3), word)


def test_a_last_advert_is_sent_unless_told_otherwise(load_text):
    assert router(load_text, "priority=100").higherpriosendadvert
    assert not router(load_text, "higherpriosendadvert=no").higherpriosendadvert


def test_only_version_3_over_ipv4_has_two_readings_of_the_checksum(load_text):
    assert "one reading" in refusal(load_text, "v3checksumasv2")
    six = V3.replace("192.168.1.1", "2001:db8::1")
    assert "one reading" in refusal(load_text, "v3checksumasv2", six)


UNICAST = PAIR + "\tunicastsrcip=192.168.1.2\n\tpeer=192.168.1.3\n"


def test_unicast_words(load_text):
    found = router(
        load_text, "unicastttl=5\npeer=192.168.1.4 minttl 254\npeer=192.168.1.5", UNICAST
    )
    assert [str(peer) for peer in found.peers] == ["192.168.1.3", "192.168.1.4", "192.168.1.5"]
    assert found.peer_ttls == (PeerTtl(found.peers[1], 254, 255),)
    assert (found.unicastttl, found.checkunicastsrc) == (5, True)
    assert router(load_text, "peer=192.168.1.4 maxttl 3 minttl 1").peer_ttls[0].minimum == 1
    assert not router(load_text, "checkunicastsrc=no", UNICAST).checkunicastsrc


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("unicastttl=0", "must be from 1 to 255"),
        ("peer=192.168.1.4 minttl", "minttl must be from 0 to 255"),
        ("peer=192.168.1.4 minttl 256", "minttl must be from 0 to 255"),
        ("peer=192.168.1.4 minttl 5 maxttl 4", "nothing could be received"),
        ("peer=192.168.1.4 ttl 5", "write peer=ADDRESS minttl N maxttl N, not ttl"),
        ("peer=192.168.1.4 minttl 5 minttl 6", "not minttl"),
        ("peer=192.168.1.4 minttl 5\ncheckunicastsrc=no", "leave one out"),
    ],
)
def test_what_is_wrong_with_unicast_is_said(load_text, lines, expected):
    assert expected in refusal(load_text, lines, UNICAST)


@pytest.mark.parametrize("word", ["unicastttl=5", "checkunicastsrc=no"])
def test_a_word_for_unicast_needs_a_peer(load_text, word):
    assert "there is no peer=" in refusal(load_text, word)


def test_a_list_of_only_ourselves_is_no_wish_for_multicast(load_text):
    lines = "unicastsrcip=192.168.1.2\npeer=192.168.1.2"
    assert "the only peer= is this director itself" in refusal(load_text, lines)


def test_a_dead_link_must_not_outlast_the_peers_patience(load_text):
    assert "must be below 2 s" in refusal(load_text, "interfacedowndelay=2")
    assert router(load_text, "interfacedowndelay=2\nadvertint=2").interfacedowndelay == 2
    assert "below 0 s" in refusal(load_text, "interfacedowndelay=0.1\ndowntimeradverts=1")


def test_a_sync_daemon_takes_keepaliveds_options(load_text):
    found = router(load_text, "syncdaemon=eth1 51 both maxlen 1400 port 9000 ttl 3 group 239.0.0.1")
    assert found.syncdaemon == ("eth1", 51)
    assert found.syncoptions == SyncOptions(True, 1400, 9000, 3, ip_address("239.0.0.1"))
    found = router(load_text, "syncdaemon=eth1 both")
    assert (found.syncdaemon, found.syncoptions) == (("eth1", 0), SyncOptions(both=True))
    assert router(load_text, "syncdaemon=eth1 7").syncoptions == SyncOptions()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("256", "the ID from 0 to 255"),
        ("1 bth", 'did you mean "both"?'),
        ("1 port", "port must be from 1 to 65535, not nothing"),
        ("1 port 0", "port must be from 1 to 65535, not 0"),
        ("1 ttl 256", "ttl must be from 1 to 255"),
        ("1 group 10.0.0.1", "group needs a multicast address"),
        ("1 group", "group needs a multicast address, not nothing"),
        ("1 ttl 1 ttl 2", "it has no ttl behind that"),
    ],
)
def test_what_is_wrong_with_a_sync_daemon_is_said(load_text, options, expected):
    assert expected in refusal(load_text, f"syncdaemon=eth1 {options}")


def test_instances_that_disagree_on_the_options_are_refused(load_text):
    second = PAIR.replace("VI_1", "VI_2").replace("51", "52").replace("168.1.1", "168.1.2")
    head = PAIR + "\tsyncdaemon=eth1 1\n\n" + second
    assert "a director has one sync daemon" in refusal(load_text, "syncdaemon=eth1 1 ttl 2", head)
