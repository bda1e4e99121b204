"""Watches a VIP from inside a namespace until stdin closes; lines on stdout.

`probe.py ping VIP`: an echo request every 10 ms; in the end a line per request, when it was sent
and when the kernel got the reply, -1 for none.
`probe.py own VIP`: whether this namespace holds the address, every 5 ms; a line per change.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import time

#: socket(7): each datagram comes with a struct timespec of the system clock.
SO_TIMESTAMPNS = 35


def main() -> None:
    mode, vip = sys.argv[1:3]
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    print("ready", flush=True)
    (ping if mode == "ping" else own)(family, vip)


def ping(family: int, vip: str) -> None:
    """Requests and the replies to them are matched, so that a busy machine is no outage."""
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    request, reply = (128, 129) if family == socket.AF_INET6 else (8, 0)
    behind, own_id = time.time() - time.monotonic(), os.getpid() & 0xFFFF
    sent: list[float] = []
    answered: dict[int, float] = {}
    next_at = time.monotonic()
    while True:
        if time.monotonic() >= next_at:
            message = echo(request, own_id, len(sent) & 0xFFFF)
            next_at = max(next_at + 0.01, time.monotonic() - 0.1)
            sent.append(time.monotonic())
            with contextlib.suppress(OSError):
                sock.sendto(message, (vip, 0))
        ready, _, _ = select.select([sock, 0], [], [], max(0.0, next_at - time.monotonic()))
        if 0 in ready:
            break
        with contextlib.suppress(OSError):
            packet, ancillary, _, _ = sock.recvmsg(2048, 64)
            message = packet if family == socket.AF_INET6 else packet[20:]
            kind, _, _, number, serial = struct.unpack_from("!BBHHH", message)
            if kind == reply and number == own_id:
                seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
                answered.setdefault(serial, seconds + nanoseconds * 1e-9 - behind)
    for serial, at in enumerate(sent):
        print(f"{at:.6f} {answered.get(serial, -1):.6f}")


def echo(kind: int, number: int, serial: int) -> bytes:
    """An echo request; its checksum is IPv4's, over IPv6 the kernel makes it."""
    total = sum(struct.unpack("!4H", struct.pack("!BBHHH", kind, 0, 0, number, serial)))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", kind, 0, ~total & 0xFFFF, number, serial)


def own(family: int, vip: str) -> None:
    held: bool | None = None
    ending = False
    while not ending:
        ending = bool(select.select([0], [], [], 0.005)[0])  # then comes a last look
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((vip, 0))
            except OSError:
                now_held = False
            else:
                now_held = True
        if now_held is not held:
            held = now_held
            print(f"{time.monotonic():.6f} {int(held)}", flush=True)


if __name__ == "__main__":
    main()
