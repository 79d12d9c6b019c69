"""Write spec files for a plugin that serves TCP (protocol.md A2)."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable

from moby_plugins.adapters.disk.discovery import spec_content
from moby_plugins.domain.address import Address, ServerTLS
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.plugin import read_spec
from moby_plugins.domain.text import shown

DIRECTORY_MODE, FILE_MODE = 0o755, 0o644


def write_spec(
    directory: str,
    name: str,
    address: str,
    tls: ServerTLS | None,
    listens: Callable[[Address], bool],
) -> Callable[[], None]:
    """Write a spec of the plugin ``name`` at ``address``; return a function that removes it.

    The file is a ``.spec``, or with ``tls`` a ``.json``. It is written atomically, replaces an
    older one, and is only removed if it still has this content. ``listens`` says whether a process
    listens at an address. Raises ``SpecError`` if the file cannot be written, if the plugin of the
    older one still listens, or, with ``tls``, if hosts would find an existing ``.spec`` file
    instead.
    """
    path = os.path.join(directory, f"{name}.{'spec' if tls is None else 'json'}")
    content = (address if tls is None else _json(address, tls)).encode()
    other = os.path.join(directory, f"{name}.spec")
    try:
        os.makedirs(directory, DIRECTORY_MODE, exist_ok=True)
        if tls is not None and os.path.exists(other):
            raise SpecError(f"remove this file: hosts would read it, not {shown(path)}", other)
        _check_replaceable(name, path, Address(address), listens)
        _replace(path, content)
    except (OSError, UnicodeEncodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it cannot be a path"
        raise SpecError(f"cannot be written: {shown(reason or error)}", path) from error

    def remove() -> None:
        with contextlib.suppress(FileNotFoundError):
            # A port belongs to one plugin, so the same content means the same plugin.
            with open(path, "rb") as file:
                same = file.read(len(content) + 1) == content
            if same:
                os.unlink(path)

    return remove


def _check_replaceable(
    name: str, path: str, own: Address, listens: Callable[[Address], bool]
) -> None:
    # Otherwise the other plugin would run on, and no host would find it any more.
    try:
        older = read_spec(name, path, spec_content(path) or b"").address
    except (OSError, SpecError):  # hosts cannot read it either
        return
    # If it is on this plugin's own port, then this plugin would be what listens there.
    if older.scheme != "unix" and older.port != own.port and listens(older):
        raise SpecError(
            f"a plugin of this name listens at {shown(older.text)}: stop it first", path
        )


def _json(address: str, tls: ServerTLS) -> str:
    fields = {
        "CAFile": tls.ca_file,
        "CertFile": tls.host_cert_file,
        "KeyFile": tls.host_key_file,
    }
    # Absolute, as hosts have other working directories. An empty CAFile would disable verification.
    options = {key: os.path.abspath(path) for key, path in fields.items() if path}
    return json.dumps({"Addr": address} | ({"TLSConfig": options} if options else {})) + "\n"


def _replace(path: str, content: bytes) -> None:
    directory, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, FILE_MODE)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
