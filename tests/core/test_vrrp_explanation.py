"""What status says of a router beside its state."""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.model import Track, TrackKind
from lvsd.core.packet import Reason
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    ChecksumReadingDiffers,
    ChildLost,
    Reconfigured,
    Startup,
    TrackChanged,
    checksum_advice,
    checksum_reading,
    notes,
    priority_parts,
)

from .vrrp_world import HIGH, LOW, OWN, VIP, VIP2, Bench, advert, backup, master

TRACKS = (
    Track(TrackKind.SCRIPT, "chk", -20),
    Track(TrackKind.INTERFACE, "eth1", 5),
    Track(TrackKind.FILE, "load", 2),
    Track(TrackKind.PROCESS, "web"),
)


def test_the_parts_of_a_priority_are_named() -> None:
    bench = Bench(tracks=TRACKS)
    assert priority_parts(bench.vr)[1:] == (
        "script chk +0 (not judged yet)",
        "interface eth1 +0 (not judged yet)",
        "file load +0 (not judged yet)",
    )
    bench.do(TrackChanged(TRACKS[0], False))
    bench.do(TrackChanged(TRACKS[1], True))
    bench.do(TrackChanged(TRACKS[2], False, 7))
    bench.do(Startup())

    assert priority_parts(bench.vr) == (
        "base 100",
        "script chk -20 (down)",
        "interface eth1 +5 (up)",
        "file load +14 (holds 7)",
    )


def test_limits_and_a_lost_child_are_named_and_a_plain_priority_is_not() -> None:
    bench = Bench(tracks=TRACKS[2:3])
    bench.do(TrackChanged(TRACKS[2], False, 100))
    assert priority_parts(bench.vr)[-1] == "kept within 1 to 254: 254"
    bench.do(ChildLost(True))
    assert priority_parts(bench.vr) == ("base 100", "1 while the director process is lost")
    assert priority_parts(backup().vr) == priority_parts(Bench(priority=255).vr) == ()
    assert priority_parts(Bench(priority=255, tracks=TRACKS).vr) == ()


def test_the_last_advert_is_remembered() -> None:
    bench = backup()
    bench.do(advert(200), 1.0)
    bench.do(advert(50, LOW), 2.5)

    assert (bench.vr.heard_from, bench.vr.advert_at) == (LOW, 2.5)


def test_silence_is_noted_once_it_lasts() -> None:
    for changes, where in (({}, "interface eth0"), ({"peers": (HIGH, OWN)}, "the peers")):
        bench = master(lease=False, **changes)
        assert notes(bench.vr) == ()
        while bench.vr.counters["adverts_sent"] < 10:
            bench.deadline()
        (note,) = notes(bench.vr)
        assert note == f"sent 10 adverts, heard 0 since the start: nobody else on {where}"
        bench.do(advert(50))
        assert notes(bench.vr) == ()


def test_dropped_adverts_are_noted_by_reason() -> None:
    bench = backup()
    for reason in (Reason.TTL, Reason.CHECKSUM, Reason.TTL):
        bench.do(AdvertRejected(reason))

    assert notes(bench.vr) == ("adverts dropped: ttl 2, checksum 1",)


def test_other_addresses_are_noted_until_the_lists_agree() -> None:
    bench = backup()
    bench.do(advert(200, addresses=(VIP, VIP2)))
    assert notes(bench.vr) == (f"{HIGH} advertises other addresses: {VIP}, {VIP2}",)
    bench.do(advert(200))
    assert (notes(bench.vr), bench.vr.theirs) == ((), ())


def test_another_interval_is_noted_while_the_sender_is_the_master() -> None:
    bench = backup(version=3)
    bench.do(advert(200, interval=0.5, version=3), 1.0)
    assert notes(bench.vr) == (f"{HIGH} advertises every 0.5 s, this router would every 1 s",)
    bench.do(advert(200, version=3), 1.5)
    assert notes(bench.vr) == ()


def test_the_other_reading_of_the_checksum_is_noted() -> None:
    for ours in (True, False):
        bench = backup(version=3, v3checksumasv2=not ours)
        assert checksum_reading(bench.vr) == ""
        for theirs in (True, False):
            event = advert(200, version=3)
            bench.do(AdvertReceived(HIGH, replace(event.advert, pseudo_header=theirs)))
            reading = "with pseudo-header" if theirs else "without pseudo-header"
            assert checksum_reading(bench.vr) == reading
            assert any(reading in note for note in notes(bench.vr)) is (theirs is not ours)
    assert checksum_reading(backup().vr) == ""


def reads(bench: Bench, pseudo_header: bool):
    """The effects of an advert whose checksum is made that way."""
    event = advert(200, version=3)
    return bench.do(AdvertReceived(HIGH, replace(event.advert, pseudo_header=pseudo_header)))


def test_a_peer_that_begins_to_read_the_checksum_otherwise_is_told_once() -> None:
    for ours in (True, False):
        bench = backup(version=3, v3checksumasv2=not ours)
        told = (ChecksumReadingDiffers(HIGH, not ours),)

        assert reads(bench, ours) == ()
        assert reads(bench, not ours) == told
        assert reads(bench, not ours) == ()
        assert reads(bench, ours) == ()
        assert reads(bench, not ours) == told


def test_the_reading_is_compared_anew_when_ours_changes() -> None:
    bench = backup(version=3)
    reads(bench, True)
    bench.do(Reconfigured(replace(bench.vr.config, v3checksumasv2=True)))

    assert reads(bench, True) == (ChecksumReadingDiffers(HIGH, True),)


def test_the_checksum_of_version_2_has_one_reading() -> None:
    assert backup().do(advert(200)) == ()


def test_the_advice_names_the_word_that_aligns_us() -> None:
    assert checksum_advice(True) == (
        "sends checksums with pseudo-header; v3checksumasv2=no would do so too"
    )
    assert checksum_advice(False).endswith("v3checksumasv2=yes would do so too")


def test_a_missing_interface_is_named_as_such() -> None:
    eth1 = Track(TrackKind.INTERFACE, "eth1", -5)
    bench = backup(tracks=(eth1,))
    bench.do(TrackChanged(eth1, False, exists=False))

    assert priority_parts(bench.vr)[1] == "interface eth1 -5 (does not exist)"
