"""What follows a change besides the table: log lines, mails, commands.

The director's effects come here once each. Nothing here is awaited by anybody: a mail server that
hangs or a program that loops delays its own kind only. Commands of one service run one after the
other; of those that wait only the newest counts, for an old state is no news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from lvsd import log
from lvsd.core.director import Director
from lvsd.core.happenings import (
    AllJudged,
    ChecksFinished,
    Effect,
    Event,
    RealKey,
    ServiceDown,
    ServiceUp,
)
from lvsd.core.model import Config, Moment, ServiceKey, Virtual
from lvsd.core.sentences import Sentence, reloaded, sentence, stopped
from lvsd.daemon.mail import News, Postman
from lvsd.daemon.monitor import MonitorFiles
from lvsd.daemon.telling import tell
from lvsd.program import Refused, run

#: Seconds a command may take.
COMMAND_TIME_LIMIT = 30.0


@dataclass(slots=True)
class _Outage:
    """A server that mails were sent about and that is still away; `interval` in seconds."""

    virtual: Virtual
    interval: float
    due_at: float


class Aftermath:
    """Tells, mails and runs. `moment` says what the daemon is doing now.

    `judged` is set once every real server has been judged, and stays so: no reload is a start.
    """

    def __init__(self, moment: Callable[[], Moment]) -> None:
        self._moment = moment
        self._loop = asyncio.get_running_loop()
        self._postman = Postman()
        self._commands = Commands()
        self._monitor = MonitorFiles()
        self._outages: dict[RealKey, _Outage] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.judged = self._monitored = False
        self._signal = ""

    def follow(self, old: Config, new: Config) -> None:
        """A configuration came into force."""
        self._monitored = any(virtual.actions.monitorfile for virtual in new.virtuals)
        self._monitor.forget()
        known = {virtual.key: virtual for virtual in new.virtuals}
        self._outages = dict(self._lasting(known))
        self._wait()

    def news(
        self, before: Director, after: Director, effects: Sequence[Effect]
    ) -> Iterator[Effect | Sentence]:
        """All that there is to tell of a configuration that came into force."""
        return chain(reloaded(before, after), effects)

    def tell(self, effect: Effect | Sentence, director: Director) -> None:
        """One effect, or what has only a sentence; `director` is the state after it."""
        if isinstance(effect, Sentence):
            self._say(effect, director)
            return
        said = sentence(effect, director)
        tell(effect, director, said.text if said is not None else "")
        if said is not None:
            self._alert(said, director)
        self.judged |= isinstance(effect, AllJudged)
        if isinstance(effect, ServiceUp | ServiceDown) and (
            pool := director.pools.get(effect.virtual)
        ):
            self._commands.changed(pool.virtual, up=isinstance(effect, ServiceUp))

    def relay(self, level: str, event: str, fields: Mapping[str, Any], at: float) -> None:
        """Log an event of main, with ldirectord's words for it."""
        words = ""
        if event == "started":
            words = f"Starting Linux Director (lvsd {fields.get('version')}) as daemon"
        elif event == "stopping":
            self._signal = str(fields.get("signal")).removeprefix("SIG")
        log.relay(level, event, {**fields, "sentence": words}, at)

    def checked(self, event: Event, director: Director) -> None:
        """Note check results for monitor files; `director` is the state they came to."""
        if self._monitored and isinstance(event, ChecksFinished):
            self._monitor.checked(event.results, director)

    def callback(self, argv: tuple[str, ...], path: str) -> None:
        """Run `callback=`: a configuration file has changed."""
        self._commands.run("callback", (*argv, path))

    async def stop(self, director: Director, time_limit: float) -> None:
        """The table is gone: say so, and give what waits a last chance, in seconds."""
        for pool in director.pools.values():
            for said in stopped(pool) if pool.virtual.cleanstop else ():
                self._say(said, director)
        log.sentence(f"Linux Director Daemon terminated on signal: {self._signal}")
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(
            self._commands.finish(time_limit),
            self._postman.finish(time_limit),
            self._monitor.close(time_limit),
        )

    def _say(self, said: Sentence, director: Director) -> None:
        log.sentence(said.text)
        self._alert(said, director)

    def _alert(self, said: Sentence, director: Director) -> None:
        if said.key is None or said.down is None:
            return
        pool = director.pools.get(said.key.virtual)
        alert = None if pool is None else pool.virtual.actions.alert
        if pool is None or alert is None:
            return
        fallback = said.key.real not in pool.health
        if said.down and alert.interval and not fallback:
            due_at = self._loop.time() + alert.interval
            self._outages[said.key] = _Outage(pool.virtual, alert.interval, due_at)
            self._wait()
        else:
            self._outages.pop(said.key, None)
        self._mail(pool.virtual, said.text)

    def _lasting(self, known: Mapping[ServiceKey, Virtual]) -> Iterator[tuple[RealKey, _Outage]]:
        """The outages that a new configuration still has mails for, in its words."""
        for key, outage in self._outages.items():
            virtual = known.get(key.virtual)
            alert = None if virtual is None else virtual.actions.alert
            if virtual is None or alert is None or not alert.interval:
                continue
            if any(real.key == key.real for real in virtual.reals):
                due_at = min(outage.due_at, self._loop.time() + alert.interval)
                yield key, _Outage(virtual, alert.interval, due_at)

    def _mail(self, virtual: Virtual, text: str) -> None:
        alert, name = virtual.actions.alert, virtual.actions.servicename
        if alert is not None and (moment := self._moment()) in alert.moments:
            log.sentence(f"emailalert: {text}")
            subject = f"[{name}] {text}" if name else text
            self._postman.post(News(alert, subject, moment, _about(virtual)))

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due_at = min((outage.due_at for outage in self._outages.values()), default=None)
        self._timer = None if due_at is None else self._loop.call_at(due_at, self._remind)

    def _remind(self) -> None:
        now = self._loop.time()
        for key, outage in self._outages.items():
            if outage.due_at <= now:
                outage.due_at = now + outage.interval
                self._mail(outage.virtual, f"Inaccessible real server: {key.real} ({key.virtual})")
        self._wait()


