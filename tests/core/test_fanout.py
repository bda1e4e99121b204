"""Which reals hang on which check: followed from one configuration to the next, as made anew."""

from __future__ import annotations

import random
from ipaddress import ip_address

from lvsd.core.director import Director, step
from lvsd.core.fanout import followed, present, waiting
from lvsd.core.happenings import CheckFinished, ChecksFinished, ConfigLoaded, RealKey
from lvsd.core.model import (
    Check,
    CheckKind,
    Config,
    DestinationKey,
    Family,
    Forwarding,
    Protocol,
    RealServer,
    ServiceKey,
    Virtual,
    VirtualService,
)


def virtual(service: int, *reals: int) -> Virtual:
    """A service; its reals, by number, are asked at their own address whatever the service."""
    key = ServiceKey(Family.INET, Protocol.TCP, ip_address("192.0.2.1"), service)
    servers = []
    for number in reals:
        address = ip_address("198.51.100.0") + number
        check = Check(CheckKind.CONNECT, address, 80)
        servers.append(RealServer(DestinationKey(address, 80), Forwarding.ROUTE, 1, check))
    return Virtual(VirtualService(key, "rr"), tuple(servers))


def anew(config: Config) -> dict[Check, set[RealKey]]:
    made: dict[Check, set[RealKey]] = {}
    for each in config.virtuals:
        for real in each.reals:
            made.setdefault(real.check, set()).add(RealKey(each.key, real.key))
    return made


def test_what_is_followed_is_what_would_be_made_anew() -> None:
    dice = random.Random(5)
    pool = [virtual(port, *dice.sample(range(1, 9), 3)) for port in (80, 80, 81, 81, 82, 83, 84)]
    config, fanout = Config(), followed({}, Config(), Config())
    for _ in range(300):
        chosen = {each.key: each for each in dice.sample(pool, dice.randint(0, 7))}
        new = Config(virtuals=tuple(chosen.values()))
        fanout, config = followed(fanout, config, new), new
        assert {check: {*keys} for check, keys in fanout.items()} == anew(config)
        assert all(len({*keys}) == len(keys) for keys in fanout.values())


def test_what_hangs_on_an_unchanged_virtual_is_not_touched() -> None:
    quiet, old, new = virtual(80, 1, 2), virtual(81, 2, 3), virtual(81, 3, 4)
    before = Config(virtuals=(quiet, old))
    fanout = followed({}, Config(), before)
    after = followed(fanout, before, Config(virtuals=(quiet, new)))
    check = quiet.reals[0].check
    assert after[check] is fanout[check]


def test_only_reals_that_are_configured_are_present() -> None:
    config = Config(virtuals=(virtual(80, 1, 2), virtual(81, 1)))
    there, elsewhere = virtual(80, 2), virtual(82, 2)
    named = {RealKey(each.key, each.reals[0].key) for each in (there, elsewhere)}
    named.add(RealKey(there.key, virtual(80, 3).reals[0].key))
    assert present(config, named) == {RealKey(there.key, there.reals[0].key)}


def test_who_has_not_been_judged_waits_for_checks() -> None:
    """Also where another service knows the answer."""
    one, other = virtual(80, 1, 2), virtual(81, 1, 3)
    director, _ = step(Director(), ConfigLoaded(Config(virtuals=(one,)), {}), 0.0)
    asked = [real.check for real in one.reals]
    assert waiting(director) == {*asked}
    passes = tuple(CheckFinished(check, True, "") for check in asked)
    director, _ = step(director, ChecksFinished(passes), 1.0)
    assert waiting(director) == set()
    director, _ = step(director, ConfigLoaded(Config(virtuals=(one, other)), {}), 2.0)
    assert waiting(director) == {real.check for real in other.reals}
