"""What the check directives of a block become, service by service."""

import importlib.util

import pytest

from lvsd.config import ConfigError, render
from lvsd.config.negotiate import SERVICES, shaped, unshaped
from lvsd.core.model import CheckKind, Protocol

#: What a service must be told.
NEEDS = {
    **dict.fromkeys(("mysql", "pgsql", "oracle"), 'login="joe"\n\trequest="select 1"\n\t'),
    "radius": 'login="joe"\n\tsecret="s"\n\t',
    "http_proxy": 'request="http://a.example/"\n\t',
}


def block(lines="", virtual="1.2.3.4:7777", real="127.0.0.2:7777 masq"):
    """A virtual with one real server and these members."""
    members = "".join(f"\t{line.strip()}\n" for line in lines.splitlines() if line.strip())
    return f"quiescent=yes\nvirtual={virtual}\n{members}\treal={real}\n"


def check(load_text, *words, **places):
    """The check of the real server of a block."""
    return load_text(block(*words, **places)).virtuals[0].reals[0].check


def warnings(load_text, *words, **places):
    return load_text(block(*words, **places)).warnings


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_written_out_is_asked(load_text, service):
    made = check(load_text, f"{NEEDS.get(service, '')}service={service}")
    assert (made.kind.value, made.port) == (service, 7777)


@pytest.mark.parametrize("service", [name for name in SERVICES if SERVICES[name].port])
def test_the_port_of_a_virtual_tells_the_service(load_text, service):
    virtual = f"1.2.3.4:{SERVICES[service].port}"
    made = check(load_text, NEEDS.get(service, ""), virtual=virtual, real="127.0.0.2:81 masq")
    assert (made.kind.value, made.port) == (service, 81)


@pytest.mark.parametrize("service", [name for name in SERVICES if SERVICES[name].port])
def test_a_real_server_without_port_is_asked_at_that_of_the_service(load_text, service):
    text = f"{NEEDS.get(service, '')}service={service}"
    made = check(load_text, text, virtual="7", real="127.0.0.2 gate")
    assert made.port == SERVICES[service].port


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_does_not_use_is_told_and_left_out(load_text, service):
    unused = {"login", "passwd", "database", "secret", "receive"} - SERVICES[service].uses
    lines = "".join(f'{name}="x"\n\t' for name in sorted(unused))
    text = f"{NEEDS.get(service, '')}{lines}service={service}"
    assert check(load_text, text) == check(load_text, f"{NEEDS.get(service, '')}service={service}")
    told = warnings(load_text, text)
    for name in unused:
        assert any(f"{name} has no effect in a check of {service}" in line for line in told)


STARTTLS = [name for name, known in SERVICES.items() if "starttls" in known.uses]
starttls_service = pytest.mark.parametrize("service", STARTTLS)


@starttls_service
def test_a_service_in_the_clear_is_asked_for_tls_on_request(load_text, service):
    text = f"{NEEDS.get(service, '')}service={service}\n\tvirtualhost=h.example\n\t"
    plain, tls = check(load_text, text), check(load_text, text + "starttls=yes")
    assert (plain.starttls, plain.virtualhost) == (False, b"")
    assert (tls.starttls, tls.verify, tls.virtualhost) == (True, False, b"h.example")
    told = [" ".join(warnings(load_text, text + more)) for more in ("", "starttls=yes")]
    assert "virtualhost has no effect without starttls=yes" in told[0]
    assert f"certificates of {service} checks are not verified" in told[1]
    assert "virtualhost has no effect" not in told[1]


@starttls_service
def test_to_verify_means_starttls(load_text, service, tmp_path):
    (tmp_path / "ca").touch()
    text = f"{NEEDS.get(service, '')}service={service}\n\tverify=yes\n\tcafile={tmp_path}/ca\n\t"
    made = check(load_text, text)
    assert (made.starttls, made.verify, made.cafile) == (True, True, f"{tmp_path}/ca")
    assert not [line for line in warnings(load_text, text) if "with ldirectord" not in line]
    config = load_text(block(text))
    assert load_text(render(config)) == config
    with pytest.raises(ConfigError, match="verify=yes needs TLS, which starttls=no forbids"):
        load_text(block(text + "starttls=no"))


def test_what_is_inside_tls_already_is_not_asked_for_it(load_text):
    text = "service=https\n\tstarttls=yes"
    assert not check(load_text, text).starttls
    assert "starttls has no effect in a check of https" in " ".join(warnings(load_text, text))


@pytest.mark.parametrize("service", SERVICES)
def test_the_normal_form_of_every_service_loads_back(load_text, service):
    text = f"{NEEDS.get(service, '')}service={service}"
    if "login" in SERVICES[service].uses:
        text = f'login="joe"\n\tpasswd="a # \'b"\n\t{text}'
    config = load_text(block(text, virtual="1.2.3.4:7777", real="127.0.0.2:81 masq"))
    assert load_text(render(config)) == config