def _about(virtual: Virtual) -> str:
    actions = virtual.actions
    lines = [("Service name", actions.servicename), ("Comment", actions.comment)]
    return "".join(f"{name}: {text}\n" for name, text in lines if text)


class Commands:
    """Runs `fallbackcommand=` and `callback=`, each kind in order."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, ...]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def changed(self, virtual: Virtual, *, up: bool) -> None:
        """A service has live real servers again, or none any more."""
        if argv := virtual.actions.fallbackcommand:
            word, key = "stop" if up else "start", virtual.key
            argv = (*argv, word, str(key), key.protocol.word)
            self.run(f"fallbackcommand of {_named(key)}", argv)

    def run(self, purpose: str, argv: tuple[str, ...]) -> None:
        """Run a program once what runs for the same purpose has ended."""
        self._waiting[purpose] = argv
        if purpose not in self._tasks:
            self._tasks[purpose] = asyncio.create_task(self._work(purpose))

    async def finish(self, time_limit: float) -> None:
        """Wait for what runs; what exceeds the limit is killed."""
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks.values()), timeout=time_limit)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _work(self, purpose: str) -> None:
        try:
            while purpose in self._waiting:
                await _run(purpose, self._waiting.pop(purpose))
        finally:
            del self._tasks[purpose]


def _named(key: ServiceKey) -> str:
    return f"{key.protocol.word} {key}"


async def _run(purpose: str, argv: Iterable[str]) -> None:
    program, *arguments = argv
    try:
        status = await run((program, *arguments), COMMAND_TIME_LIMIT)
    except Refused as refused:
        error = str(refused)
    except TimeoutError:
        error = f"killed after {COMMAND_TIME_LIMIT:g} s"
    else:
        if status == 0:
            return
        error = f"exit status {status}" if status > 0 else f"signal {-status}"
    log.get().error("command_failed", purpose=purpose, program=program, error=error)
