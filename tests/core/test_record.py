"""Records behave as the standard library's frozen data classes with slots."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, astuple, field, fields, is_dataclass, replace
from dataclasses import dataclass as standard
from typing import Any

import pytest

from lvsd.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Ours:
    """A record."""

    name: str
    weight: int = 1
    parts: list[int] = field(default_factory=list)
    secret: str = field(default="", repr=False)
    seen: float = field(default=0.0, compare=False)


@standard(frozen=True, slots=True)
class Theirs:
    """A record."""

    name: str
    weight: int = 1
    parts: list[int] = field(default_factory=list)
    secret: str = field(default="", repr=False)
    seen: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Empty:
    pass


@dataclass(frozen=True, slots=True)
class Key:
    part: tuple[int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Ordered:
    rank: int


BOTH: Any = pytest.mark.parametrize("kind", [Ours, Theirs])


@BOTH
def test_what_is_not_given_has_its_default(kind: Any) -> None:
    one, other = kind("a"), kind("b", 2, [3], secret="s", seen=1.5)

    assert astuple(one) == ("a", 1, [], "", 0.0)
    assert astuple(other) == ("b", 2, [3], "s", 1.5)
    assert one.parts is not kind("a").parts


@BOTH
def test_a_wrong_call_is_refused_by_name(kind: Any) -> None:
    with pytest.raises(TypeError, match=rf"{kind.__name__}.__init__\(\) missing .* 'name'"):
        kind()
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        kind("a", nonsense=1)


@BOTH
def test_equal_means_the_same_kind_and_values(kind: Any) -> None:
    assert kind("a", seen=1.0) == kind("a", seen=2.0)
    assert kind("a") != kind("b")
    assert kind("a") != ("a", 1, [], "")
    assert Key((1, 2)) == Key((1, 2))
    assert hash(Key((1, 2))) == hash(Key((1, 2))) != hash(Key((2, 1)))
    assert {Empty()} == {Empty()}


def test_each_method_works_as_the_first_that_is_called() -> None:
    def fresh() -> Any:
        @dataclass(frozen=True, slots=True)
        class Fresh:
            size: int

        one = object.__new__(Fresh)
        Fresh.size.__set__(one, 7)  # type: ignore[attr-defined]
        return one

    assert hash(fresh()) == hash((7,))
    one = fresh()
    assert one == copy.copy(one)
    assert type(fresh())(7).size == 7


@BOTH
def test_it_cannot_be_changed(kind: Any) -> None:
    one = kind("a")
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        one.name = "b"
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'name'"):
        del one.name
    assert not hasattr(one, "__dict__")


@BOTH
def test_the_library_of_data_classes_knows_it(kind: Any) -> None:
    one = kind("a", 2)
    assert is_dataclass(one)
    assert [f.name for f in fields(one)] == ["name", "weight", "parts", "secret", "seen"]
    assert replace(one, weight=3) == kind("a", 3)
    assert asdict(one)["weight"] == 2
    match one:
        case Ours(name, weight) | Theirs(name, weight):
            assert (name, weight) == ("a", 2)


@BOTH
def test_it_is_shown_without_what_is_not_to_be_shown(kind: Any) -> None:
    shown = f"{kind.__name__}(name='a', weight=1, parts=[], seen=0.0)"
    assert repr(kind("a", secret="s")) == shown


@BOTH
def test_copies_are_equal(kind: Any) -> None:
    one = kind("a", 2, [3], "s")
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == copy.copy(one) == one


def test_whatever_else_is_asked_for_is_the_standard_decorators() -> None:
    assert sorted([Ordered(2), Ordered(1)]) == [Ordered(1), Ordered(2)]
    assert (Ours.__doc__, Empty.__doc__) == ("A record.", "Empty")
