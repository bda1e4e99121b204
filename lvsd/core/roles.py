"""What hangs on the routers' roles: which services a standby holds, sync threads, settings.

Both directors hold the whole table, so that a takeover needs no table work (design rule 7). The
exception is a service with a destination that is this director or its peer: two tables would send
its packets to and fro. Such a service is in the master's table only, or, where a sync daemon runs,
in both with `backup_only` set, which keeps the kernel of a sync backup from forwarding.
`standbytable=no` treats every service with a VIP of ours that way, which is heartbeat's picture.

Roles are router names with their state. None means that nobody has told them yet: a director that
was restarted must not take its services away before it knows.
"""

from __future__ import annotations

from collections.abc import Mapping

from .model import (
    Config,
    IPAddress,
    RouterConfig,
    ServiceFlag,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Virtual,
)

Roles = Mapping[str, str] | None
#: The state of a router that owns its VIPs, as main spells it.
MASTER = "master"

EXPIRE_QUIESCENT_TEMPLATE = "net.ipv4.vs.expire_quiescent_template"
BACKUP_ONLY = "net.ipv4.vs.backup_only"
SYNC_THRESHOLD = "net.ipv4.vs.sync_threshold"
#: Threshold and period in packets. The kernel's own 3 50 leaves out connections that are open but
#: quiet; the second packet of a client establishes the connection, so it is sent from then on.
SYNC_FROM_ESTABLISHED = "2 50"


def owners(config: Config, virtual: Virtual) -> tuple[RouterConfig, ...]:
    """The routers that hold the address of a virtual; for a firewall mark, which has none, all."""
    address = virtual.key.address
    if address is None:
        return config.routers
    return tuple(
        router
        for router in config.routers
        if any(vip.address == address for vip in (*router.addresses, *router.excluded))
    )


def loops(config: Config, virtual: Virtual, local: frozenset[IPAddress]) -> bool:
    """True when a destination is this director or its peer, so that two tables would ping-pong.

    Loopback addresses don't count: no peer can send there.
    """
    fallback = () if virtual.fallback is None else (virtual.fallback,)
    directors = local.union(*(router.peers for router in config.routers))
    return any(
        server.key.address in directors and not server.key.address.is_loopback
        for server in (*virtual.reals, *fallback)
    )


def bound(config: Config, local: frozenset[IPAddress]) -> dict[ServiceKey, frozenset[str]]:
    """The services that only a master holds, with the names of the routers that decide."""
    places: dict[ServiceKey, frozenset[str]] = {}
    for virtual in config.virtuals if config.routers else ():
        routers = owners(config, virtual)
        synced = any(map(_follows, routers))
        free = config.standbytable and (synced or not loops(config, virtual, local))
        if routers and not free:
            places[virtual.key] = frozenset(router.name for router in routers)
    return places


def serves(routers: frozenset[str], roles: Roles, found: bool) -> bool:
    """Whether a bound service belongs in the table; as `found` while the roles are unknown."""
    if roles is None:
        return found
    return any(roles.get(name) == MASTER for name in routers)


def sync_daemons(config: Config, roles: Roles) -> tuple[SyncDaemon, ...] | None:
    """The synchronisation threads to run: master where a router is master, backup otherwise.

    Instances of opposite roles run both threads. None while the roles are unknown.
    """
    routers = [router for router in config.routers if router.syncdaemon is not None]
    if not routers:
        return ()
    if roles is None:
        return None
    wanted: dict[SyncRole, SyncDaemon] = {}
    for router in routers:
        role = SyncRole.MASTER if roles.get(router.name) == MASTER else SyncRole.BACKUP
        for one in SyncRole if router.syncoptions.both else (role,):
            wanted.setdefault(one, _thread(router, one))
    return tuple(wanted[role] for role in sorted(wanted))


def _thread(router: RouterConfig, role: SyncRole) -> SyncDaemon:
    assert router.syncdaemon is not None
    options = router.syncoptions
    return SyncDaemon(
        role, *router.syncdaemon, options.port, options.ttl, options.group, options.maxlen
    )


def _follows(router: RouterConfig) -> bool:
    """Whether a sync daemon tells a standby from a master: with both threads `backup_only` would
    keep the master from forwarding too.
    """
    return router.syncdaemon is not None and not router.syncoptions.both


def sysctls(config: Config, local: frozenset[IPAddress]) -> dict[str, str]:
    """The kernel settings a configuration needs, by their dotted names (design rules 7 to 9)."""
    wanted: dict[str, str] = {}
    if any(v.quiescent and v.service.flags & ServiceFlag.PERSISTENT for v in config.virtuals):
        wanted[EXPIRE_QUIESCENT_TEMPLATE] = "1"
    if any(router.syncdaemon for router in config.routers):
        wanted[SYNC_THRESHOLD] = SYNC_FROM_ESTABLISHED
        if any(_loops_under_sync(config, virtual, local) for virtual in config.virtuals):
            wanted[BACKUP_ONLY] = "1"
    return wanted


def _loops_under_sync(config: Config, virtual: Virtual, local: frozenset[IPAddress]) -> bool:
    synced = any(map(_follows, owners(config, virtual)))
    return synced and loops(config, virtual, local)
