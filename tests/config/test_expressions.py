"""Regular expressions that are accepted, but not without a word."""

import pytest

STALL = "a repetition inside a repetition: a page that suits it fails and holds up other checks"


def told(load_text, receive):
    block = f'virtual=1.2.3.4:80\n\treal=1.2.3.5:80 gate\n\treceive="{receive}"\n'
    return [warning for warning in load_text(block).warnings if STALL in warning]


@pytest.mark.parametrize("receive", ["(a+)+$", "(?:x*y*)*", r"(\w*){20}", r"((\d|\w)+)+"])
def test_nested_repetition_is_told_with_its_place(load_text, receive):
    assert told(load_text, receive) == [f"t.conf:3:10: warning: {STALL}"]


@pytest.mark.parametrize("receive", ["a+b*", "(ok|fine)+", "(a+)", r"(a\+)+", r"(\d+,)+", "a{3}"])
def test_what_ends_in_time_is_not(load_text, receive):
    assert told(load_text, receive) == []
