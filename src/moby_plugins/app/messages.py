"""Messages made from a method's signature, as ``pluginrpc-gen`` makes them (protocol.md B0).

Names of parameters are title-cased on the wire, and ``id`` is ``ID``. One
parameter that is an attrs class is the whole message by itself.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, get_type_hints

import attrs

from moby_plugins.app import wire

_ORDINARY = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


class Signature:
    """The arguments and the result of ``function``, a method called ``method`` on the wire.

    Raises ``TypeError`` for a function that cannot be one: each parameter is an
    ordinary one with a type, and the result has a type.
    """

    def __init__(self, function: Callable[..., Any], method: str) -> None:
        self._function = function
        self._method = method
        signature = inspect.signature(function)
        self._parameters = dict(list(signature.parameters.items())[1:])
        for name, parameter in self._parameters.items():
            if parameter.kind not in _ORDINARY:
                raise TypeError(f"{method}: {parameter} is no ordinary parameter")
            if parameter.annotation is inspect.Parameter.empty:
                raise TypeError(f"{method}: parameter {name!r} needs a type")
        if signature.return_annotation is inspect.Signature.empty:
            raise TypeError(f"{method}: the result needs a type, None where there is no result")

    @property
    def takes_nothing(self) -> bool:
        """Whether there are no parameters."""
        return not self._parameters

    @property
    def returns(self) -> Any:
        """The type of the result; ``TypeError`` where its name is not known (yet)."""
        return self._hints["return"]

    def pack(self, arguments: tuple[Any, ...]) -> Any:
        """The arguments, in order, as one message."""
        if self._whole is not None:
            return arguments[0]
        return dict(zip(map(title_argument, self._parameters), arguments, strict=True))

    def unpack(self, body: bytes) -> tuple[Any, ...]:
        """The arguments in a message; ``WireError`` where it is none."""
        message = wire.decode(body, self._whole or self._message_type)
        if self._whole is not None:
            return (message,)
        return tuple(getattr(message, name) for name in self._parameters)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self._function)
        except NameError as error:
            raise TypeError(f"{self._method}: {error}") from error

    @cached_property
    def _whole(self) -> Any:
        kinds = [self._hints[name] for name in self._parameters]
        return kinds[0] if len(kinds) == 1 and attrs.has(kinds[0]) else None

    @cached_property
    def _message_type(self) -> type:
        return message_class(
            self._method,
            {
                name: (title_argument(name), self._hints[name], parameter.default)
                for name, parameter in self._parameters.items()
            },
        )


def message_class(method: str, fields: Mapping[str, tuple[str, Any, Any]]) -> type:
    """An attrs class for one message: field to (name on the wire, type, default if any)."""
    return attrs.make_class(
        wire.title(method.replace(".", "_")),
        {
            name: attrs.field(
                type=kind,
                metadata={"wire": key},
                default=attrs.NOTHING if default is inspect.Parameter.empty else default,
            )
            for name, (key, kind, default) in fields.items()
        },
        frozen=True,
        kw_only=True,
    )


def wired(name: str) -> dict[str, Any]:
    """Metadata for an attrs field that is called ``name`` on the wire."""
    return {"wire": name}


def omitempty(name: str = "") -> dict[str, Any]:
    """The same for one that is left out where its value is empty, zero or false."""
    return {"omitempty": True} | ({"wire": name} if name else {})


def title_argument(name: str) -> str:
    """A parameter's name on the wire, where ``id`` is ``ID``: ``network_id`` is ``NetworkID``."""
    return "".join("ID" if part == "id" else wire.title(part) for part in name.split("_"))
