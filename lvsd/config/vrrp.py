"""The rows of `vrrp=` blocks and of the blocks that they track."""

from __future__ import annotations

from lvsd.config.rows import COUNT, row

# fmt: off
ROUTER = (
    row("R", "interface", "interface", "",
        "The network interface on which the directors hear each other, and which gets the "
        "addresses. Required.",
        origin="keepalived"),
    row("R", "virtualrouterid", "integer", "",
        "1 to 255, the same on both directors and unlike any other on this network. Required.",
        origin="keepalived", bounds=(1, 255)),
    row("R", "priority", "integer", "100",
        "1 to 255; the highest live director holds the addresses.",
        origin="keepalived", bounds=(1, 255)),
    row("R", "advertint", "decimal", "1",
        "Seconds between advertisements: whole in version 2, 0.01 to 40.95 in version 3.",
        origin="keepalived", bounds=(0.01, 255)),
    row("R", "address", "text", "",
        "ADDRESS[/LENGTH] [dev IF] [label IF:NAME] [scope S]: a virtual address. /32 or /128 "
        "unless told otherwise. Required. Up to 255 of them; over IPv6 an Ethernet frame holds 90.",
        origin="lvsd", many=True),
    row("R", "excludedaddress", "text", "",
        "As address, but not listed in advertisements; may be of the other family.",
        origin="lvsd", many=True),
    row("R", "route", "text", "",
        "A route that this director has while it is master, in the words of ip route: [blackhole | "
        "unreachable | prohibit | throw] DESTINATION [via GATEWAY] [dev IF] [src ADDRESS] "
        "[table N] [metric N] [scope S] [onlink] [mtu N] [notrack]. Of either family. Without "
        "table: main, or that of the VRF of the interface. The interface behind dev is tracked. "
        "With notrack neither that nor a refusal of the kernel ends mastership.",
        origin="keepalived", many=True),
    row("R", "rule", "text", "",
        "A rule that this director has while it is master, in the words of ip rule: [inet | inet6] "
        "[not] [from PREFIX] [to PREFIX] [iif IF] [oif IF] [fwmark MARK[/MASK]] [tos N] "
        "[priority N] table N | blackhole | unreachable | prohibit [notrack]. The priority is "
        "16384 unless given.",
        origin="keepalived", many=True),
    row("R", "version", "integer", "2",
        "2 or 3. IPv6 means 3.",
        origin="keepalived", bounds=(2, 3)),
    row("R", "authpass", "secret", "",
        "Version 2's password in clear text, at most 8 characters. It keeps mistakes away, not"
        " attackers.",
        origin="keepalived"),
    row("R", "authtype", "text", "",
        "Not needed: authpass alone means keepalived's PASS.",
        origin="keepalived"),
    row("R", "peer", "text", "",
        "ADDRESS [minttl N] [maxttl N]: unicast to this address instead of multicast. The own "
        "address may be listed too. With minttl or maxttl what comes from this peer with another "
        "TTL (hop limit) is dropped.",
        origin="keepalived", many=True),
    row("R", "unicastttl", "integer", "255",
        "TTL (hop limit) of unicast advertisements.",
        origin="keepalived", bounds=(1, 255)),
    row("R", "checkunicastsrc", "yesno", "yes",
        "With peer: drop advertisements from other addresses. no is for peers behind address "
        "translation.",
        origin="keepalived", bare=True),
    row("R", "mcastsrcip", "source", "the interface's",
        "Source address of advertisements.",
        origin="keepalived"),
    row("R", "unicastsrcip", "source", "the interface's",
        "Source address of advertisements.",
        origin="keepalived"),
    row("R", "nopreempt", "yesno", "no",
        "A director that comes back with a higher priority does not take the addresses back.",
        origin="keepalived", bare=True),
    row("R", "preemptdelay", "decimal", "0",
        "Seconds to wait before taking the addresses from a director of lower priority.",
        origin="keepalived", bounds=(0, 1000)),
    row("R", "startupdelay", "decimal", "until judged",
        "Longest time in seconds to wait after the start for every real server to be judged "
        "once; at most 30 unless given.",
        origin="keepalived", bounds=(0, 1000)),
    row("R", "delayafterboot", "decimal", "0",
        "Take no part before the system has been up for so many seconds. A restart of lvsd on a "
        "running system does not wait.",
        origin="keepalived", bounds=(0, 86400)),
    row("R", "interfacedowndelay", "decimal", "0",
        "Seconds for which the interface, or a tracked one, must be down until that counts. Below "
        "(downtimeradverts - 1) x advertint.",
        origin="keepalived", bounds=(0, 255)),
    row("R", "interfaceupdelay", "decimal", "0",
        "Seconds for which it must be up again until that counts.",
        origin="keepalived", bounds=(0, 255)),
    row("R", "syncgroup", "name", "",
        "Instances of one group change state together.",
        origin="keepalived"),
    row("R", "syncdaemon", "text", "",
        "INTERFACE [ID] [both] [maxlen N] [port N] [ttl N] [group ADDRESS]: connection "
        "synchronisation that follows the role; the ID is 0 to 255. With both the kernel sends and "
        "receives in any state. Port 8848, TTL 1 and group 224.0.0.81 unless told otherwise.",
        origin="keepalived"),
    row("R", "track", "text", "",
        "interface, script, process or file, NAME, [weight N [reverse]]; or virtual ADDRESS:PORT "
        "weight N [reverse]. Without weight, or with weight 0, a failure is a fault. A positive "
        "weight is added to the priority while the object is up, a negative one while it is down. "
        "A file fails while it holds another number than 0; with a weight, number times weight is "
        "added, and -254 or less is a fault. With reverse the weight is subtracted when it would "
        "be added; with weight 0 reverse the object being up (a file holding 0) is the fault.",
        origin="keepalived", many=True),
    row("R", "notify", "argv", "",
        "Program to run on each change of state, with the words INSTANCE, NAME, STATE and "
        "PRIORITY. STATE is MASTER, BACKUP, FAULT, STOP, or MASTER_RX_LOWER_PRI.",
        origin="keepalived"),
    row("R", "notifymaster", "argv", "",
        "Program to run on becoming master, before notify. Nothing is added to its arguments, "
        "here and with the words like it.",
        origin="keepalived"),
    row("R", "notifybackup", "argv", "",
        "Program to run on becoming backup.",
        origin="keepalived"),
    row("R", "notifyfault", "argv", "",
        "Program to run on a fault.",
        origin="keepalived"),
    row("R", "notifystop", "argv", "",
        "Program to run when lvsd stops.",
        origin="keepalived"),
    row("R", "notifymasterrxlowerpri", "argv", "",
        "Program to run when a master hears a director of lower priority that claims to be "
        "master.",
        origin="keepalived"),
    row("R", "downtimeradverts", "integer", "3",
        "Advertisements that may be missed before another director takes over; the same on both "
        "directors. The lifetime of the addresses in the kernel follows it.",
        origin="keepalived", bounds=(1, 100)),
    row("R", "garpmasterrepeat", "integer", "5",
        "How often each address is announced (gratuitous ARP, unsolicited neighbour "
        "advertisement) on becoming master, and again after garpmasterdelay.",
        origin="keepalived", bounds=(1, 100)),
    row("R", "garpmasterdelay", "decimal", "5",
        "Seconds until addresses are announced a second time; 0: once is enough.",
        origin="keepalived", bounds=(0, 3600)),
    row("R", "garpmasterrefresh", "decimal", "0",
        "Seconds between announcements for as long as this director is master; 0: none.",
        origin="keepalived", bounds=(0, 86400)),
    row("R", "garpmasterrefreshrepeat", "integer", "1",
        "How often each address is announced at each garpmasterrefresh.",
        origin="keepalived", bounds=(1, 100)),
    row("R", "garplowerpriorepeat", "integer", "garpmasterrepeat",
        "How often each address is announced when a director of lower priority claims to be "
        "master, at most once a second; 0: not at all.",
        origin="keepalived", bounds=(0, 100)),
    row("R", "garplowerpriodelay", "decimal", "garpmasterdelay",
        "Seconds until that is repeated; 0: it is not.",
        origin="keepalived", bounds=(0, 3600)),
    row("R", "v3checksumasv2", "yesno", "no",
        "Version 3 over IPv4: send a checksum without pseudo-header, as RFC 9568 reads it. Both "
        "readings are accepted; log and status tell which one a neighbour uses if it is not ours.",
        origin="keepalived", bare=True),
    row("R", "lowerprionoadvert", "yesno", "no",
        "A master does not answer a director of lower priority that claims to be master.",
        origin="keepalived", bare=True),
    row("R", "higherpriosendadvert", "yesno", "yes",
        "A master sends one more advertisement before it yields to a higher priority, so that "
        "a winner that has been master all along announces its addresses again.",
        origin="keepalived", bare=True),
    row("R", "usevmac", "interface", "no",
        "Give the addresses the virtual MAC 00:00:5e:00:01:VRID (IPv6: 00:00:5e:00:02:VRID) on a "
        "macvlan of this name; vrrp.VRID (vrrp6.VRID) unless given. The same on both directors.",
        origin="keepalived", bare=True),
    row("R", "vmacxmitbase", "yesno", "no",
        "With usevmac: advertisements leave by the interface itself, with its own MAC. Unicast "
        "needs it.",
        origin="keepalived", bare=True),
    row("R", "accept", "yesno", "yes",
        "Whether this host itself answers on the addresses (ping, ssh). The services of virtual= "
        "blocks always do.",
        origin="keepalived", bare=True),
    row("R", "noaccept", "yesno", "no",
        "As accept=no. A director of priority 255 answers all the same.",
        origin="keepalived", bare=True),
    row("R", "lease", "yesno", "yes",
        "Give addresses a limited lifetime in the kernel, so that they vanish when lvsd can't "
        "renew them.",
        origin="lvsd"),
)

