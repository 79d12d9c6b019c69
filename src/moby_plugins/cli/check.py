"""The command ``moby-plugins check``, which checks whether a plugin follows the protocol."""

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, TextIO

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
from moby_plugins.checks import (
    HOSTS,
    Check,
    Finding,
    Setup,
    Subject,
    Verdict,
    all_checks,
    as_junit,
    chosen,
    implemented_by,
    new_subject,
    run_checks,
)
from moby_plugins.checks.sources import UnknownCodeError, explanation
from moby_plugins.cli.errors import FINDINGS, did_you_mean
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
    StatusLine,
    Table,
    is_terminal,
    show_json,
    show_table,
)
from moby_plugins.domain.plugin import check_protocol
from moby_plugins.domain.text import quoted
from moby_plugins.ports import Survey

HANDSHAKE = "Plugin"
# The time-out of a call in seconds, by host. Engines have 60, 120 or none, Podman has 5.
TIMEOUTS = dict(zip(HOSTS, (10.0, 5.0), strict=True))
STYLES = {
    Verdict.PASSED: GOOD,
    Verdict.WARNED: DOUBTFUL,
    Verdict.FAILED: BAD,
    Verdict.SKIPPED: FAINT,
}


def _options(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [option.partition("=") for option in given]
    for key, equals, _value in pairs:
        if not (key and equals):
            raise click.BadParameter(f"{quoted(key)} is not of the form KEY=VALUE")
    return {key: value for key, _, value in pairs}


@click.command(
    epilog=example("moby-plugins check shelf --check '*mount*' --junit report.xml"),
)
@click.argument("target", metavar="NAME|ADDRESS", required=False, shell_complete=plugin_names)
@click.option(
    "--subsystem",
    "named",
    multiple=True,
    shell_complete=subsystems,
    help="Only this one, implemented or not; may be repeated.",
)
@click.option("--check", "glob", metavar="GLOB", default="*", help="Only checks called so.")
@click.option(
    "--host",
    type=click.Choice(HOSTS),
    default=HOSTS[0],
    help=f"Whose expectations count.  [default: {HOSTS[0]}]",
)
@click.option("--read-only", is_flag=True, help="Only checks that leave no trace.")
@click.option("--list", "listing", is_flag=True, help="List the checks, and run none.")
@click.option("--explain", metavar="CODE", help="Print what a source, such as B2, stands for.")
@click.option(
    "--volume-opt",
    "volume_opts",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_options,
    help="An option for each volume; may be repeated.",
)
@click.option("--secret", default="", metavar="NAME", help="A secret that the plugin has.")
@click.option(
    "--junit",
    metavar="FILE",
    type=click.File("w", encoding="utf-8", lazy=False, atomic=True),
    help="Write JUnit XML.",
)
@with_timeout(None, "Seconds for each call.  [default: 10; 5 for podman]")
@with_settings
@with_json
def check(
    target: str | None,
    named: tuple[str, ...],
    glob: str,
    host: str,
    read_only: bool,
    listing: bool,
    explain: str | None,
    volume_opts: dict[str, str],
    secret: str,
    junit: TextIO | None,
    timeout: float | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Check whether a plugin keeps to the protocol, as an engine would try it.

    What it makes, moby-plugins-check-…, it removes. Status 0: no check failed.
    """
    if explain is not None:
        _explain(explain, as_json=as_json)
        return
    # A SIGTERM, for example from a CI system, must not prevent the clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    known = all_checks()
    _check_names(named, known)
    if listing:
        kinds = named or tuple({item.subsystem for item in known})
        listed = chosen(known, subsystems=kinds, names=glob, reads_only=read_only, host=host)
        _list(listed, as_json=as_json)
        return
    if target is None:
        raise click.UsageError("Missing argument 'NAME|ADDRESS'.")
    plugin, found = _place(target, settings)
    patience = TIMEOUTS[host] if timeout is None else timeout
    setup = Setup(
        timeout=patience,
        volume_opts=volume_opts,
        secret=secret,
        found=found,
        managed_for=None if plugin.is_v1 else plugin.manifest.implements,
    )
    with new_subject(plugin.addr, plugin.tls_config, settings=settings, setup=setup) as subject:
        implemented = _implemented(subject)  # always called: it fails if the plugin is unreachable
        # Engines do the handshake only with plugins that they do not manage.
        kinds = named or ((HANDSHAKE, *implemented) if plugin.is_v1 else implemented)
        checks = chosen(known, subsystems=kinds, names=glob, reads_only=read_only, host=host)
        if not checks:
            near = did_you_mean(glob, [text for item in known for text in (item.name, item.id)])
            raise click.UsageError(f"there is no such check{near}; --list shows all")
        findings = list(_watched(run_checks(checks, subject), len(checks)))
    if junit is not None:
        junit.write(as_junit(findings, target))
    _show(target, findings, as_json=as_json)
    if any(each.verdict is Verdict.FAILED for each in findings):
        sys.exit(FINDINGS)


def _check_names(named: tuple[str, ...], known: tuple[Check, ...]) -> None:
    there = dict.fromkeys(item.subsystem for item in known)
    for name in named:
        if name not in there:
            near = did_you_mean(name, there)
            raise click.UsageError(
                f"no checks for {quoted(name)}{near}; there are: {', '.join(there)}"
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


def _place(target: str, settings: Settings) -> tuple[Plugin, str]:
    discovery = new_local_discovery(settings)
    if is_address(target):
        return plugin_at(target), _found_at(target, discovery)
    plugin = check_protocol(discovery.lookup(target))
    if not plugin.is_v1:
        check_listens(plugin.address)  # in place of the handshake
        return plugin, ""  # managed plugins are not found by a file
    return plugin, next((each.path for each in discovery.candidates(target)), "")


def _found_at(addr: str, discovery: Survey) -> str:
    # Hosts may find the plugin at this address by a file, which matters to one of the checks.
    try:
        names = discovery.scan()
    except PluginError:
        return ""
    first = (next(iter(discovery.candidates(name)), None) for name in names)
    there = (each for each in first if each and each.plugin and each.plugin.addr == addr)
    return next((each.path for each in there), "")


def _implemented(subject: Subject) -> tuple[str, ...]:
    try:
        return implemented_by(subject)
    except (TransportTimeoutError, WireError):
        return ()  # reported by the checks of the handshake


def _watched(findings: Iterator[Finding], count: int) -> Iterator[Finding]:
    line = StatusLine(sys.stderr)
    try:
        for number, finding in enumerate(findings, 1):
            if is_terminal(sys.stderr):
                line.say(f"{number} of {count} checks: {finding.check.id}")
            yield finding
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


def _show(target: str, findings: list[Finding], *, as_json: bool) -> None:
    count = Counter(each.verdict for each in findings)
    if as_json:
        summary = {verdict.value: count[verdict] for verdict in Verdict}
        shown = [_finding_as_json(each) for each in findings]
        show_json({"plugin": target, "summary": summary, "findings": shown})
        return
    table = Table(("verdict", "check", "expected, and what came back"))
    for each in findings:
        expected = f"{each.check.expects} ({each.check.source})"
        told = f"{expected}\n-> {each.came_back}" if each.came_back else expected
        style = STYLES[each.verdict]
        table.add(
            Cell(each.verdict.value, style),
            each.check.id,
            Cell(told, style if each.came_back else FAINT),
        )
    show_table(table)
    print(", ".join(f"{count[verdict]} {verdict.value}" for verdict in Verdict))


def _check_as_json(item: Check) -> dict[str, Any]:
    return {
        "subsystem": item.subsystem,
        "check": item.name,
        "expects": item.expects,
        "source": item.source,
        "reads_only": item.reads_only,
        "hosts": item.hosts,
    }


def _finding_as_json(each: Finding) -> dict[str, Any]:
    told = {"verdict": each.verdict.value, "came_back": each.came_back or None}
    return _check_as_json(each.check) | told | {"seconds": round(each.seconds, 6)}
