"""The IPVS table of the kernel, read and written through generic netlink.

`table.Ipvs` is what the daemon uses. Below it: `channel` owns the socket (transactions, sequence
numbers, time limits), `lookup` finds IPVS, `codec` packs bulk messages and unpacks dumps with
`struct` because pyroute2 spends 300 µs per message, `reader` makes entries of dumps without
decoding again what it knows, `messages` holds pyroute2's message classes with their wrong attribute
types put right, for the rare requests, and as an independent decoder in the tests. `errors` turns
errno into ipvsadm's words.
"""

from __future__ import annotations

from lvsd.linux.ipvs.table import Ipvs

__all__ = ["Ipvs"]