@pytest.mark.parametrize(
    ("real", "port"),
    [("127.0.0.2:81 gate", 81), ("127.0.0.2:81 ipip", 81), ("127.0.0.2 masq", 0), ("127.0.0.2", 0)],
)
@pytest.mark.parametrize("kind", ["http", "external"])
def test_the_port_as_written_survives_the_normal_form(load_text, real, port, kind):
    words = {"http": "service=http", "external": "checktype=external\n\tcheckcommand=/bin/true"}
    line = real if " " in real else f"{real} gate 1 checkport=82"
    config = load_text(block(words[kind], virtual="1.2.3.4:80", real=line))
    (server,) = config.virtuals[0].reals
    assert (server.port, server.key.port) == (port, 80)
    assert f"real={real}" in render(config)
    assert load_text(render(config)) == config


@pytest.mark.parametrize(
    ("service", "library"), [("mysql", "aiomysql"), ("pgsql", "asyncpg"), ("oracle", "oracledb")]
)
def test_a_missing_library_is_an_error_that_names_the_extra(
    load_text, monkeypatch, service, library
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        load_text(block(f"{NEEDS[service]}service={service}"))
    (error,) = caught.value.errors
    assert f"needs the library {library}: pip install 'lvsd[{service}]'" in error.text
    assert (error.line, error.column) == (5, 10)


@pytest.mark.parametrize(
    ("protocol", "service", "carrier"),
    [
        ("tcp", "dns", Protocol.TCP),
        ("udp", "dns", Protocol.UDP),
        ("tcp", "sip", Protocol.TCP),
        ("udp", "sip", Protocol.UDP),
        ("udp", "simpletcp", Protocol.UDP),
        ("tcp", "radius", Protocol.UDP),
        ("udp", "http", Protocol.TCP),
    ],
)
def test_the_protocol_of_the_virtual_carries_the_question(load_text, protocol, service, carrier):
    text = f"{NEEDS.get(service, '')}service={service}\n\tprotocol={protocol}"
    assert check(load_text, text).protocol is carrier


def test_a_mark_is_asked_for_dns_by_udp_and_for_sip_by_tcp_as_ldirectord_does(load_text):
    place = {"virtual": "7", "real": "127.0.0.2:99 gate"}
    assert check(load_text, "service=dns", **place).protocol is Protocol.UDP
    assert check(load_text, "service=sip", **place).protocol is Protocol.TCP


@pytest.mark.parametrize("service", ["ftp", "sip"])
@pytest.mark.parametrize("written", ["", "service={0}"])
def test_the_default_account_does_not_depend_on_how_the_service_is_told(
    load_text, service, written
):
    made = check(load_text, written.format(service), virtual=f"1.2.3.4:{SERVICES[service].port}")
    expected = {"ftp": (b"anonymous", b"ldirectord@dir1"), "sip": (b"ldirectord@dir1", b"")}
    assert (made.login, made.passwd) == expected[service]


@pytest.mark.parametrize(
    ("service", "lone", "seconds"),
    [("http", "", 7), ("smtp", "", 7), ("ldap", "", 3), ("ldaps", "", 3), ("radius", "", 3)],
)
def test_ldap_and_radius_have_the_checktimeout_as_in_ldirectord(load_text, service, lone, seconds):
    text = f"{NEEDS.get(service, '')}service={service}"
    config = load_text("checktimeout=3\nnegotiatetimeout=7\n" + block(text))
    assert config.virtuals[0].reals[0].check.timeout == seconds


def test_a_bind_needs_both_login_and_passwd(load_text):
    made = check(load_text, 'service=ldap\nlogin="cn=x"')
    assert (made.login, made.passwd) == (b"", b"")
    told = warnings(load_text, 'service=ldap\nlogin="cn=x"')
    assert any("login alone does not count" in line for line in told)


@pytest.mark.parametrize(
    ("kind", "text", "request_"),
    [
        ("http", "a b", b"/a b"),
        ("ftp", "file", b"/file"),
        ("dns", "/www.example.com", b"www.example.com"),
        ("ldap", "dc=example", b"dc=example"),
        ("ldap", "/", b""),
        ("simpletcp", "//x", b"/x"),
        ("simpletcp", "GET\\n", b"GET\\n"),
        ("mysql", "/select 1", b"select 1"),
        ("http_proxy", "/http://a/", b"http://a/"),
    ],
)
def test_a_leading_slash_belongs_to_paths_only(kind, text, request_):
    kind = CheckKind(kind)
    assert shaped(kind, text) == request_
    assert shaped(kind, unshaped(kind, request_).decode()) == request_


def external(load_text, line, **places):
    return check(load_text, f"checktype=external\n{line}", **places).command


def test_an_external_check_gets_ldirectords_four_arguments(load_text):
    line = "checkcommand=/bin/true"
    tail = ("/bin/true", "1.2.3.4", "80", "127.0.0.2", "8080")
    places = {"virtual": "1.2.3.4:80", "real": "127.0.0.2:8080 gate"}
    assert external(load_text, line, **places) == tail
    places = {"virtual": "7", "real": "127.0.0.2 gate"}
    assert external(load_text, line, **places) == ("/bin/true", "7", "0", "127.0.0.2", "0")
    places = {"virtual": "[::1]:80", "real": "[::2]:80 masq"}
    assert external(load_text, line, **places) == ("/bin/true", "[::1]", "80", "[::2]", "80")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("/bin/true", ("/bin/true",)),
        ('"/bin/true"', ("/bin/true",)),
        ("/bin/true -v x", ("/bin/true", "-v", "x")),
        ('"/bin/true -v x"', ("/bin/true", "-v", "x")),
        ('/bin/true "two words"', ("/bin/true", "two words")),
    ],
)
def test_a_checkcommand_may_carry_arguments(load_text, value, words):
    assert external(load_text, f"checkcommand={value}")[:-4] == words
    told = warnings(load_text, f"checktype=external\ncheckcommand={value}")
    assert any("ldirectord would look for a file" in line for line in told) is (len(words) > 1)


