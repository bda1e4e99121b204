"""Hand-written stories: commands, a line of dashes, and the full trace they must give.

A scenario file is a list of blocks parted by blank lines. The first command of a file is

    directors a=150 b=100 [interval=1] [version=2] [nopreempt] [preemptdelay=5] [group]

and starts every node at 0. `a=150@2` gives a node an interval of its own. Others are `run 5s`,
`WORD NODE [SECONDS]` for the verbs of `faults` that take a node, `priority NODE N`, `addresses NODE
N…` (last octets), `cut a b SECONDS` (both ways), `deaf a SECONDS` (hears nobody), `start NODE`. The
answer has every line of the story that came of them, how many adverts each node sent, and who
holds. Nothing in it is left to chance.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lvsd.core.model import RouterConfig, Vip

from . import faults
from .checkers import all_checkers
from .cluster import Cluster
from .seeds import vips

DASHES = "----"


def replayed(text: str) -> str:
    """The scenario with the traces that the shipped core gives."""
    blocks = [block.strip("\n") for block in text.split("\n\n") if block.strip()]
    player = Player()
    return "\n\n".join(player.answer(block) for block in blocks) + "\n"


class Player:
    """Plays one file's blocks in turn."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._shown = 0

    def answer(self, block: str) -> str:
        """A block with its trace; a block of comments stays as it is."""
        asked = block.split(f"\n{DASHES}")[0]
        commands = [line for line in asked.splitlines() if line and not line.startswith("#")]
        if not commands:
            return asked
        for command in commands:
            self._do(command.split())
        return f"{asked}\n{DASHES}\n{self._trace()}"

    def _do(self, words: list[str]) -> None:
        if words[0] == "directors":
            self._cluster = directors(words[1:])
            return
        cluster = self._cluster
        assert cluster is not None, "a scenario begins with its directors"
        match words:
            case ["run", span]:
                cluster.run(cluster.now + float(span.rstrip("s")))
            case ["start", name]:
                cluster.start(name)
            case ["priority", name, number]:
                faults.set_priority(cluster, name, int(number))
            case ["addresses", name, *hosts]:
                listed: tuple[Vip, ...] = sum((vips(False, int(h)) for h in hosts), ())
                faults.set_vips(cluster, name, listed)
            case ["cut", one, other, seconds]:
                faults.partition(cluster, faults.apart([one], [other]), float(seconds))
            case ["deaf", name, seconds]:
                pairs = [(other, name) for other in cluster.nodes if other != name]
                faults.partition(cluster, pairs, float(seconds))
            case [verb, name]:
                getattr(faults, verb)(cluster, name)
            case [verb, name, seconds]:
                getattr(faults, verb)(cluster, name, float(seconds))
            case _:
                raise ValueError(f"no such command: {' '.join(words)}")
        cluster.check()

    def _trace(self) -> str:
        cluster = self._cluster
        assert cluster is not None
        lines = [str(line) for line in cluster.story[self._shown :]]
        self._shown = len(cluster.story)
        sent = " ".join(f"{name}={count}" for name, count in cluster.adverts.items())
        cluster.adverts = dict.fromkeys(cluster.adverts, 0)
        addresses = sorted({held[1] for n in cluster.nodes.values() for held in n.bound})
        held = [f"{a} {' '.join(cluster.holders(a))}" for a in addresses]
        lines.append(f"{cluster.now:8.3f}  adverts {sent}; holds: {', '.join(held) or 'nobody'}")
        return "\n".join(lines)


def directors(words: list[str]) -> Cluster:
    """The cluster that a `directors` line describes, started."""
    base = RouterConfig("VI_1", "eth0", 51, 100, vips(False, 100))
    told: dict[str, tuple[int, float | None]] = {}
    grouped = False
    for word in words:
        name, _, value = word.partition("=")
        match name:
            case "interval":
                base = replace(base, advertint=float(value))
            case "version":
                base = replace(base, version=int(value))
            case "nopreempt":
                base = replace(base, preempt=False)
            case "preemptdelay":
                base = replace(base, preemptdelay=float(value))
            case "group":
                grouped = True
            case _:
                priority, _, interval = value.partition("@")
                told[name] = (int(priority), float(interval) if interval else None)
    configs: dict[str, tuple[RouterConfig, ...]] = {}
    for name, (priority, own) in told.items():
        first = replace(base, priority=priority, syncgroup="G1" if grouped else "")
        first = replace(first, advertint=base.advertint if own is None else own)
        second = replace(first, name="VI_2", vrid=52, addresses=vips(False, 50))
        configs[name] = (first, second) if grouped else (first,)
    cluster = Cluster(0, configs, jitter=False)
    cluster.checkers = all_checkers()
    for name in configs:
        cluster.start(name)
    return cluster


def files() -> list[Path]:
    """Every scenario."""
    return sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
