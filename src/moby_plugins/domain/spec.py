"""The text of a ``.spec`` or ``.json`` file, read as a plugin (protocol.md A2)."""

from typing import Any

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.lenient_json import first_value, fold_keys, kind_of
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.tls import TLSOptions

MAX_SPEC_BYTES = 1 << 20


def read_spec(name: str, file: str, data: bytes) -> Plugin:
    """The plugin ``name`` as ``data``, the content of ``file``, describes it.

    A file that ends in ``.json`` is read as JSON, any other as a bare address.
    Raises ``SpecError``, naming the file, for whatever cannot be used.
    """
    try:
        if len(data) > MAX_SPEC_BYTES:
            raise SpecError(f"larger than {MAX_SPEC_BYTES} bytes")
        return _from_json(name, data) if file.endswith(".json") else _from_address(name, data)
    except SpecError as error:
        raise SpecError(error.reason, file) from error
    except ValueError as error:
        raise SpecError(str(error), file) from error


def _from_address(name: str, data: bytes) -> Plugin:
    try:
        return Plugin.local(name, data.decode().strip())
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 at byte {error.start}") from error


def _from_json(name: str, data: bytes) -> Plugin:
    # null counts as an absent value everywhere, also at the top.
    spec = _typed("spec", first_value(data), dict, {})
    fields = fold_keys(spec)
    tls = _typed("TLSConfig", fields.get("tlsconfig"), dict, None)
    return Plugin(
        name,
        _typed("Addr", fields.get("addr"), str, ""),
        None if tls is None else _tls_options(fold_keys(tls)),
    )


def _tls_options(fields: dict[str, Any]) -> TLSOptions:
    ca_file = _typed("CAFile", fields.get("cafile"), str, "")
    skip = _typed("InsecureSkipVerify", fields.get("insecureskipverify"), bool, False)
    return TLSOptions(
        ca_file=ca_file,
        cert_file=_typed("CertFile", fields.get("certfile"), str, ""),
        key_file=_typed("KeyFile", fields.get("keyfile"), str, ""),
        # Without a CA file verification is off, whatever the spec says (A2).
        insecure_skip_verify=skip or not ca_file,
        exclusive_root_pools=_typed(
            "ExclusiveRootPools", fields.get("exclusiverootpools"), bool, False
        ),
        min_version=_typed("MinVersion", fields.get("minversion"), int, 0),
    )


def _typed(key: str, value: Any, kind: type, absent: Any) -> Any:
    if value is None:
        return absent
    # A boolean is an int to Python, but no number to JSON.
    if type(value) is not kind:
        wanted = "a whole number" if kind is int else kind_of(kind())
        raise SpecError(f"{key} must be {wanted}, not {kind_of(value)}")
    return value
