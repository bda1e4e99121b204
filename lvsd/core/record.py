"""`dataclass(frozen=True, slots=True)`, made in a third of the time.

The standard decorator writes six methods of each class as text and compiles them one by one. lvsd
has more than a hundred such classes, and that was a quarter of what it loads before it listens.
Here the three that must be quick are compiled in one go, when the first of them is called: main
never makes half of what it knows of. The others are the same for all classes.

To the type checker it is the standard decorator; `fields`, `replace`, `asdict` and patterns know
these classes as their own. A class that inherits, or has some of these methods itself, gets the
standard one's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from dataclasses import dataclass as standard
from typing import TYPE_CHECKING, Any, NoReturn

#: What is left to the standard decorator where a class has it.
_OWN = frozenset(("__post_init__", "__hash__", "__eq__", "__init__"))

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(**asked: bool) -> Callable[[type], type]:
        """The decorator; the standard one for whatever else is asked of it, or by the class."""

        def made(cls: type) -> type:
            plain = asked == {"frozen": True, "slots": True} and cls.__bases__ == (object,)
            if plain and not _OWN & vars(cls).keys():
                return _record(cls)
            return standard(**asked)(cls)

        return made


def _record(cls: type) -> type:
    # Without one the standard decorator would write the signature there, at some cost.
    cls.__doc__ = cls.__doc__ or cls.__name__
    made: Any = standard(init=False, repr=False, eq=False, slots=True)(cls)
    made.__init__, made.__hash__, made.__eq__ = _stubs(made)
    made.__repr__ = _repr
    made.__setattr__, made.__delattr__ = _set, _delete
    made.__getstate__, made.__setstate__ = _state, _restore
    return made  # type: ignore[no-any-return]


def _stubs(cls: type) -> tuple[Any, Any, Any]:
    """Stand in for the three methods until the first of them is called."""

    def compiled(name: str) -> Any:
        for method in _compiled(cls, fields(cls)):
            method.__qualname__ = f"{cls.__qualname__}.{method.__name__}"
            setattr(cls, method.__name__, method)
        return getattr(cls, name)

    def __init__(self: Any, *args: Any, **named: Any) -> None:
        compiled("__init__")(self, *args, **named)

    def __hash__(self: Any) -> int:
        return compiled("__hash__")(self)  # type: ignore[no-any-return]

    def __eq__(self: Any, other: Any) -> Any:
        return compiled("__eq__")(self, other)

    return __init__, __hash__, __eq__


def _compiled(cls: type, known: tuple[Field[Any], ...]) -> list[Any]:
    """`__init__`, `__hash__` and `__eq__`.

    The first writes through the slots, past the `__setattr__` that refuses.
    """
    names: dict[str, Any] = {"_unset": MISSING}
    arguments, lines = ["self"], []
    for field in known:
        name = field.name
        names[f"_set_{name}"] = getattr(cls, name).__set__
        if field.default is not MISSING:
            names[f"_default_{name}"] = field.default
            arguments.append(f"{name}=_default_{name}")
        elif field.default_factory is not MISSING:
            names[f"_default_{name}"] = field.default_factory
            arguments.append(f"{name}=_unset")
            lines.append(f" if {name} is _unset: {name} = _default_{name}()")
        else:
            arguments.append(name)
        lines.append(f" _set_{name}(self, {name})")
    compared = [field.name for field in known if field.compare]
    ours, theirs = (
        "(" + "".join(f"{which}.{name}," for name in compared) + ")" for which in ("self", "other")
    )
    text = f"def __init__({', '.join(arguments)}):\n" + ("\n".join(lines) or " pass")
    text += f"\ndef __hash__(self): return hash({ours})"
    text += "\ndef __eq__(self, other):\n if other.__class__ is not self.__class__:"
    text += f" return NotImplemented\n return {ours} == {theirs}"
    exec(text, names)
    return [names[name] for name in ("__init__", "__hash__", "__eq__")]


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _set(self: Any, name: str, value: Any) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    """For pickle and copy, which would assign."""
    return [getattr(self, field.name) for field in fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for field, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
