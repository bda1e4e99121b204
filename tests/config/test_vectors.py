"""What ldirectord 1.186 makes of a line, measured with its parser, and what lvsd makes of it."""

import re

import pytest

from lvsd.config import ConfigError, render
from lvsd.core.model import CheckKind, Family, Forwarding, Protocol, ServiceFlag

BLOCK = "virtual=127.0.0.1:80\n\tservice=http\n\tquiescent=yes\n"
REAL = "\treal=127.0.0.2:80 gate\n"


def errors(load_text, text):
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    return [d.text for d in caught.value.errors]


@pytest.mark.parametrize(
    ("line", "seconds", "warned"),
    [
        ("checktimeout = 3 # c", 3, False),
        ("checktimeout=3.9", 3, True),
        ("checktimeout=-7", 7, True),
        ('checktimeout="4"', 4, True),
        ("checktimeout=10m", 10, True),
        ("checktimeout=3\r", 3, False),
    ],
)
def test_numbers_are_the_first_run_of_digits(load_text, line, seconds, warned):
    config = load_text(f"{line}\n{BLOCK}\tchecktype=connect\n{REAL}")
    assert config.virtuals[0].reals[0].check.timeout == seconds
    assert any("only the digits count" in w for w in config.warnings) is warned


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checktimeout=0", "must be from 1"),
        ("checktimeout=abc", "needs a whole number"),
        (" checktimeout=3", "remove the blanks before it"),
        ('quiescent="yes"', "write quiescent=yes"),
        ("quiescent=Yes", "write quiescent=yes"),
        ("quiescent=true", "write quiescent=yes"),
        ("callback=/x|y", "| needs a shell"),
        ("service=http", "belongs in a virtual= block"),
        ("scheduler=rr", "belongs in a virtual= block"),
        ("checktype=connect", "belongs in a virtual= block"),
        ("virtualhost=x", "belongs in a virtual= block"),
        ("connecttimeout=3", "write negotiatetimeout="),
        ("timeout=3", "write checktimeout= and negotiatetimeout="),
        ("chekinterval=3", 'did you mean "checkinterval"?'),
        ("CheckTimeout=3", 'did you mean "checktimeout"?'),
        ("; checktimeout=3", "neither name=value nor a comment"),
        ("// checktimeout=3", "neither name=value nor a comment"),
        ("checktimeout 3", "write checktimeout=3"),
        ("[virtual]", "sections in brackets"),
        ("virtual_server 10.0.0.1 80 {", "braces are keepalived's"),
        ("process=nginx\n\tquorum=2", "process=nginx has no command="),
        ("vrrp_instance=VI_1", "vrrp=NAME opens an instance"),
        ("virtual_router_id=51", 'did you mean "virtualrouterid"?'),
        ("include=/no/such/file", "can't read /no/such/file: No such file"),
    ],
)
def test_a_global_line_that_has_no_sane_meaning_is_refused(load_text, text, expected):
    assert any(expected in e for e in errors(load_text, text + "\n")), errors(load_text, text)


@pytest.mark.parametrize("line", ["quiescent=no ", "quiescent=no # c", "quiescent=no\r"])
def test_trailing_blanks_comments_and_returns_are_dropped(load_text, line):
    config = load_text(f"{line}\nvirtual=127.0.0.1:80\n{REAL}")
    assert config.virtuals[0].quiescent is False


def test_logfile_takes_a_path_or_a_facility_with_or_without_quotes(load_text):
    assert load_text('logfile="local0"\nvirtual=1.2.3.4:80').logfile == "local0"
    assert load_text("logfile=/x\nvirtual=1.2.3.4:80").logfile == "/x"


def test_a_bare_supervised_is_yes_and_fork_is_accepted_with_a_notice(load_text):
    config = load_text("supervised\nfork=yes\nvirtual=1.2.3.4:80\n")
    assert config.supervised
    assert sum("has no effect" in w for w in config.warnings) == 1


