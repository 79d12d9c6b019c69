"""Types that tests send and read: classes of each kind, and some that unions must tell apart."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Self,
    TypedDict,
    TypeVar,
)

import attrs
from attrs import frozen
from typing_extensions import ReadOnly
from typing_extensions import TypedDict as ExtensionsTypedDict

T = TypeVar("T")
K = TypeVar("K")


@frozen
class Empty:
    """A class whose fields all have defaults."""

    note: str = ""


@frozen
class Usage:
    """A class with a required field."""

    size: int
    note: str = ""


@frozen
class Started:
    """A class that a literal distinguishes."""

    kind: Literal["started"]
    seconds: int = 0
    name: str = ""


@frozen
class Failed:
    """Another one, with fewer fields."""

    kind: Literal["failed"]
    seconds: int = 0


@frozen
class Names:
    """A class with an ``__iter__`` of its own is an object, not an array."""

    names: tuple[str, ...] = ()
    size: int = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


@frozen
class Box(Generic[T]):
    """A generic class."""

    item: T
    more: tuple[T, ...] = ()


@frozen
class Sizes(Box[int]):
    """A class that gives its base a type."""


@frozen
class Labelled(Box[list[K]], Generic[K]):
    """A generic class that gives its base a type with a variable of its own."""

    label: str = ""


@dataclass
class Disk:
    """A dataclass that may hold itself."""

    size: int
    parts: "list[Disk]" = field(default_factory=list)
    label: str = "disk"


@dataclass
class Crate(Generic[T]):
    """A generic dataclass."""

    item: T


@dataclass
class Crates(Crate[list[K]], Generic[K]):
    """A generic dataclass that inherits a field from another."""

    count: int = 0


class Listed(TypedDict, Generic[T]):
    """A generic typed dict."""

    items: list[T]
    note: NotRequired[str]


class Levels(Listed[int]):
    """A typed dict that gives its base a type."""

    level: int


class Scope(Enum):
    """An enumeration of texts."""

    LOCAL = "local"
    GLOBAL = "global"


class Access(IntFlag):
    """An enumeration whose members can be combined."""

    READ = 1
    WRITE = 2


class Number(Enum):
    """An enumeration of whole numbers."""

    ONE = 1


class Kind(Enum):
    """An enumeration that distinguishes classes."""

    ROUND = "round"
    SQUARE = "square"


@frozen
class Round:
    """A class that a member of an enumeration distinguishes."""

    size: int
    kind: Literal[Kind.ROUND] | None = Kind.ROUND


@frozen
class Square:
    """Another one, whose field has no default."""

    kind: Literal[Kind.SQUARE]


@frozen
class Bare(Box[int]):
    """A class with no field of its own, which ``attrs`` has made."""


class Plain(Box[int]):
    """A class that only derives from a generic attrs class."""


class Level(Enum):
    """An enumeration with ``None`` as a value."""

    LOW = "low"
    NONE = None


class Info(TypedDict):
    """A typed dict beside which a union has mappings."""

    Name: str


class Frozen(ExtensionsTypedDict):
    """A typed dict with a key that is not to be changed."""

    size: ReadOnly[int]


@dataclass
class Job:
    """A dataclass with a field that is not an argument."""

    name: str
    parsed: list[str] = field(init=False)


@frozen
class Double:
    """An attrs class with a field that is computed."""

    single: int
    double: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.single)


class OldDict(ExtensionsTypedDict):
    """A typed dict of ``typing_extensions``, which is a class of its own in some Pythons."""

    size: int
    label: NotRequired[str]


class Counted(str):
    """A text that counts how many were made, and is not bad."""

    made = 0
    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        cls.made += 1
        if text == "bad":
            raise ValueError("it is bad")
        return super().__new__(cls, text)


@frozen
class Not:
    """A class that is nested without end, like the other one."""

    of: "Not | Minus | Counted"


@frozen
class Minus:
    """A class that cannot be told from the other one by its keys."""

    of: "Not | Minus | Counted"
    sign: Literal["-"] = "-"


@frozen
class Lists:
    """A class that is nested without end in arrays of two kinds."""

    many: "tuple[Lists, ...] | list[Lists] | tuple[Counted, ...] | list[Counted]" = ()


class Slug(str):
    """A text of a class that refuses some texts."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if " " in text:
            raise ValueError("no spaces")
        return super().__new__(cls, text)


class Labels(dict[str, Any]):
    """A mapping of a class of its own."""


class Digest(bytes):
    """Bytes of a class of their own."""


Alias = NewType("Alias", Usage)


@frozen
class Notes:
    """Fields whose types are wrapped, one with metadata that has no hash."""

    usage: Annotated[Alias, {"unit": "bytes"}]
    size: Final[int] = 0
    many: tuple[Annotated[int, ["MiB"]], ...] = ()
