"""The director's effects as log lines, with ldirectord's facts as keys."""

from __future__ import annotations

from lvsd import log
from lvsd.core.director import Director
from lvsd.core.happenings import (
    AllJudged,
    DrainEnded,
    DrainExpired,
    DrainStarted,
    Effect,
    FallbackEntered,
    FallbackLeft,
    HealthChanged,
    MaintenanceEnded,
    MaintenanceStarted,
    RealKey,
    ServiceDown,
    ServiceUp,
    SoftFailure,
)
from lvsd.core.health import Status


def tell(effect: Effect, director: Director, sentence: str = "") -> None:
    """Log one effect; `director` is the state after it, `sentence` ldirectord's words for it."""
    logger = log.get(sentence=sentence) if sentence else log.get()
    match effect:
        case HealthChanged(key, _, Status.UP, reason):
            logger.info("real_up", **_real(key), weight=_weight(director, key), reason=reason)
        case HealthChanged(key, _, _, reason):
            logger.warning("real_down", **_real(key), weight=0, reason=reason)
        case SoftFailure(key, 0, _, reason):
            logger.info("real_steadied", **_real(key), reason=reason)
        case SoftFailure(key, count, fall, reason):
            logger.info("real_failing", **_real(key), failure=f"{count}/{fall}", reason=reason)
        case ServiceUp(virtual):
            logger.info("virtual_up", virtual=str(virtual))
        case ServiceDown(virtual):
            logger.error("virtual_down", virtual=str(virtual))
        case FallbackEntered(virtual, fallback):
            logger.warning("fallback_used", virtual=str(virtual), fallback=str(fallback))
        case FallbackLeft(virtual, fallback):
            logger.info("fallback_retired", virtual=str(virtual), fallback=str(fallback))
        case DrainStarted(key, True, _):
            logger.warning("weight_adopted", **_real(key), weight=0)
        case DrainStarted(key, _, _):
            logger.info("real_drained", **_real(key))
        case DrainExpired(key):
            logger.info("drain_expired", **_real(key))
        case DrainEnded(key, by_hand, removed):
            why = "removed" if removed else "by hand" if by_hand else "operator"
            logger.info("real_undrained", **_real(key), why=why)
        case MaintenanceStarted(key, file):
            logger.warning("maintenance_started", **_real(key), file=file)
        case MaintenanceEnded(key):
            logger.info("maintenance_ended", **_real(key))
        case AllJudged():
            pass  # told as `ready` once the table agrees as well


def _real(key: RealKey) -> dict[str, str]:
    return {"real": str(key.real), "virtual": str(key.virtual)}


def _weight(director: Director, key: RealKey) -> int:
    pool = director.pools.get(key.virtual)
    there = None if pool is None else pool.entry.destinations.get(key.real)
    return 0 if there is None else there.weight
