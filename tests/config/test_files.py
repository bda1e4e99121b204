"""Files: includes, globs, loops, and everything that can't be read."""

import hashlib
import os

import pytest

from lvsd.config import ConfigError, load, loads
from lvsd.config.addresses import Resolver
from lvsd.core.model import Protocol

VIRTUAL = "virtual=127.0.0.{}:80\n\tquiescent=yes\n"


def errors(path):
    with pytest.raises(ConfigError) as caught:
        load(path, node="dir1")
    return [str(d) for d in caught.value.errors]


def test_includes_of_files_and_globs_are_read_in_order(tmp_path):
    top = tmp_path / "lvsd.conf"
    (tmp_path / "conf.d").mkdir()
    top.write_text("include=lvsd-%n.conf\ninclude=conf.d/*.conf\n" + VIRTUAL.format(1))
    (tmp_path / "lvsd-dir1.conf").write_text("checkinterval=7\n")
    for n in (3, 2):
        (tmp_path / "conf.d" / f"{n}.conf").write_text(VIRTUAL.format(n))
    config = load(top, node="dir1")
    assert [str(v.key) for v in config.virtuals] == [f"127.0.0.{n}:80" for n in (2, 3, 1)]
    names = ["lvsd.conf", "lvsd-dir1.conf", "conf.d/2.conf", "conf.d/3.conf"]
    assert config.sources == tuple(str(tmp_path / name) for name in names)
    digest = hashlib.sha256(b"".join((tmp_path / name).read_bytes() for name in names))
    assert config.sha256 == digest.hexdigest()
    assert config.path == str(top)


def test_an_error_in_an_included_file_names_that_file(tmp_path):
    (tmp_path / "a").write_text("include=b\n")
    (tmp_path / "b").write_text("\nautoreload=maybe\n")
    (found,) = errors(tmp_path / "a")
    assert found.startswith(f"{tmp_path}/b:2:12: error: autoreload must be yes or no")


def test_a_circle_of_includes_is_one_error(tmp_path):
    (tmp_path / "a").write_text("include=b\n")
    (tmp_path / "b").write_text("include=a\n")
    (found,) = errors(tmp_path / "a")
    assert "in a circle" in found


def test_a_missing_include_is_an_error_and_an_empty_glob_a_warning(tmp_path):
    (tmp_path / "a").write_text("include=nothing\n")
    (found,) = errors(tmp_path / "a")
    assert (
        found
        == f"{tmp_path}/a:1:9: error: can't read {tmp_path}/nothing: No such file or directory"
    )
    (tmp_path / "a").write_text("include=*.none\nvirtual=1.2.3.4:80\n")
    assert any("no file matches" in w for w in load(tmp_path / "a").warnings)


def test_a_missing_file_a_folder_and_a_file_without_permission(tmp_path, monkeypatch):
    assert errors(tmp_path / "none") == [
        f"{tmp_path}/none:1:1: error: can't read {tmp_path}/none: No such file or directory"
    ]
    assert "Is a directory" in errors(tmp_path)[0]
    secret = tmp_path / "secret"
    secret.write_text("")
    secret.chmod(0)
    if os.geteuid() == 0:
        monkeypatch.setattr("builtins.open", _refuse)
    assert "Permission denied" in errors(secret)[0]


def _refuse(path, mode="r", opener=None):
    raise PermissionError(13, "Permission denied", path)


def test_a_folder_or_a_pipe_cannot_be_included(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_text("include=pipe\ninclude=.\n")
    assert [text.rpartition(": ")[2] for text in errors(tmp_path / "a")] == [
        "not a regular file",
        "Is a directory",
    ]


def test_a_binary_file_is_one_error(tmp_path):
    (tmp_path / "a").write_bytes(b"\x7fELF\n\0\0\n" + bytes(range(256)) * 100)
    assert errors(tmp_path / "a") == [
        f"{tmp_path}/a:2:1: error: this is a binary file (it holds NUL bytes)"
    ]


@pytest.mark.parametrize("data", [b"", b"\n", b"# nothing\n", b"\xef\xbb\xbf\r\n"])
def test_an_empty_file_is_an_error_for_it_may_be_a_truncated_one(data):
    with pytest.raises(ConfigError, match="nothing to do"):
        loads(data, "e.conf")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe"])
def test_a_pipe_or_a_device_is_refused_without_waiting(tmp_path, path):
    os.mkfifo(tmp_path / "pipe")
    (found,) = errors(tmp_path / path)
    assert found.endswith(f"can't read {tmp_path / path}: not a regular file")


def test_a_file_too_long_to_be_a_configuration_is_refused(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)
    (found,) = errors(tmp_path / "a")
    assert found.endswith(f"can't read {tmp_path}/a: longer than 64 MiB")


def test_a_log_file_in_a_missing_folder_is_told(tmp_path):
    config = loads(f'logfile="{tmp_path}/none/log"\nvirtual=1.2.3.4:80\n'.encode(), "l.conf")
    told = (
        f"l.conf:1:9: warning: the folder {tmp_path}/none does not exist: nothing is logged there"
    )
    assert told in config.warnings


def test_a_byte_order_mark_and_returns_are_dropped():
    assert loads(b"\xef\xbb\xbfautoreload=yes\r\nvirtual=1.2.3.4:80\r\n").autoreload


def test_the_errors_of_one_file_are_cut_at_fifty():
    with pytest.raises(ConfigError) as caught:
        loads(b"nonsense\n" * 120)
    found = caught.value.errors
    assert len(found) == 51
    assert found[-1].text == "and 70 more from here on"


def test_errors_come_in_the_order_of_lines():
    with pytest.raises(ConfigError) as caught:
        loads(b"virtual=1.2.3.4:99999\n\tscheduler=x\n\tservice=y\n\nautoreload=z\n")
    assert [d.line for d in caught.value.errors] == [1, 2, 3, 5]


def test_usual_port_names_are_known_without_a_services_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object) -> int:
        raise OSError("service/proto not found")

    monkeypatch.setattr("socket.getservbyname", missing)
    resolver = Resolver()

    assert resolver.port("http", Protocol.TCP) == 80
    assert resolver.port("domain", Protocol.UDP) == 53
    with pytest.raises(LookupError):
        resolver.port("tftp", Protocol.TCP)
