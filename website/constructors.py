"""Tells the reader of docstrings which constructor attrs gives a class."""

from typing import Any

import griffe

# Of attrs' own functions, those that make a class.
MAKERS = {"frozen", "define"}


class Constructors(griffe.Extension):
    """Adds ``__init__`` to the classes that attrs makes, for their signatures and ``Args``."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Add it to ``cls``, where attrs does."""
        names = (str(each.value).partition("(")[0] for each in cls.decorators)
        made_by = {name.rpartition(".")[2] for name in names}
        if made_by & MAKERS and "__init__" not in cls.members:
            given = [
                _parameter(it) for it in cls.members.values() if isinstance(it, griffe.Attribute)
            ]
            first = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
            parameters = griffe.Parameters(first, *filter(None, given))
            cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))


def _parameter(attribute: griffe.Attribute) -> griffe.Parameter | None:
    """Return the parameter that sets ``attribute``, if one does."""
    if attribute.annotation is None or "ClassVar" in str(attribute.annotation):
        return None
    value = attribute.value
    default = None if value is None else str(value)
    kind = griffe.ParameterKind.positional_or_keyword
    if default and default.startswith("field("):
        field = _keywords(value)
        if field.get("init") == "False":
            return None
        factory = field.get("factory")
        default = field.get("default", factory and f"{factory}()")
        if field.get("kw_only") == "True":
            kind = griffe.ParameterKind.keyword_only
    name = attribute.name.lstrip("_")
    return griffe.Parameter(name, annotation=attribute.annotation, kind=kind, default=default)


def _keywords(call: Any) -> dict[str, str]:
    given = getattr(call, "arguments", ())
    return {it.name: str(it.value) for it in given if isinstance(it, griffe.ExprKeyword)}
