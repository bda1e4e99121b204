"""Watches a VIP from inside a namespace; one line per event on stdout, until stdin closes.

`probe.py ping VIP`: an echo request every 10 ms; a line with the clock reading per reply.
`probe.py own VIP`: whether this namespace holds the address, every 5 ms; a line per change.
"""

import contextlib
import select
import socket
import struct
import sys
import time


def main() -> None:
    mode, vip = sys.argv[1:3]
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    print("ready", flush=True)
    (ping if mode == "ping" else own)(family, vip)


def ping(family: int, vip: str) -> None:
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    request, reply = (128, 129) if family == socket.AF_INET6 else (8, 0)
    next_at, serial = time.monotonic(), 0
    while True:
        if time.monotonic() >= next_at:
            next_at, serial = next_at + 0.01, (serial + 1) & 0xFFFF
            head = struct.pack("!BBHHH", request, 0, 0, 4711, serial)
            total = sum(struct.unpack("!4H", head))
            total = (total & 0xFFFF) + (total >> 16)
            message = struct.pack("!BBHHH", request, 0, ~total & 0xFFFF, 4711, serial)
            with contextlib.suppress(OSError):
                sock.sendto(message, (vip, 0))
        ready, _, _ = select.select([sock, 0], [], [], max(0.0, next_at - time.monotonic()))
        if 0 in ready:
            return
        if sock in ready:
            with contextlib.suppress(OSError):
                packet, _ = sock.recvfrom(2048)
                message = packet if family == socket.AF_INET6 else packet[20:]
                if message[0] == reply and message[4:6] == struct.pack("!H", 4711):
                    print(f"{time.monotonic():.6f}", flush=True)


def own(family: int, vip: str) -> None:
    held: bool | None = None
    while not select.select([0], [], [], 0.005)[0]:
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
