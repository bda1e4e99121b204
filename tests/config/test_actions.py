"""Mails, commands and records in the configuration: meaning, precedence, faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvsd.config import ConfigError, render
from lvsd.core.model import Actions, Alert, MailServer, Moment

from .conftest import Load

MAIL = "emailalert=a@example.org\nsmtp=mail.example.org\n"
BLOCK = "virtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate\n\tchecktype=connect\n"


def actions(load_text: Load, globals_: str = "", members: str = "") -> Actions:
    return load_text(f"{globals_}\n{BLOCK}{members}").virtuals[0].actions


def test_ldirectords_alert_words_of_the_globals_hold_for_every_block(load_text: Load) -> None:
    text = 'emailalert="a@example.org, b@example.org"\nemailalertfreq=60\nsmtp=mail.example.org\n'

    assert actions(load_text, text + "emailalertstatus=running,stopping").alert == Alert(
        ("a@example.org", "b@example.org"),
        interval=60.0,
        moments=frozenset({Moment.RUNNING, Moment.STOPPING}),
        server=MailServer("mail.example.org"),
    )


def test_a_block_overrides_word_by_word(load_text: Load) -> None:
    alert = actions(
        load_text,
        "emailalert=a@example.org\nsmtp=one.example.org\nemailalertfreq=60",
        "\tsmtp=[2001:db8::25]:2525\n\temailalertstatus=none\n",
    ).alert

    assert alert == Alert(
        ("a@example.org",), "", 60.0, frozenset(), MailServer("2001:db8::25", 2525)
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.c, d@e.f root", ("a@b.c", "d@e.f", "root")),
        ('"Admin <a@b.c>"', ("a@b.c",)),
        ("Admin on Duty <a@b.c>, d@e.f", ("a@b.c", "d@e.f")),
        ('"Last, First" <a@b.c>, <d@e.f>', ("a@b.c", "d@e.f")),
    ],
)
def test_a_mail_address_may_have_a_name(
    load_text: Load, value: str, expected: tuple[str, ...]
) -> None:
    alert = actions(load_text, f"emailalert={value}").alert

    assert alert is not None
    assert alert.recipients == expected


def test_without_an_address_there_is_no_alert(load_text: Load) -> None:
    assert actions(load_text, "smtp=mail.example.org").alert is None


@pytest.mark.parametrize(("word", "port"), [("starttls", 587), ("tls", 465), ("no", 25)])
def test_encryption_chooses_the_port(load_text: Load, word: str, port: int) -> None:
    text = f"emailalert=a@example.org\nsmtp=mail.example.org\nsmtptls={word}"
    alert = actions(load_text, text).alert

    assert alert is not None
    assert (alert.server.tls, alert.server.port) == (word, port)


@pytest.mark.parametrize("line", ["/bin/echo a b", '"/bin/echo a b"', "/bin/echo 'a' b"])
def test_a_command_is_words_with_or_without_quotes_around_the_whole(
    load_text: Load, line: str
) -> None:
    assert actions(load_text, f"fallbackcommand={line}").fallbackcommand == ("/bin/echo", "a", "b")
    block = actions(load_text, "fallbackcommand=/bin/false", f"\tfallbackcommand={line}\n")
    assert block.fallbackcommand == ("/bin/echo", "a", "b")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fallbackcommand=/bin/echo x | mail", "t.conf:1:29: error: | needs a shell"),
        ("callback=/bin/echo $HOME", "t.conf:1:20: error: $ needs a shell"),
        ("callback=/bin/echo 'x", "no closing quotation"),
        ("emailalertstatus=running,stoping", 'did you mean "stopping"?'),
        ("emailalertstatus=none,running", "none stands alone"),
        ("emailalert=ops@example.org,<x>", "<x> is no mail address"),
        ("emailalert=ops@b Admin <a@b>", "ops@ is no mail address"),
        ("emailalert=ops@[", "ops@[ is no mail address"),
        ("emailalert=(ops@b", "(ops@b is no mail address"),
        ("emailalert=ops:", "ops: is no mail address"),
        ("emailalert=-oQ/tmp", "-oQ/tmp is no mail address"),
        ("smtp='mail'", "smtp needs HOST or HOST:PORT"),
        ("smtp=mail.example.org:0", "0 is no port"),
        ("smtppasswdfile=/no/such", "can't read /no/such: No such file"),
        ("execute=other.cf", "include=FILE"),
        ("maintenancedir=maintenance", "a path that starts with /"),
    ],
)
def test_faults_are_named_once_with_their_place(load_text: Load, line: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"{line}\n{BLOCK}virtual=192.0.2.2:80\n{BLOCK.partition(chr(10))[2]}")

    found = [str(error) for error in caught.value.errors]
    assert len(found) == 1, found
    assert expected in found[0]


def test_a_password_that_others_can_read_is_refused(load_text: Load, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    secret.chmod(0o644)

    with pytest.raises(ConfigError, match="only its owner may read it"):
        load_text(f"smtppasswdfile={secret}\n{BLOCK}")

    secret.chmod(0o600)
    load_text(f"smtppasswdfile={secret}\n{BLOCK}")


def test_a_program_that_is_not_there_is_a_warning(load_text: Load) -> None:
    config = load_text(f"callback=/no/such\n{BLOCK}")

    assert "/no/such is not there" in "".join(config.warnings)
    assert config.callback == ("/no/such",)


def test_a_login_at_the_mail_server_has_a_password(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "secret").touch(0o600)
    with pytest.raises(ConfigError, match="smtplogin needs smtppasswdfile"):
        load_text(f"{MAIL}smtplogin=lb\n{BLOCK}")

    text = f"{MAIL}smtppasswdfile={tmp_path}/secret\n{BLOCK}"
    assert "means nothing without smtplogin" in "".join(load_text(text).warnings)


def test_a_password_in_clear_is_warned_of(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "secret").touch(0o600)
    text = f"{MAIL}smtplogin=lb\nsmtppasswdfile={tmp_path}/secret\n{BLOCK}"

    assert "crosses the network in clear" in "".join(load_text(text).warnings)
    assert "in clear" not in "".join(load_text(f"smtptls=tls\n{text}").warnings)


def test_words_about_a_mail_server_mean_nothing_without_one(load_text: Load) -> None:
    config = load_text(f"emailalert=a@example.org\nsmtptls=tls\n{BLOCK}")

    assert "smtptls has no effect without smtp=" in "".join(config.warnings)
    assert config.virtuals[0].actions.alert == Alert(("a@example.org",))
    assert load_text(render(config)) == config


def test_quotes_around_the_name_alone_belong_to_the_sender(load_text: Load) -> None:
    found = actions(load_text, 'emailalert=a@example.org\nemailalertfrom="LB" <lb@example.org>')
    assert found.alert is not None
    assert found.alert.sender == '"LB" <lb@example.org>'


def test_a_remark_that_is_no_utf8_can_be_mailed_all_the_same(load_text: Load) -> None:
    config = load_text(BLOCK.encode() + b"\tcomment=caf\xe9\n\tservicename=\xff\n")
    does = config.virtuals[0].actions
    assert (does.comment, does.servicename) == ("caf\ufffd", "\ufffd")
    assert load_text(render(config).encode()) == config


@pytest.mark.parametrize(
    "lines",
    [
        'emailalert="#1@example.org o\'x@example.org"',
        "emailalert=a@example.org\nemailalertfrom=LB #1 <lb@example.org>",
        'emailalert=a@example.org\nemailalertfrom="LB – #1" <lb@example.org>',
        'emailalert=a@example.org\nemailalertfrom="Bär – #1"',
        f'{MAIL}smtplogin="lb#1"\nsmtppasswdfile=PRIVATE',
    ],
)
def test_a_hash_in_a_mails_words_survives_the_normal_form(
    load_text: Load, lines: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").touch(0o600)
    config = load_text(f"{lines.replace('PRIVATE', f'{tmp_path}/secret')}\n{BLOCK}")
    assert "#1" in str(config.virtuals[0].actions.alert)
    assert load_text(render(config)) == config


def test_a_hash_beside_quotes_is_refused_in_a_sender(load_text: Load) -> None:
    with pytest.raises(ConfigError, match="a # stands between them"):
        load_text(f'emailalert=a@example.org\nemailalertfrom="LB" #1\n{BLOCK}')


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"/bin/echo a")', ("/bin/echo a)",)),
        ("/bin/echo \"a#b\" 'c d'", ("/bin/echo", "a#b", "c d")),
        ("/bin/echo it\\'s", ("/bin/echo", "it's")),
        ("/bin/it\\'s", ("/bin/it's",)),
    ],
)
def test_the_words_of_a_command_survive_the_normal_form(
    load_text: Load, value: str, words: tuple[str, ...]
) -> None:
    config = load_text(f"callback={value}\nfallbackcommand={value}\n{BLOCK}")
    assert config.callback == config.virtuals[0].actions.fallbackcommand == words
    assert load_text(render(config)) == config


def test_the_normal_form_reads_back_the_same(load_text: Load, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    config = load_text(
        f"""
callback="/bin/echo changed"
maintenancedir=/etc/lvsd/maintenance
logstyle=ldirectord
emailalertfrom=Load Balancer <lb@example.org>
{BLOCK}	emailalert=a@example.org b@example.org
	emailalertfreq=60
	emailalertstatus=starting,running
	smtp=[2001:db8::25]
	smtptls=starttls
	smtplogin=lb
	smtppasswdfile={secret}
	fallbackcommand=/bin/echo "a b" c
	monitorfile="/var/log/checks"
	servicename=My shop
	comment=sells things
"""
    )

    assert load_text(render(config)) == config