@pytest.mark.parametrize(
    ("value", "name", "protocol"),
    [
        ("1.2.3.4:80 # c", "1.2.3.4:80", Protocol.TCP),
        ("1.2.3.4:www", "1.2.3.4:80", Protocol.TCP),
        ("1.2.3.4:53", "1.2.3.4:53", Protocol.UDP),
        ("1.2.3.4:domain", "1.2.3.4:53", Protocol.UDP),
        ("1.2.3.4:http-alt", "1.2.3.4:8080", Protocol.TCP),
        ("1.2.3.4:080", "1.2.3.4:80", Protocol.TCP),
        ("localhost:80", "127.0.0.1:80", Protocol.TCP),
        ("1.2.3.4:80 junk", "1.2.3.4:80", Protocol.TCP),
        ("7", "7", Protocol.FWM),
        ("[::1]:80", "[::1]:80", Protocol.TCP),
    ],
)
def test_virtual_addresses_that_load(load_text, value, name, protocol):
    (virtual,) = load_text(f"virtual={value}\n\tchecktype=on\n").virtuals
    assert str(virtual.key) == name
    assert virtual.key.protocol is protocol


def test_virtual6_is_canonical_and_marks_have_a_family(load_text):
    config = load_text("virtual6=[2001:DB8:0:0::1]:80\nvirtual=7\n\nvirtual6=7\n")
    assert [str(v.key) for v in config.virtuals] == ["[2001:db8::1]:80", "7", "7 IPv6"]
    assert config.virtuals[2].key.family is Family.INET6


def test_a_port_name_is_looked_up_for_the_blocks_protocol(load_text):
    (virtual,) = load_text("virtual=1.2.3.4:tftp\n\tprotocol=udp\n").virtuals
    assert (virtual.key.port, virtual.key.protocol) == (69, Protocol.UDP)
    assert "not known for tcp" in errors(load_text, "virtual=1.2.3.4:tftp\n")[0]


def test_one_address_serves_two_protocols(load_text):
    block = "virtual=1.2.3.4:53\n\tchecktype=connect\n"
    config = load_text(block + "\n" + block + "\tprotocol=tcp\n")
    assert [v.key.protocol for v in config.virtuals] == [Protocol.UDP, Protocol.TCP]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.2.3.4:70000", "the highest is 65535"),
        ("1.2.3.4:99999", "the highest is 65535"),
        ("1.2.3.4:nosuch", "port name nosuch is not known"),
        ("1.2.3.400:80", "each part of an IPv4 address is 0 to 255"),
        ("foo", "an address without a port"),
        ("foo:80", "foo can't be resolved"),
        ('"1.2.3.4:80"', "write virtual=1.2.3.4:80"),
        ("*:80", "no address and no host name"),
        ("tcp:1.2.3.4:80", "write virtual=1.2.3.4:80"),
        ("1.2.3.4", "write 1.2.3.4:PORT"),
        ("192.168.1.1 80", "write 192.168.1.1:80"),
        ("1.2.3.4 :80", "write 1.2.3.4:80"),
        ("192.168.200 80", "is no address"),
        ("192.168.200:80", "needs 4 (ldirectord would read it as 192.168.0.200)"),
        ("010.0.0.1:80", "(ldirectord would read it as 8.0.0.1)"),
        ("1.2.3.4:80/tcp", "write virtual=1.2.3.4:80"),
        ("1.2.3.4:80,1.2.3.5:80", "write virtual=1.2.3.4:80"),
        ("5abc", "an address without a port"),
        ("0", "a firewall mark is a number from 1"),
        ("1.2.3.4:0", "only possible with persistent="),
        ("2001:db8::1:80", "write"),
        ("::1:80", "needs brackets"),
        ("[::1%lo]:80", "no zone"),
        ("[::ffff:1.2.3.4]:80", "write 1.2.3.4"),
        ("[::1]", "without a port"),
        ("", "has no value"),
    ],
)
def test_virtual_addresses_that_are_refused(load_text, value, expected):
    found = errors(load_text, f"virtual={value}\n\tchecktype=on\n")
    assert len(found) == 1
    assert expected in found[0] or "brackets" in found[0], found


