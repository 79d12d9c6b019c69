"""The command ``moby-plugins call``, which calls a method once."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO

import click
from attrs import evolve

from moby_plugins import Client, DriverError, PluginError, RetryPolicy, Settings, SpecError
from moby_plugins.cli.errors import error_as_json, exit_code
from moby_plugins.cli.options import (
    client_of,
    example,
    methods,
    with_json,
    with_settings,
    with_target,
    with_timeout,
)
from moby_plugins.cli.output import show_json
from moby_plugins.cli.progress import watched
from moby_plugins.domain.http import MAX_REQUEST_BYTES, check_method
from moby_plugins.domain.json_decoding import finite, refuse
from moby_plugins.domain.text import shown
from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

# A response with any other status is an error.
OK_STATUS = 200


def _method(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return check_method(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _arguments(context: click.Context, __: click.Parameter, value: str | None) -> Any:
    if value is None or context.resilient_parsing:  # a shell completes the line: read nothing
        return None
    try:
        return json.loads(_text(value), parse_constant=refuse, parse_float=finite)
    except RecursionError as error:
        raise click.BadParameter(f"{shown(value)}: nested too deeply") from error
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{shown(value)}: {shown(error)}") from error


def _text(value: str) -> str | bytes:
    if value == "-":
        return _bounded(sys.stdin.buffer)
    if value.startswith("@"):
        with open(value[1:], "rb") as file:
            return _bounded(file)
    return value


def _bounded(file: BinaryIO) -> bytes:
    data = file.read(MAX_REQUEST_BYTES + 1)
    if len(data) > MAX_REQUEST_BYTES:
        raise ValueError(f"the arguments are larger than {MAX_REQUEST_BYTES} bytes")
    return data


@click.command(
    epilog=example(
        """moby-plugins call shelf VolumeDriver.Create '{"Name": "books"}'""",
        "moby-plugins call graph 'GraphDriver.ApplyDiff?id=1' --send layer.tar",
    )
)
@with_target
@click.argument("method", callback=_method, shell_complete=methods)
@click.argument("arguments", metavar="[JSON|@FILE|-]", required=False, callback=_arguments)
@click.option("--raw", is_flag=True, help="Print the response's bytes as they are.")
@click.option("--stream", is_flag=True, help="Print the response's bytes as they arrive.")
@click.option(
    "--send",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Send a file; - is standard input.",
)
@with_timeout(None, "Seconds for the call, including its response.")
@with_settings
@with_json
def call(
    target: str,
    method: str,
    arguments: Any,
    raw: bool,
    stream: bool,
    send: str | None,
    timeout: float | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Call a method of a plugin once, and print its response as JSON.

    The arguments are JSON, a JSON file, or standard input. If the plugin reports
    an error, it goes to standard error, and the exit status says which kind of
    error it was. With --json the response, or the error, is in an object that also
    has the HTTP status.
    """
    if as_json and (raw or stream):
        raise click.UsageError("--json cannot be combined with --raw or --stream")
    if send is not None and (raw or stream or arguments is not None):
        raise click.UsageError("--send cannot be combined with arguments, --raw or --stream")
    settings = evolve(settings, retry=RetryPolicy.never())
    if raw or stream:
        with client_of(target, settings) as client:
            _copy(client, method, arguments, timeout, at_once=stream)
        return
    try:
        with client_of(target, settings) as client:
            value = _call(client, method, arguments, send, timeout)
    except PluginError as error:
        if not as_json:
            raise
        fields = error_as_json(error)
        show_json(
            {"method": method, "status": fields.get("status"), "answer": None, "error": fields}
        )
        sys.exit(exit_code(error))
    if as_json:
        show_json({"method": method, "status": OK_STATUS, "answer": value, "error": None})
    elif value is not None:
        show_json(value)


def _call(
    client: Client, method: str, arguments: Any, send: str | None, timeout: float | None
) -> Any:
    """Return the response's value; raise ``DriverError`` if the response reports an error."""
    if send is None:
        response = client.call(method, arguments, timeout=timeout)
    else:
        response = _sent(client, method, send, timeout)
    if isinstance(response, dict):
        folded = {key.lower(): value for key, value in response.items()}
        for key in _error_keys(method):
            if folded.get(key.lower()):
                error = DriverError(method, str(folded[key.lower()]))
                client.sign(error)
                raise error
    return response


def _sent(client: Client, method: str, send: str, timeout: float | None) -> Any:
    try:
        with _opened(send) as file, watched(file) as data:
            return client.send_file(method, data, timeout=timeout)
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot be sent: {shown(error)}", send) from error


def _opened(path: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb")


def _copy(
    client: Client, method: str, arguments: Any, timeout: float | None, *, at_once: bool
) -> None:
    with client.stream(method, arguments, timeout=timeout) as chunks:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
            if at_once:
                sys.stdout.buffer.flush()


def _error_keys(method: str) -> tuple[str, ...]:
    remotes = (remote for kind in ENGINE_SUBSYSTEMS for remote in kind.remotes.values())
    path = method.partition("?")[0]
    return next((remote.error_keys for remote in remotes if remote.method == path), ("Err",))