def test_a_program_without_a_path_is_one_of_the_systems(load_text):
    program, *words = external(load_text, "checkcommand=true -v")[:-4]
    assert (program.rpartition("/")[2], words) == ("true", ["-v"])
    assert program.startswith(("/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"))
    with pytest.raises(ConfigError, match="or the name of one in /usr/sbin:/usr/bin:/sbin:/bin"):
        external(load_text, "checkcommand=./true")


def test_a_path_with_a_blank_is_a_path_when_there_is_such_a_file(load_text, tmp_path):
    program = tmp_path / "my check"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = block(f'checktype=external\ncheckcommand="{program}"')
    config = load_text(text)
    assert config.virtuals[0].reals[0].check.command[0] == str(program)
    program.unlink()
    assert load_text(render(config)) == config


def test_a_program_that_is_not_there_is_told(load_text):
    told = warnings(load_text, "checktype=external\ncheckcommand=/no/such")
    assert any("/no/such can't be run: the real servers will be down" in line for line in told)


def test_external_without_checkcommand_is_told(load_text):
    assert external(load_text, "")[0] == "/bin/true"
    assert any("always passes" in line for line in warnings(load_text, "checktype=external"))


def test_secrets_stay_out_of_the_repr(load_text):
    text = 'service=radius\nlogin="joe"\npasswd="hidden1"\nsecret="hidden2"'
    assert "hidden" not in repr(check(load_text, text))


def policy(load_text, *words, **places):
    """(watch, failfast) of a block."""
    virtual = load_text(block(*words, **places)).virtuals[0]
    return virtual.watch, virtual.failfast


def test_real_servers_are_watched_where_a_block_or_all_of_them_say_so(load_text):
    assert policy(load_text, "checktype=connect") == (False, False)
    assert policy(load_text, "checktype=connect\nwatch=yes") == (True, False)
    assert policy(load_text, "checktype=connect\nwatch=yes\nfailfast=yes") == (True, True)
    text = "watch=yes\nfailfast=yes\n" + block("checktype=connect\nfailfast=no")
    (virtual,) = load_text(text).virtuals
    assert (virtual.watch, virtual.failfast) == (True, False)


def test_failfast_without_watch_is_told(load_text):
    text = "checktype=connect\nfailfast=yes"
    assert policy(load_text, text) == (False, False)
    assert any("without watch=yes" in w for w in warnings(load_text, text))


@pytest.mark.parametrize(
    "words", ["checktype=ping", "checktype=on", "protocol=udp\n\tservice=dns", "checktype=external"]
)
def test_what_is_not_asked_over_tcp_is_not_watched(load_text, words):
    assert policy(load_text, f"{words}\nwatch=yes") == (False, False)
    assert any("watch has no effect" in w for w in warnings(load_text, f"{words}\nwatch=yes"))
    assert not any("watch" in w for w in load_text("watch=yes\n" + block(words)).warnings)


def test_there_are_64_check_workers_at_most(load_text):
    assert load_text(f"checkers=64\n{block('checktype=connect')}").checkers == 64
    with pytest.raises(ConfigError, match="checkers"):
        load_text(f"checkers=65\n{block('checktype=connect')}")
