"""The command ``moby-plugins check``, which checks whether a plugin follows the protocol."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from moby_plugins import (
    Plugin,
    PluginError,
    Settings,
    TransportTimeoutError,
    WireError,
    new_local_discovery,
)
from moby_plugins.app.diagnosing import check_listens
from moby_plugins.app.recordings import write_text
from moby_plugins.checks import (
    HOSTS,
    Check,
    CheckOutcome,
    CheckResult,
    Options,
    Target,
    all_checks,
    as_junit,
    implemented_by,
    new_target,
    run_checks,
    select,
)
from moby_plugins.checks.sources import UnknownCodeError, explanation
from moby_plugins.cli.errors import FINDINGS, did_you_mean
from moby_plugins.cli.interrupts import interrupted_by_signals
from moby_plugins.cli.options import (
    example,
    is_address,
    plugin_at,
    plugin_names,
    subsystems,
    with_json,
    with_settings,
    with_timeout,
)
from moby_plugins.cli.output import (
    BAD,
    DOUBTFUL,
    FAINT,
    GOOD,
    Cell,
    Table,
    is_terminal,
    show_json,
    show_table,
)
from moby_plugins.cli.progress import StatusLine
from moby_plugins.domain.plugin import check_protocol
from moby_plugins.domain.text import quoted, shown
from moby_plugins.ports import Survey

HANDSHAKE = "Plugin"
# The time-out of a call in seconds, by host. Engines have 60, 120 or none, Podman has 5.
TIMEOUTS = dict(zip(HOSTS, (10.0, 5.0), strict=True))
STYLES = {
    CheckOutcome.PASSED: GOOD,
    CheckOutcome.WARNED: DOUBTFUL,
    CheckOutcome.FAILED: BAD,
    CheckOutcome.SKIPPED: FAINT,
}


def _options(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for text in texts:
        key, equals, options[key] = text.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{quoted(text)} is not of the form KEY=VALUE")
    return options


def _new_file(_: click.Context, __: click.Parameter, path: str | None) -> str | None:
    # Nothing is opened yet: a file of earlier results stays until the new ones are complete.
    if path is None:
        return None
    directory = os.path.dirname(path) or "."
    if not os.access(directory, os.W_OK | os.X_OK):
        raise click.BadParameter(f"no file can be made in {shown(directory)}")
    if not path or os.path.isdir(path):
        raise click.BadParameter(f"{quoted(path)} is not the path of a file")
    return path


@click.command(
    epilog=example("moby-plugins check shelf --check '*mount*' --junit report.xml"),
)
@click.argument(
    "name_or_address", metavar="NAME|ADDRESS", required=False, shell_complete=plugin_names
)
@click.option(
    "--subsystem",
    "named",
    multiple=True,
    shell_complete=subsystems,
    help="Only this subsystem, implemented or not; repeatable.",
)
@click.option(
    "--check", "glob", metavar="GLOB", default="*", help="Only checks with a matching name."
)
@click.option(
    "--host",
    type=click.Choice(HOSTS),
    default=HOSTS[0],
    help=f"Check what this host expects.  [default: {HOSTS[0]}]",
)
@click.option("--read-only", is_flag=True, help="Only checks that create nothing.")
@click.option("--list", "listing", is_flag=True, help="List the checks, and run none.")
@click.option("--explain", metavar="CODE", help="Print a section of the protocol, such as B2.")
@click.option(
    "--volume-opt",
    "volume_opts",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_options,
    help="An option for each created volume; repeatable.",
)
@click.option(
    "--secret", default="", metavar="NAME", help="The name of a secret that the plugin has."
)
@click.option(
    "--junit",
    metavar="FILE",
    callback=_new_file,
    help="Write the results as JUnit XML.",
)
@with_timeout(None, "Seconds for each call.  [default: 10; 5 for podman]")
@with_settings
@with_json
def check(
    name_or_address: str | None,
    named: tuple[str, ...],
    glob: str,
    host: str,
    read_only: bool,
    listing: bool,
    explain: str | None,
    volume_opts: dict[str, str],
    secret: str,
    junit: str | None,
    timeout: float | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Check whether a plugin follows the protocol that engines use.

    It removes what it creates. The exit status is 1 if a check failed.
    """
    if explain is not None:
        _explain(explain, as_json=as_json)
        return
    known = all_checks()
    _check_names(named, known)
    if listing:
        kinds = named or tuple({item.subsystem for item in known})
        listed = select(known, subsystems=kinds, names=glob, reads_only=read_only, host=host)
        _list(listed, as_json=as_json)
        return
    if name_or_address is None:
        raise click.UsageError("Missing argument 'NAME|ADDRESS'.")
    plugin, path = _looked_up(name_or_address, settings)
    patience = TIMEOUTS[host] if timeout is None else timeout
    options = Options(
        timeout=patience,
        volume_opts=volume_opts,
        secret=secret,
        path=path,
        managed_for=None if plugin.is_v1 else plugin.manifest.implements,
    )
    with (
        # A signal, for example from a CI system, must not prevent the clean-up.
        interrupted_by_signals(),
        new_target(plugin.addr, plugin.tls_config, settings=settings, options=options) as target,
    ):
        implemented = _implemented(target)  # always called: it fails if the plugin is unreachable
        # Engines do the handshake only with plugins that they do not manage.
        kinds = named or ((HANDSHAKE, *implemented) if plugin.is_v1 else implemented)
        checks = select(known, subsystems=kinds, names=glob, reads_only=read_only, host=host)
        if not checks:
            near = did_you_mean(glob, [text for item in known for text in (item.name, item.id)])
            raise click.UsageError(
                f"no check for this plugin matches the options{near}; --list shows all"
            )
        results = list(_watched(run_checks(checks, target), len(checks)))
    _show(name_or_address, results, as_json=as_json)
    if junit is not None:
        write_text(junit, as_junit(results, name_or_address))
    if any(each.outcome is CheckOutcome.FAILED for each in results):
        sys.exit(FINDINGS)


