"""A file to a Config: read everything, check everything, and only then accept or refuse.

`load` raises ConfigError with every error of every file. What it returns is valid by
construction: names resolved, defaults filled in, expressions compiled once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from lvsd.config import routers, services, tracks
from lvsd.config.addresses import Resolver
from lvsd.config.diagnostics import Place, Report
from lvsd.config.document import Document
from lvsd.config.pacing import build_paces
from lvsd.config.recall import Recall
from lvsd.core.model import Config, TrackKind


def load(
    path: str | os.PathLike[str], *, node: str | None = None, recall: Recall | None = None
) -> Config:
    """Read the configuration at `path` for `node` (default: the short host name).

    Raises ConfigError. Names are resolved now and may take the resolver's time. With the `recall`
    of an earlier load, virtuals that have not changed are not read again.
    """
    return loads(None, os.fspath(path), node=node, recall=recall)


def loads(
    text: bytes | None,
    path: str = "lvsd.conf",
    *,
    node: str | None = None,
    resolver: Resolver | None = None,
    interfaces: Sequence[str] | None = None,
    recall: Recall | None = None,
) -> Config:
    """As `load`, for the bytes of a file that stands, or would stand, at `path`.

    `interfaces` are those of this machine unless given; an empty list skips that check.
    """
    report = Report()
    document = Document(report, node or socket.gethostname().split(".")[0])
    if text is not None:
        document.overlay = {path: text}
    document.read(path)
    if interfaces is None:
        interfaces = [name for _, name in socket.if_nameindex()]
    found = services.build(document, resolver or Resolver(), recall or Recall())
    config = _config(document, path, found, interfaces)
    report.check()
    return config


def _look_for_folders(document: Document) -> None:
    """Warn when the log file cannot be created, or nothing can be put into maintenance."""
    folder = os.path.dirname(document.globals.value("logfile", ""))
    if folder and not os.path.isdir(folder):
        text = f"the folder {folder} does not exist: nothing is logged there"
        document.report.warn(document.globals.place("logfile"), text)
    folder = document.globals.value("maintenancedir", "")
    if folder and not os.path.isdir(folder):
        text = f"the folder {folder} does not exist (yet)"
        document.report.warn(document.globals.place("maintenancedir"), text)


def _config(
    document: Document, path: str, found: services.Services, interfaces: Sequence[str]
) -> Config:
    scripts = tracks.build_scripts(document)
    has_services = any(section.kind == "virtual" for section in document.sections)
    processes, files = tracks.build_processes(document), tracks.build_files(document)
    known = tracks.Known(
        {
            TrackKind.SCRIPT: tuple(script.name for script in scripts),
            TrackKind.PROCESS: tuple(process.name for process in processes),
            TrackKind.FILE: tuple(file.name for file in files),
        },
        found.names,
    )
    vrrp = routers.build(document, known, interfaces, has_services)
    report = document.report
    if not document.sections and not report.errors:
        # Also what a truncated file looks like: a reload must not take everything away.
        text = "nothing to do: there is no virtual= and no vrrp= block"
        report.error(Place(path), f"{text} (ldirectord accepts such a file and does nothing)")
    _look_for_folders(document)
    return Config(
        virtuals=tuple(found.virtuals),
        routers=vrrp,
        scripts=scripts,
        processes=processes,
        files=files,
        autoreload=document.globals.value("autoreload", False),
        logfile=document.globals.value("logfile", ""),
        standbytable=document.globals.value("standbytable", True),
        operators=document.globals.value("operators", ()),
        callback=found.callback,
        maintenancedir=document.globals.value("maintenancedir", ""),
        supervised=document.globals.value("supervised", False),
        logstyle=document.globals.value("logstyle", "lvsd"),
        checkers=document.globals.value("checkers", 0),
        paces=build_paces(document),
        path=path,
        sha256=document.digest.hexdigest(),
        sources=tuple(document.sources),
        warnings=report.notices(),
    )
