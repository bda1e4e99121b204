"""The arithmetic of patience: skew, master-down interval, lease. All in seconds."""

from __future__ import annotations

import math

from lvsd.core.model import RouterConfig

#: Adverts that may be missed before a BACKUP acts, unless `downtimeradverts=` says otherwise.
DOWN_TIMER_ADVERTS = 3
#: Seconds between two bursts of announcements against lower bidders, at least.
BURST_INTERVAL = 1.0
#: How long a router with services waits for the child's word at most (design rule 3).
STARTUP_DELAY = 30.0
#: An orderly stop waits this long after the new master's advert for its announcement.
RELIEF_DELAY = 0.1
#: A MASTER yields when this much of the lease is left unrefreshed.
LEASE_MARGIN = 0.5
#: The time a refresh that was asked for late gets to be confirmed.
LEASE_GRACE = 0.25
#: Leases are renewed about once a second; earlier when waiting for the next advert would leave less
#: than this much of the lease.
REFRESH_INTERVAL = 1.0
REFRESH_SLACK = 0.75
#: Refusals in a row after which a router stops advertising what it cannot hold.
VIP_FAILURES = 3
#: Seconds a new MASTER waits for the kernel's word on its VIPs before it counts as refused.
BIND_TIMEOUT = 3.0
#: First and longest pause before it tries again; doubled each time.
RETRY_DELAY = 10.0
RETRY_DELAY_MAX = 300.0


def skew_time(version: int, priority: int, interval: float) -> float:
    """Seconds a BACKUP adds to its patience; a higher priority waits less.

    Independent of the interval in version 2 (RFC 3768 §6.1), scaled by the *master's* advertised
    interval in version 3 (RFC 5798 §6.1).
    """
    return (256 - priority) / 256 * (1.0 if version == 2 else interval)


def master_down_interval(
    version: int, priority: int, interval: float, adverts: int = DOWN_TIMER_ADVERTS
) -> float:
    """Seconds without an advert after which a BACKUP takes over (RFC 3768, RFC 5798 §6.1).

    `adverts` is 3 in the RFCs; `downtimeradverts=` may say otherwise.
    """
    return adverts * interval + skew_time(version, priority, interval)


def lease_seconds(config: RouterConfig) -> int | None:
    """The `valid_lft` of the VIPs, whole seconds; None when the operator wants none.

    The largest lease with lease + 1 ≤ downtimeradverts × advertint, so that the kernel (late by up
    to a second) has removed the VIP of a dead node before its peer's patience ends; at least 2.
    """
    if not config.lease:
        return None
    return max(2, math.floor(config.downtimeradverts * config.advertint + 1e-9) - 1)


def relief_timeout(config: RouterConfig) -> float:
    """Seconds an orderly stop serves when nobody takes over: the longest possible skew."""
    return 1.0 if config.version == 2 else config.advertint
