"""What ldirectord misread is read as written, with one warning where the file has it."""

import pytest

BLOCK = "quiescent=yes\nvirtual=1.2.3.4:7777\n\treal=127.0.0.2:7777 gate\n"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (f"{BLOCK}\tservice=pop\n", "4:10: warning: without login= the greeting decides"),
        (f"{BLOCK}\tservice=ftp\n", "4:10: warning: without receive= nothing is fetched: the log"),
        (
            f'{BLOCK}\tservice=dns\n\trequest="a.example"\n',
            "4:10: warning: without receive= any record will do",
        ),
        (
            f"{BLOCK}\tchecktype=external\n\tcheckcommand=/bin/true\n",
            "5:15: warning: death by a signal is a failure",
        ),
        (
            f"{BLOCK}\tchecktype=on\n\treal=5.245.224.254->5.245.225.1:7777 gate\n",
            "5:7: warning: the range has 4 real servers (ldirectord makes none of it)",
        ),
        (
            f"{BLOCK.replace(':7777', ':080')}\tchecktype=on\n".replace("2:080", "2:80"),
            "2:9: warning: port 080 is port 80 (ldirectord finds no service for it); write 80",
        ),
        (
            f"{BLOCK}\tchecktype=on\n\treal=127.0.0.3:7777 gate 1 u:7 l:5\n",
            "5:7: warning: u: stands before l: and counts",
        ),
        (
            f"{BLOCK}\tchecktype=ping\n\tcheckcount=3\n",
            "5:13: warning: checkcount is read as failurecount=3 too, 3 echo requests in each",
        ),
        (
            "fallback=127.0.0.9:80\nquiescent=yes\nvirtual=7\n\tchecktype=on\n"
            "\treal=127.0.0.2:80 gate\n",
            "3:9: warning: the global fallback is used for this mark too",
        ),
    ],
)
def test_one_warning_says_what_is_otherwise_now(load_text, text, warning):
    (told,) = load_text(text).warnings

    assert told.startswith(f"t.conf:{warning}")


@pytest.mark.parametrize(
    "text",
    [
        f'{BLOCK}\tservice=pop\n\tlogin="joe"\n\tpasswd="x"\n',
        f'{BLOCK}\tservice=ftp\n\treceive="x"\n',
        BLOCK.replace("gate", 'gate 1 "a.txt", "x"') + "\tservice=ftp\n",
        f"{BLOCK}\tchecktype=on\n\treal=127.0.0.3->127.0.0.4:7777 gate 1 l:5 u:7\n",
        f"{BLOCK}\tchecktype=ping\n\tcheckcount=3\n\tfailurecount=3\n",
        "fallback=127.0.0.9:80\nquiescent=yes\nvirtual=7\n\tchecktype=on\n"
        "\treal=127.0.0.2:80 gate\n\tfallback=127.0.0.8:80\n",
    ],
)
def test_a_block_that_says_it_all_has_no_warning(load_text, text):
    assert load_text(text).warnings == ()
