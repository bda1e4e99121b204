"""What the rules of the RFCs are tried on: routers of one version, adverts and octets."""

from __future__ import annotations

from ipaddress import ip_address

from lvsd.core.model import IPAddress, Track, TrackKind
from lvsd.core.packet import Advertisement, encode
from lvsd.core.vrrp import (
    AdvertReceived,
    Startup,
    TrackChanged,
    VipsBound,
    effective_priority,
    next_deadline,
    receive,
)

from .vrrp_world import HIGH, OWN, VIP, Bench, advert, backup, kinds, master

GROUP = ip_address("224.0.0.18")
MAC = bytes.fromhex("020000000001")


class RuleBench:
    """A router, its neighbour's adverts and messages, in the version of the RFC."""

    version: int

    def heard(self, priority: int, source=HIGH, interval: float = 1.0) -> AdvertReceived:
        """An advert of this version."""
        return advert(priority, source, interval, version=self.version)

    def backup(self, **changes) -> Bench:
        """A BACKUP of this version."""
        return backup(version=self.version, **changes)

    def master(self, **changes) -> Bench:
        """A MASTER of this version; an owner is one at once."""
        if changes.get("priority") == 255:
            bench = Bench(version=self.version, **changes)
            bench.do(Startup())
            bench.do(VipsBound())
            return bench
        return master(version=self.version, **changes)

    def on_the_wire(self, message: bytes, source=HIGH, ttl: int = 255, **changes):
        """What a router makes of a message."""
        vr = Bench(version=self.version, **changes).vr
        return receive(vr, message, source=source, destination=GROUP, ttl=ttl)

    def message(self, **changes) -> bytes:
        """A good message."""
        fields = {"version": self.version, "vrid": 51, "priority": 100, "interval": 1.0}
        return encode(Advertisement(**{**fields, "addresses": (VIP,), **changes}), HIGH, GROUP)

    def is_heard_from_a_peer_with_ttl(self, ttl: int) -> bool:
        """Whether a unicast advert is received; it may have passed routers."""
        message = encode(Advertisement(self.version, 51, 100, 1.0, (VIP,)), HIGH, OWN)
        vr = Bench(version=self.version, peers=(HIGH,)).vr
        seen = receive(vr, message, source=HIGH, destination=OWN, ttl=ttl)
        return isinstance(seen, AdvertReceived)

    def priorities(self, base: int) -> set[int]:
        """What a router advertises while objects that weigh much come and go."""
        tracks = tuple(Track(TrackKind.INTERFACE, f"eth{w}", w) for w in (-253, 253))
        bench, found = self.backup(priority=base, tracks=tracks), set()
        for track in tracks:
            for up in (True, False):
                bench.do(TrackChanged(track, up))
                found.add(effective_priority(bench.vr))
        return found

    def hears_another_list(self, addresses: tuple[IPAddress, ...]) -> tuple[list[str], float]:
        """What a router says of an advert with other addresses, and for how long it waits then."""
        bench = self.backup()
        other = Advertisement(self.version, 51, 200, 1.0, addresses)

        effects = bench.do(AdvertReceived(HIGH, other), 2.0)

        at = next_deadline(bench.vr)
        assert at is not None
        return kinds(effects), at - bench.now
