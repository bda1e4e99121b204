"""A director for tests of the main process: speaks the messages, decides nothing.

Usage: scripted_child.py ROUTERS.json --ipc FD --listen FD ... The file holds what `router_to_wire`
makes of each router; it is read again at each Reload. ROUTERS.crash makes it exit at once,
ROUTERS.hang leave pings unanswered. What main says is appended to ROUTERS.said, one JSON
document a line.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec

from lvsd.daemon import messages


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    path = Path(sys.argv[1])
    if path.with_suffix(".crash").exists():
        sys.exit(3)
    sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--ipc") + 1]))
    said = path.with_suffix(".said").open("a")
    sock.sendall(messages.pack(messages.Hello(messages.VERSION, os.getpid())))
    configure(sock, path)
    sock.sendall(messages.pack(messages.Ready(True)))
    stream = sock.makefile("rb")
    while len(head := stream.read(4)) == 4:
        message = json.loads(stream.read(int.from_bytes(head, "big")))
        said.write(json.dumps(message) + "\n")
        said.flush()
        match message["type"]:
            case "ping" if not path.with_suffix(".hang").exists():
                sock.sendall(messages.pack(messages.Pong(message["serial"])))
            case "reload":
                configure(sock, path)
            case "stop":
                sock.sendall(messages.pack(messages.Stopped()))
                return


def configure(sock: socket.socket, path: Path) -> None:
    document = json.loads(path.read_text())
    if "refuse" in document:
        sock.sendall(messages.pack(messages.Refused(document["refuse"])))
        sys.exit(1)
    told = document["routers"], document.get("paces", []), document.get("early", False)
    sock.sendall(messages.pack(messages.Routers(*told)))
    for extra in document.get("say", []):
        body = msgspec.json.encode(extra)
        sock.sendall(len(body).to_bytes(4, "big") + body)


if __name__ == "__main__":
    main()