def test_a_duplicate_virtual_names_the_first_line(load_text):
    found = errors(load_text, "virtual=1.2.3.4:80\n\nvirtual=1.2.3.4:http\n")
    assert found == ["tcp service 1.2.3.4:80 was defined on line 1 already"]


def test_a_virtual_as_the_last_line_is_accepted(load_text):
    config = load_text("virtual=1.2.3.4:80")
    assert len(config.virtuals) == 1
    assert any("no real servers" in w for w in config.warnings)


@pytest.mark.parametrize("indent", ["   ", "    ", " \t", "\t\t  ", " "])
def test_any_indentation_makes_a_member(load_text, indent):
    config = load_text(f"virtual=127.0.0.1:80\n{indent}real=127.0.0.2:80 gate\n")
    assert len(config.virtuals[0].reals) == 1


def test_a_comment_in_column_0_does_not_end_a_block(load_text):
    config = load_text(f"virtual=127.0.0.1:80\n{REAL}# c\n\tscheduler=rr\n")
    assert config.virtuals[0].service.scheduler == "rr"


def test_a_line_of_two_tabs_does_not_end_a_block(load_text):
    config = load_text(f"virtual=127.0.0.1:80\n{REAL}\t\t\n\tscheduler=rr\n")
    assert config.virtuals[0].service.scheduler == "rr"
    assert any("blanks only" in w for w in config.warnings)


def test_a_blank_line_ends_a_block_and_the_message_says_which(load_text):
    found = errors(load_text, f"virtual=127.0.0.1:80\n{REAL}\n\tscheduler=rx\n")
    assert "the blank line 3 before scheduler=" in found[0]
    assert "remove it" in found[0]
    assert "unknown scheduler rx" in found[1]


def test_a_global_in_the_middle_of_a_block_is_named(load_text):
    found = errors(load_text, f"virtual=127.0.0.1:80\n{REAL}autoreload=yes\n\tscheduler=rr\n")
    assert "autoreload= on line 3, in column 0, ends the block" in found[0]


@pytest.mark.parametrize(
    ("value", "forwarding", "weight"),
    [
        ("127.0.0.2:80 gate", Forwarding.ROUTE, 1),
        ("127.0.0.2:80 masq 5", Forwarding.MASQ, 5),
        ("127.0.0.2:80 ipip 0", Forwarding.TUNNEL, 0),
        ("127.0.0.2:80 gate 5,", Forwarding.ROUTE, 5),
        ("127.0.0.2:http gate", Forwarding.ROUTE, 1),
        ("localhost:80 gate", Forwarding.ROUTE, 1),
    ],
)
def test_real_servers_that_load(load_text, value, forwarding, weight):
    (real,) = load_text(f"{BLOCK}\treal={value}\n").virtuals[0].reals
    assert (real.forwarding, real.weight, real.key.port) == (forwarding, weight, 80)


def test_a_real_server_without_a_port_is_checked_at_the_services(load_text):
    config = load_text(f"{BLOCK}\treal=127.0.0.2 gate\n")
    assert config.virtuals[0].reals[0].check.port == 80
    assert any("no port" in w for w in config.warnings)


@pytest.mark.parametrize("arrow", ["->", " -> "])
def test_a_range_becomes_a_server_for_each_address(load_text, arrow):
    config = load_text(f"{BLOCK}\treal=127.0.0.2{arrow}127.0.0.4:80 gate 3\n")
    assert [(str(r.key), r.weight) for r in config.virtuals[0].reals] == [
        (f"127.0.0.{n}:80", 3) for n in (2, 3, 4)
    ]