PROCESS = (
    row("P", "command", "process", "",
        "The program, by name or path, and the first of its arguments. Required.",
        origin="lvsd"),
    row("P", "quorum", "integer", "1",
        "So many processes must run.",
        origin="keepalived", bounds=COUNT),
    row("P", "quorummax", "integer", "any number",
        "No more than so many may run.",
        origin="keepalived", bounds=COUNT),
    row("P", "forkdelay", "decimal", "0",
        "Seconds for which enough processes must run until that counts.",
        origin="keepalived", bounds=(0, 3600)),
    row("P", "terminatedelay", "decimal", "0",
        "Seconds for which too few processes run until that counts.",
        origin="keepalived", bounds=(0, 3600)),
)

FILE = (
    row("F", "path", "path", "",
        "The file. It holds a whole number; one that is not there, or holds something else, "
        "counts as 0. Required.",
        origin="lvsd"),
)

SCRIPT = (
    row("S", "command", "argv", "",
        "The program and its arguments. Required. No shell is used.",
        origin="lvsd"),
    row("S", "interval", "decimal", "1",
        "Seconds between two runs.",
        origin="keepalived", bounds=(0.1, 86400)),
    row("S", "timeout", "decimal", "the interval",
        "Seconds after which a run counts as failed.",
        origin="keepalived", bounds=(0.1, 86400)),
    row("S", "rise", "integer", "1",
        "Good runs in a row until the script counts as up.",
        origin="keepalived", bounds=COUNT),
    row("S", "fall", "integer", "1",
        "Failed runs in a row until the script counts as down.",
        origin="keepalived", bounds=COUNT),
    row("S", "user", "identity", "scriptuser",
        "The user to run as, and a first group.",
        origin="keepalived"),
)
# fmt: on