def _check_names(named: tuple[str, ...], known: tuple[Check, ...]) -> None:
    there = dict.fromkeys(item.subsystem for item in known)
    for name in named:
        if name not in there:
            near = did_you_mean(name, there)
            raise click.UsageError(
                f"no checks for the subsystem {quoted(name)}{near}; there are: {', '.join(there)}"
            )


def _explain(codes: str, *, as_json: bool) -> None:
    try:
        texts = {code.strip(): explanation(code) for code in codes.split(",")}
    except UnknownCodeError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        show_json(texts)
    else:
        print("\n\n".join(texts.values()))


def _looked_up(name_or_address: str, settings: Settings) -> tuple[Plugin, str]:
    discovery = new_local_discovery(settings)
    if is_address(name_or_address):
        return plugin_at(name_or_address), _found_at(name_or_address, discovery)
    plugin = check_protocol(discovery.lookup(name_or_address))
    if not plugin.is_v1:
        check_listens(plugin.address)  # in place of the handshake
        return plugin, ""  # managed plugins are not found by a file
    return plugin, next((each.path for each in discovery.candidates(name_or_address)), "")


def _found_at(addr: str, discovery: Survey) -> str:
    # Hosts may find the plugin at this address by a file, which matters to one of the checks.
    try:
        names = discovery.scan()
    except PluginError:
        return ""
    first = (next(iter(discovery.candidates(name)), None) for name in names)
    there = (each for each in first if each and each.plugin and each.plugin.addr == addr)
    return next((each.path for each in there), "")


def _implemented(target: Target) -> tuple[str, ...]:
    try:
        return implemented_by(target)
    except (TransportTimeoutError, WireError):
        return ()  # reported by the checks of the handshake


def _watched(results: Iterator[CheckResult], count: int) -> Iterator[CheckResult]:
    line = StatusLine(sys.stderr)
    try:
        for number, result in enumerate(results, 1):
            if is_terminal(sys.stderr):
                line.say(f"{number} of {count} checks: {result.check.id}")
            yield result
    finally:
        line.clear()


def _list(checks: tuple[Check, ...], *, as_json: bool) -> None:
    if as_json:
        show_json([_check_as_json(item) for item in checks])
        return
    table = Table(("check", "expects", "source", "leaves"))
    for item in checks:
        trace = "nothing" if item.reads_only else "traces"
        table.add(item.id, item.expects, Cell(item.source, FAINT), Cell(trace, FAINT))
    show_table(table)


def _show(name_or_address: str, results: list[CheckResult], *, as_json: bool) -> None:
    count = Counter(each.outcome for each in results)
    if as_json:
        summary = {outcome.value: count[outcome] for outcome in CheckOutcome}
        shown = [_result_as_json(each) for each in results]
        show_json({"plugin": name_or_address, "summary": summary, "findings": shown})
        return
    table = Table(("outcome", "check", "expected, and what came back"))
    for each in results:
        expected = f"{each.check.expects} ({each.check.source})"
        text = f"{expected}\n-> {each.came_back}" if each.came_back else expected
        style = STYLES[each.outcome]
        table.add(
            Cell(each.outcome.value, style),
            each.check.id,
            Cell(text, style if each.came_back else FAINT),
        )
    show_table(table)
    print(", ".join(f"{count[outcome]} {outcome.value}" for outcome in CheckOutcome))


def _check_as_json(item: Check) -> dict[str, Any]:
    return {
        "subsystem": item.subsystem,
        "check": item.name,
        "expects": item.expects,
        "source": item.source,
        "reads_only": item.reads_only,
        "hosts": item.hosts,
    }


def _result_as_json(each: CheckResult) -> dict[str, Any]:
    fields = {"outcome": each.outcome.value, "came_back": each.came_back or None}
    return _check_as_json(each.check) | fields | {"seconds": round(each.seconds, 6)}