def test_a_range_across_a_power_of_ten_is_complete(load_text):
    config = load_text(f"{BLOCK}\treal=5.245.224.254->5.245.225.1:80 gate\n")
    assert len(config.virtuals[0].reals) == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("127.0.0.2:80", "the forwarding method is missing"),
        ("127.0.0.2:80 # gate", "the forwarding method is missing"),
        ("127.0.0.2:80 Gate", 'did you mean "gate"?'),
        ("127.0.0.2:80 route", "did you mean gate?"),
        ("127.0.0.2:80 NAT", "did you mean masq?"),
        ("127.0.0.2:80 gate5", "write gate 5"),
        ("127.0.0.2:80 gate -1", "a weight is 0 or more"),
        ("127.0.0.2:80 gate weight=5", "write the weight as a number"),
        ("127.0.0.2:80 gate 5 6", "6 has no meaning here"),
        ("127.0.0.2:80 gate 5 x", "x has no meaning here"),
        ("127.0.0.2:80 gate 2147483648", "from 0 to 2147483647"),
        ("127.0.0.4->127.0.0.2:80 gate", "write 127.0.0.2->127.0.0.4"),
        ("127.0.0.2:80->127.0.0.4:80 gate", "write 127.0.0.2->127.0.0.4:80"),
        ("127.0.0.2::80 gate", "write 127.0.0.2:80"),
        ("127.0.0.2,80 gate", "write ADDRESS:PORT METHOD"),
        ("http://127.0.0.2:80 gate", "without http://"),
        ("my_host:80 gate", "no address and no host name"),
        ('127.0.0.2:80 gate "a"', "needs two strings"),
        ('127.0.0.2:80 gate "a", "(b"', "bad regular expression"),
        ('127.0.0.2:80 gate "a', "closing double quote is missing"),
        ("127.0.0.2:99999 gate", "the highest is 65535"),
        ("[::1]:80 gate", "only ipip reaches a real server of the other family"),
        ("127.0.0.2:80 gate l:9 u:5", "above the upper one"),
        ("127.0.0.2:80 gate uthresold=5", 'did you mean "uthreshold"?'),
    ],
)
def test_real_servers_that_are_refused(load_text, value, expected):
    found = errors(load_text, f"{BLOCK}\treal={value}\n")
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("rest", "request_", "receive"),
    [
        ('1 "a", "b"', b"/a", b"b"),
        ('1 "a" "b"', b"/a", b"b"),
        ('1 "a","b"', b"/a", b"b"),
        ('1 "a"  ,  "b"', b"/a", b"b"),
        ('1 "/a", "b"', b"/a", b"b"),
        ('"a", "b 5"', b"/a", b"b 5"),
        ('1 request="/x y" receive="#z"', b"/x y", b"#z"),
        ("", b"/main", b"m"),
    ],
)
def test_request_and_receive_of_one_real_server(load_text, rest, request_, receive):
    text = f'{BLOCK}\trequest="main"\n\treceive="m"\n\treal=127.0.0.2:80 gate {rest}\n'
    check = load_text(text).virtuals[0].reals[0].check
    assert (check.request, check.receive) == (request_, receive)


def test_an_absolute_request_asks_another_host(load_text):
    text = f'{BLOCK}\treal=127.0.0.2:80 gate 1 "http://127.0.0.9:81/z", "b"\n'
    check = load_text(text).virtuals[0].reals[0].check
    assert (str(check.address), check.port, check.request) == ("127.0.0.9", 81, b"/z")
    assert check.virtualhost == b"127.0.0.2"


@pytest.mark.parametrize(
    "rest", ["l:5 u:10", "u:10 l:5", '"l:5" "u:10"', "uthreshold=10 lthreshold=5"]
)
def test_thresholds_in_any_order(load_text, rest):
    (real,) = load_text(f"{BLOCK}\treal=127.0.0.2:80 gate {rest}\n").virtuals[0].reals
    assert (real.l_threshold, real.u_threshold) == (5, 10)


def test_the_last_of_two_equal_real_servers_counts_with_a_warning(load_text):
    config = load_text(f"{BLOCK}{REAL}\treal=127.0.0.2:80 gate 7\n")
    assert [r.weight for r in config.virtuals[0].reals] == [7]
    assert any("was listed on line 4 already" in w for w in config.warnings)


def test_ipip_reaches_the_other_family(load_text):
    (real,) = load_text(f"{BLOCK}\treal=[2001:db8::1]:80 ipip\n").virtuals[0].reals
    assert str(real.key) == "[2001:db8::1]:80"


