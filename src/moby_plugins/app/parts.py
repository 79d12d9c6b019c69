"""Checks of a plugin's parts, made when the plugin is put together.

A part is an implementation of a subsystem. It implements the methods that it overrides; a method
that it inherits unchanged is the host's proxy. Python accepts a method with wrong parameters or a
misspelt name, and the mistake would appear only when an engine calls, or never. Here it is a
``TypeError``.
"""

import inspect
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from typing import Any, Generic, TypeAlias

from moby_plugins.app.subsystem import (
    Described,
    RemoteMethod,
    Subsystem,
    is_asynchronous,
    remote_of,
)
from moby_plugins.domain.text import quoted

# The similarity of two names, from 0 to 1, from which one is taken for a misspelling.
_ALIKE = 0.85
_METHODS = (staticmethod, classmethod)

# A subsystem of either kind; and a function that says what is wrong with a method, or "".
Part: TypeAlias = Described[Any]
Flaw: TypeAlias = Callable[[Any, RemoteMethod], str]


def implemented(part: Part) -> list[RemoteMethod]:
    """Return the methods that ``part``, an implementation, overrides and so implements."""
    methods = [(remote, getattr(type(part), remote.name)) for remote in part.remotes.values()]
    return [remote for remote, method in methods if remote_of(method) is None]


def check_proxy(
    kind: type[Part], base: type[Part] = Subsystem, example: str = "VolumeDriver"
) -> None:
    """Raise ``TypeError``, with the reason, unless ``kind`` is a host's proxy of a subsystem.

    A proxy derives from ``base`` and overrides no method. A class that overrides a method is a
    plugin's implementation: its methods would run in the host instead of calling the plugin.
    """
    unchecked: object = kind  # the caller's program may not be type-checked
    if not (isinstance(unchecked, type) and issubclass(unchecked, base)):
        raise TypeError(
            f"implements takes a subsystem's name or its class, {example} for example, "
            f"not {quoted(unchecked)}"
        )
    if not kind.remotes:
        raise TypeError(f"{kind.__name__} is not a subsystem: it has no method marked @remote()")
    for remote in kind.remotes.values():
        if remote_of(getattr(kind, remote.name)) is None:
            raise TypeError(
                f"{kind.__name__} is a plugin's implementation, for it overrides "
                f"{remote.name}: give the subsystem's own class for a host's proxy"
            )


def plain_only(method: Any, _: RemoteMethod) -> str:
    """Return why ``PluginApp`` cannot serve an asynchronous method; "" for any other method."""
    # A method that is not a function may be an object with a ``__call__``.
    if any(map(is_asynchronous, (method, type(method).__call__))):
        return "is a coroutine ('async def'), and is called as a plain method"
    return ""


def check_part(
    part: Part,
    base: type[Part] = Subsystem,
    flaw: Flaw = plain_only,
    others: str = "is asynchronous: use AsyncPluginApp",
) -> None:
    """Raise ``TypeError``, with the reason, if ``part`` cannot be served.

    It cannot be served if it is a class instead of an instance; if it does not derive from ``base``
    (``others`` is the message for the other kind of subsystem); if it implements nothing; if a
    method has a ``flaw``, is a property, or cannot be called with the protocol's arguments; or if a
    name looks like a misspelling of a method that is missing.
    """
    if isinstance(part, type):
        raise TypeError(f"{part.__name__} is a class, not an instance: pass {part.__name__}()")
    if not isinstance(part, base):
        unchecked: object = part  # the caller's program may not be type-checked
        if isinstance(unchecked, Described):
            raise TypeError(f"{type(unchecked).__name__} {others}")
        raise TypeError(f"{quoted(part)} is not an implementation of a subsystem")
    methods = implemented(part)
    _check_names(part, {remote.name for remote in methods})
    if not methods:
        raise TypeError(f"{type(part).__name__} does not implement any method of a subsystem")
    for remote in methods:
        for name in remote.called:
            _check_method(part, name, remote, flaw)


def _check_method(part: Part, name: str, remote: RemoteMethod, flaw: Flaw) -> None:
    title = f"{type(part).__name__}.{name}"
    if isinstance(inspect.getattr_static(part, name), property):
        raise TypeError(f"{title} is a property, not a method")
    method = getattr(part, name)
    if not callable(method) or isinstance(method, type):
        raise TypeError(f"{title} is {type(method).__name__!r}, not a method")
    if wrong := flaw(method, remote):
        raise TypeError(f"{title} {wrong}")
    try:
        signature = inspect.signature(method)
    except ValueError:
        return  # a function in C without a signature cannot be checked
    arguments = remote.signature.names
    try:
        signature.bind(*arguments)
    except TypeError as error:
        wanted = ", ".join(("self", *arguments))
        raise TypeError(f"{title}{signature} cannot be called as ({wanted}): {error}") from error


def _check_names(part: Part, names: set[str]) -> None:
    missing = {remote.name: remote for remote in part.remotes.values() if remote.name not in names}
    known = {name for remote in part.remotes.values() for name in remote.called}
    helpers = {name for name in known if name not in missing and name not in names}
    for kind, name in _own_methods(part):
        if name in known:
            continue
        for wanted in (*missing, *helpers):
            spellings = {wanted, missing[wanted].wire if wanted in missing else wanted}
            if any(_nearly(name, spelling) for spelling in spellings):
                raise TypeError(
                    f"{kind.__name__}.{name} is not a method of {part.interface}:"
                    f" is {wanted} meant?"
                    " If it is a method of your own, begin its name with an underscore"
                )


def _own_methods(part: Part) -> Iterator[tuple[type, str]]:
    # Skip the classes that define the subsystem's methods: the others are the plugin author's.
    for kind in type(part).__mro__:
        if kind in {object, Generic, Described} or any(map(remote_of, vars(kind).values())):
            continue
        for name, value in vars(kind).items():
            # Callable objects count too, such as the result of ``lru_cache``.
            method = isinstance(value, _METHODS) or callable(value)
            if method and not (name.startswith("_") or isinstance(value, type)):
                yield kind, name


def _has_a_letter_twice(name: str, wanted: str) -> bool:
    return any(name == f"{wanted[:at]}{wanted[at - 1 :]}" for at in range(1, len(wanted) + 1))


def _nearly(name: str, wanted: str) -> bool:
    plain, other = (each.replace("_", "").lower() for each in (name, wanted))
    if plain == other or _has_a_letter_twice(plain, other):
        return True
    # A name that contains the other, such as mounts, remount or mount_all, is not a misspelling.
    if other in plain:
        return False
    # Two exchanged letters, which lower the ratio of a short name too much to be found below.
    if any(
        plain == f"{other[:at]}{other[at + 1]}{other[at]}{other[at + 2 :]}"
        for at in range(len(other) - 1)
    ):
        return True
    return SequenceMatcher(None, name, wanted).ratio() >= _ALIKE
