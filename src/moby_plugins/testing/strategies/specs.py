"""Specs as they are found in the wild: a text, and the plugin that it describes."""

import json
from typing import Any

from attrs import evolve, frozen
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.plugin import Plugin
from moby_plugins.testing.strategies.messages import json_values
from moby_plugins.testing.strategies.values import addresses, names, tls_options

_SPACE = st.text(" \t\r\n", max_size=3)
_TLS_KEYS = {
    "ca_file": "CAFile",
    "cert_file": "CertFile",
    "key_file": "KeyFile",
    "insecure_skip_verify": "InsecureSkipVerify",
    "exclusive_root_pools": "ExclusiveRootPools",
    "min_version": "MinVersion",
}


@frozen
class Spec:
    """The content of ``file`` for the plugin ``name``, and the ``plugin`` that it describes."""

    name: str
    file: str
    data: bytes
    plugin: Plugin


def specs() -> SearchStrategy[Spec]:
    """Specs of both kinds: ``.spec`` with space around, ``.json`` with keys in any case and more.

    A key may be absent or null where that means the same, others may be there,
    and something may follow the value.
    """
    return _plain_specs() | _json_specs()


@st.composite
def _plain_specs(draw: DrawFn) -> Spec:
    name = draw(names())
    addr = draw(addresses()).text
    # What stands at the ends of a path is lost: a .spec is read without the space around it.
    plugin = Plugin.local(name, addr.strip())
    text = draw(_SPACE) + addr + draw(_SPACE)
    return Spec(name, f"/etc/docker/plugins/{name}.spec", text.encode(), plugin)


@st.composite
def _json_specs(draw: DrawFn) -> Spec:
    name = draw(names())
    addr = draw(addresses()).text
    options = draw(st.none() | tls_options())
    others = st.sampled_from(["Name", "X", "Label"])
    content: dict[str, Any] = draw(st.dictionaries(others, json_values()))
    content[_spelled(draw, "Addr")] = addr
    if options is not None:
        content[_spelled(draw, "TLSConfig")] = _tls(draw, options)
        # Without a CA file verification is off, whatever the spec says (protocol.md A2).
        skip = options.insecure_skip_verify or not options.ca_file
        options = evolve(options, insecure_skip_verify=skip)
    elif draw(st.booleans()):
        content[_spelled(draw, "TLSConfig")] = None
    text = draw(_SPACE) + json.dumps(content, ensure_ascii=draw(st.booleans()))
    data = (text + draw(st.sampled_from(["", "\n", " {}", "]"]))).encode()
    return Spec(name, f"/etc/docker/plugins/{name}.json", data, Plugin(name, addr, options))


def _tls(draw: DrawFn, options: TLSOptions) -> dict[str, Any]:
    content = {}
    for field, key in _TLS_KEYS.items():
        value = getattr(options, field)
        # What is empty, false or zero may as well be absent or null.
        if value or draw(st.booleans()):
            content[_spelled(draw, key)] = value or draw(st.sampled_from([value, None]))
    return content


def _spelled(draw: DrawFn, key: str) -> str:
    return draw(st.sampled_from([key, key.lower(), key.upper()]))