@pytest.mark.parametrize(
    ("value", "key", "forwarding"),
    [
        ("127.0.0.3", "127.0.0.3:80", Forwarding.ROUTE),
        ("127.0.0.3:8080 masq", "127.0.0.3:8080", Forwarding.MASQ),
        ("127.0.0.3:http", "127.0.0.3:80", Forwarding.ROUTE),
        ('"127.0.0.1:80"', "127.0.0.1:80", Forwarding.ROUTE),
    ],
)
@pytest.mark.parametrize("where", ["global", "block"])
def test_fallbacks_that_load(load_text, value, key, forwarding, where):
    text = f"fallback={value}\n{BLOCK}" if where == "global" else f"{BLOCK}\tfallback={value}\n"
    fallback = load_text(text + REAL).virtuals[0].fallback
    assert (str(fallback.key), fallback.forwarding, fallback.weight) == (key, forwarding, 1)


@pytest.mark.parametrize("value", ["", '"', "127.0.0.1 80", "127.0.0.1 gate extra", "[::1]:80"])
def test_fallbacks_that_are_refused(load_text, value):
    assert len(errors(load_text, f"{BLOCK}{REAL}\tfallback={value}\n")) == 1


def test_a_global_fallback_serves_its_own_family_only(load_text):
    text = "fallback=127.0.0.1\nfallback6=[::1]\nvirtual6=[::2]:80\n\nvirtual=1.2.3.4:80\n"
    six, four = load_text(text).virtuals
    assert (str(six.fallback.key), str(four.fallback.key)) == ("[::1]:80", "127.0.0.1:80")


def test_a_global_fallback_serves_marks(load_text):
    (virtual,) = load_text("fallback=127.0.0.1:80\nvirtual=7\n").virtuals
    assert str(virtual.fallback.key) == "127.0.0.1:80"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("request=index.html", 'write request="index.html"'),
        ("request='x'", 'write request="x"'),
        ("request=“x”", 'write request="x"'),
        ('request=""', "is empty"),
        ('receive=""', "is empty"),
        ('receive="(a"', "bad regular expression"),
        ('receive="[[:^alpha:]]"', "the class [:^alpha:] is not understood"),
        (r'receive="a\x{263a}"', r"\x{263a} is more than a byte: write the character itself"),
        ('receive="a', "the closing one is missing"),
        ("checktype=connect3", 'did you mean "connect"?'),
        ("service=HTTP", 'did you mean "http"?'),
        ("service=smtps", "unknown service smtps"),
        ("service=mysql", "needs login= and request=; or use checktype=connect"),
        ("service=http_proxy", "needs request="),
        ('request="relative"\n\tservice=http_proxy', "is a whole URL, http://HOST/PATH"),
        ('request="two words"\n\tservice=dns', "a name or an address, not two words"),
        ("login=x", 'write login="x"'),
        ('login=""', "is empty"),
        ("checkcommand=check", "needs a program with its whole path"),
        ("scheduler=WLC", 'did you mean "wlc"?'),
        ("scheduler=Wlc", 'did you mean "wlc"?'),
        ("scheduler=wlc2", 'did you mean "wlc"?'),
        ("persistent=yes", "needs a whole number"),
        ("netmask=255.0.255.0", "netmask needs"),
        ("netmask=33", "netmask needs"),
        ("protocol=fwm", "protocol=fwm is for firewall marks"),
        ("protocol=icmp", "unknown protocol icmp"),
        ("checkport=nosuch", "nosuch is not known for tcp"),
        ("checkport=-1", "must be a number from 1 to 65535"),
        ("checkport=65536", "must be a number from 1 to 65535"),
        ("checkport=0", "must be a number from 1 to 65535"),
        ("connecttimeout=3", "write negotiatetimeout="),
        ("readdquiescent=yes", "is global only"),
        ("autoreload=yes", "is global only"),
        ("interface=eth0", "belongs in a vrrp= block, not in a virtual= block"),
        ("httpmethod=POST", "unknown httpmethod POST"),
        ("schedflags=sh-ports", 'did you mean "sh-port"?'),
        ("cafile=nosuch", "needs a path"),
        ("scheduler=rr–", "typographic dash"),
        ("scheduler=\u00a0rr", "no-break space"),
    ],
)
def test_members_that_are_refused(load_text, line, expected):
    found = errors(load_text, f"{BLOCK}{REAL}\t{line}\n")
    assert any(expected in e for e in found), found


