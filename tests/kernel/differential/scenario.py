"""A scenario: one configuration, what happens to its real servers, and the table after each step.

    # What it is about, in a line or more.
    # long                            (only where it is left to `make test-long`)

    [servers]
    http 21:80 22:80                  kind of scripted server, and where: 10.77.0.21, port 80

    [config]                          an ldirectord.cf, as it stands; FOLDER is a scratch folder
    ...
    [config 2]                        what `reload 2` and `change 2` bring
    [program NAME]                    a program, in FOLDER

    [steps]
    start        -> 21=1 22=1         VERB WORDS -> what both tables must hold
    wrong 21     -> 22=1
        KEY      -> 21=0 22=1         what lvsd's holds, where docs/ldirectord.md names KEY

The right side lists every destination as REAL=WEIGHT, REAL being the last number of its address,
or, where there are several services, PORT/REAL=WEIGHT with the service's port or mark. A service
without destinations is `-`; an empty table is `none`. That much must be as written; and beyond it
the two tables must be the same, line by line, wherever no KEY stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("scenarios")


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `key` names the difference where lvsd's table is `ours` and not `theirs`."""

    words: tuple[str, ...]
    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    key: str = ""

    def __str__(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file. `servers` are (kind, last number of the address, port)."""

    name: str
    about: str
    long: bool
    servers: tuple[tuple[str, str, int], ...]
    configs: dict[str, str]
    programs: dict[str, str]
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.name

    @property
    def keys(self) -> set[str]:
        """The differences it shows."""
        return {step.key for step in self.steps} - {""}


def scenarios() -> list[Scenario]:
    """Every file, by name."""
    return [parse(path.stem, path.read_text()) for path in sorted(FOLDER.glob("*.txt"))]


def parse(name: str, text: str) -> Scenario:
    """Raises ValueError for what is no scenario."""
    head, *parts = re.split(r"^\[([a-z][^]]*)\]\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    steps = tuple(_steps(sections.pop("steps").splitlines()))
    servers = tuple(_servers(sections.pop("servers", "").splitlines()))
    about = head.partition("\n")[0].removeprefix("# ")
    configs = {key: sections[key] for key in sections if key.startswith("config")}
    programs = {key.removeprefix("program "): sections[key] for key in sections.keys() - configs}
    return Scenario(name, about, "# long\n" in head, servers, configs, programs, steps)


def _servers(lines: list[str]) -> Iterator[tuple[str, str, int]]:
    for line in lines:
        kind, *places = line.split() or [""]
        for place in places:
            real, _, port = place.partition(":")
            yield kind, real, int(port)


def _steps(lines: list[str]) -> Iterator[Step]:
    found: list[Step] = []
    for line in filter(str.strip, lines):
        left, arrow, right = line.partition("->")
        if not arrow:
            raise ValueError(f"no step: {line}")
        wanted = tuple(sorted(right.split()))
        if line[0].isspace():
            last = found.pop()
            found.append(Step(last.words, last.theirs, wanted, left.strip()))
        else:
            found.append(Step(tuple(left.split()), wanted, wanted))
    yield from found


def tokens(table: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """What `ipvsadm -Sn` says, in the words of a scenario; with services where `wanted` has."""
    services: dict[tuple[str, ...], list[str]] = {}
    for line in table.splitlines():
        words = line.split()
        # The flag that tells IPv6 marks apart stands behind the mark.
        service = (*words[1:3], "-6" if "-6" in words else "")
        reals = services.setdefault(service, [])
        if words[0] == "-a":
            host = words[words.index("-r") + 1].rpartition(":")[0].strip("[]")
            reals.append(f"{_last(host)}={words[words.index('-w') + 1]}")
    several = any("/" in token for token in wanted)
    found = [
        f"{_last(service[1])}/{real}" if several else real
        for service, reals in services.items()
        for real in reals or ["-"]
    ]
    return tuple(sorted(found)) or ("none",)


def _last(address: str) -> str:
    """The last number of a host, the port of a service, a mark as it is."""
    return re.split("[:.]", address)[-1]