def one(load_text, line, head=BLOCK):
    (virtual,) = load_text(f"{head}{REAL}\t{line}\n").virtuals
    return virtual


def test_members_that_load(load_text):
    assert one(load_text, 'request="index.html"').reals[0].check.request == b"/index.html"
    assert one(load_text, 'receive="a"b"').reals[0].check.receive == b'a"b'
    assert one(load_text, 'receive="é"').reals[0].check.receive == "é".encode()
    assert one(load_text, "checktype=connect foo").reals[0].check.kind is CheckKind.CONNECT
    assert one(load_text, 'checktype="connect"').reals[0].check.kind is CheckKind.CONNECT
    assert one(load_text, 'scheduler="wlc"').service.scheduler == "wlc"
    assert one(load_text, "persistent=10m").service.timeout == 10
    assert not one(load_text, "persistent=0").service.flags
    assert one(load_text, "persistent=9\n\tnetmask=24").service.prefixlen == 24
    assert one(load_text, "persistent=9\n\tnetmask=255.255.255.0 ").service.prefixlen == 24
    assert one(load_text, "protocol=sctp\n\tchecktype=ping").key.protocol is Protocol.SCTP
    assert not one(load_text, "ops=yes").service.flags & ServiceFlag.ONEPACKET
    assert one(load_text, "checkport=81").reals[0].check.port == 81
    assert one(load_text, "checkport=http-alt").reals[0].check.port == 8080
    assert one(load_text, "httpmethod=head").reals[0].check.method == "HEAD"
    assert one(load_text, 'virtualhost="a#b"').reals[0].check.virtualhost == b"a"


def test_bytes_that_are_no_utf8_survive_in_receive(load_text):
    text = BLOCK.encode() + REAL.encode() + b'\treceive="\xff\xe9"\n'
    config = load_text(text)
    assert re.fullmatch(config.virtuals[0].reals[0].check.receive, b"\xff\xe9")
    assert render(config).encode()  # any file or terminal can take it


def test_bytes_that_are_no_utf8_are_percent_encoded_in_request(load_text):
    text = BLOCK.encode() + REAL.encode() + b'\trequest="/\xff\xc3\xa9"\n'
    assert load_text(text).virtuals[0].reals[0].check.request == b"/%FF\xc3\xa9"


def test_other_values_must_be_utf8(load_text):
    assert "no UTF-8 text" in errors(load_text, 'logfile="/\udcff"\n')[0]


@pytest.mark.parametrize(
    ("globals_", "members", "connect", "negotiate"),
    [
        ("checktimeout=3", "negotiatetimeout=8", 8, 8),
        ("negotiatetimeout=7", "checktimeout=2", 2, 2),
        ("checktimeout=3\nnegotiatetimeout=7", "", 3, 7),
        ("", "", 5, 30),
        ("checktimeout=3", "", 3, 3),
    ],
)
def test_timeouts_have_ldirectords_precedence(load_text, globals_, members, connect, negotiate):
    for kind, seconds in (("connect", connect), ("negotiate", negotiate)):
        text = f"{globals_}\n{BLOCK}{REAL}\tchecktype={kind}\n"
        text += f"\t{members}\n" if members else ""
        assert load_text(text).virtuals[0].reals[0].check.timeout == seconds


def test_the_connects_of_a_mixed_check_have_the_checktimeout(load_text):
    text = f"checktimeout=2\nnegotiatetimeout=12\n{BLOCK}{REAL}\tservice=%s\n\tchecktype=%s\n"
    for service, checktype, negotiate, connect in (
        ("http", 3, 12, 2),
        ("ldap", 3, 2, 2),
        ("http", "negotiate", 12, 5),  # none asks, so that equal checks stay equal
    ):
        config = load_text(text % (service, checktype))
        check = config.virtuals[0].reals[0].check
        assert (check.timeout, check.connect_timeout) == (negotiate, connect)
        assert load_text(render(config)) == config


def test_checkcount_counts_failures_and_pings(load_text):
    virtual = one(load_text, "checkcount=3\n\tchecktype=ping")
    assert (virtual.fall, virtual.reals[0].check.attempts) == (3, 3)
    assert one(load_text, "checkcount=3\n\tfailurecount=2").fall == 2
    assert one(load_text, "checkcount=3", head=f"failurecount=4\n{BLOCK}").fall == 4


def test_each_of_several_pings_has_the_timeout_to_itself(load_text):
    check = one(load_text, "checkcount=3\n\tchecktimeout=2\n\tchecktype=ping").reals[0].check
    assert (check.timeout, check.attempts) == (6, 3)
    # What is not a ping is asked once, within the timeout as it is written.
    check = one(load_text, "checkcount=3\n\tchecktimeout=2\n\tchecktype=connect").reals[0].check
    assert (check.timeout, check.attempts) == (2, 1)


def test_a_global_after_a_block_still_applies_to_it(load_text):
    config = load_text(f"{BLOCK}{REAL}\ncheckinterval=7\n")
    assert config.virtuals[0].reals[0].check.interval == 7


def test_servers_that_are_never_checked_are_announced(load_text):
    config = load_text("virtual=1.2.3.4:8080\n\treal=127.0.0.2:8080 gate\n")
    assert config.virtuals[0].reals[0].check.kind is CheckKind.ON
    assert any("never checked" in w for w in config.warnings)


def test_a_service_that_cannot_be_asked_is_never_silently_up(load_text):
    found = errors(load_text, "virtual=1.2.3.4:3306\n\treal=127.0.0.2:3306 gate\n")
    assert "service=mysql (port 3306 means mysql) needs login= and request=" in found[0]


def test_quiescent_unset_means_yes_with_a_notice(load_text):
    config = load_text(f"virtual=1.2.3.4:80\n{REAL}")
    assert config.virtuals[0].quiescent
    assert any("quiescent is not set" in w for w in config.warnings)


def test_a_repeated_directive_warns_and_the_last_wins(load_text):
    config = load_text(f"checkinterval=3\ncheckinterval=4\n{BLOCK}{REAL}")
    assert config.virtuals[0].reals[0].check.interval == 4
    assert any("was given on line 1 already" in w for w in config.warnings)


def test_columns_point_at_the_offending_value(load_text):
    with pytest.raises(ConfigError) as caught:
        load_text(f'{BLOCK}{REAL}\treceive="ab(c"\n\treal=127.0.0.3:80 gate 1 nonsense\n')
    places = [(d.line, d.column) for d in caught.value.errors]
    assert places == [(5, 13), (6, 27)]


def test_unindented_members_with_globals_and_mistakes_among_them(load_text):
    text = """\
vrrp=a
interface=eth0
virtual_router_id=5
  virtualrouterid=5
address=1.2.3.4

priority=7
autoreload=yes
version=2
"""
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    found = {d.line: d.text for d in caught.value.errors}
    assert sorted(found) == [2, 3, 5, 6, 7, 8, 9]
    assert 'did you mean "virtualrouterid"?' in found[3]
    assert "the blank line 6" in found[6]
    assert "move it above the block" in found[8]
    assert all("indent this line" in found[n] for n in (2, 5, 7, 9))


def test_globals_below_a_block_are_globals(load_text):
    config = load_text(f"{BLOCK}{REAL}\ncheckcount=3\nautoreload=yes\n")
    assert config.virtuals[0].fall == 3
    assert config.autoreload


def test_a_global_fallback_that_no_service_can_use_is_announced(load_text):
    config = load_text(f"fallback=[::1]\n{BLOCK}{REAL}")
    assert any("fallback has no effect: no service is IPv6" in w for w in config.warnings)


def test_receive_with_head_is_announced(load_text):
    line = 'httpmethod=HEAD\n\treal=127.0.0.3:80 gate 1 receive="x"\n'
    config = load_text(f"{BLOCK}{REAL}\t{line}")
    assert any("HEAD answer has no body" in w for w in config.warnings)
