"""The command ``moby-plugins package``, which builds, checks and installs a managed plugin."""

import os
import shlex
import sys

import click
from attrs import asdict

from moby_plugins import Settings, SettingsError
from moby_plugins.app.packaging import Package, check_app, create, judge, package_size
from moby_plugins.app.packaging import package as lay_out
from moby_plugins.cli.doctor import show_finding, summary_of
from moby_plugins.cli.errors import FINDINGS
from moby_plugins.cli.interrupts import interrupted_by_signals
from moby_plugins.cli.options import example, with_json, with_settings
from moby_plugins.cli.output import show_json, show_line
from moby_plugins.cli.progress import StatusLine, progress_bar
from moby_plugins.diagnosis import PROBLEM, Finding
from moby_plugins.domain.plugin_config import (
    Mount,
    Wanted,
    capability,
    check_reference,
    short_name,
    variable,
)


@click.command(
    epilog=example("moby-plugins package shelves:app --name shelf --rootfs root.tar --create"),
)
@click.argument("app", metavar="[MODULE:APP]", required=False)
@click.option("--name", help="The plugin's name, such as alice/shelf[:TAG].")
@click.option("--rootfs", metavar="DIR|TAR", help="The root file system; - is standard input.")
@click.option("--out", metavar="DIR", help="Where to write.  [default: the name's last part]")
@click.option("--check", "checked", metavar="DIR", help="Check a plugin's directory instead.")
@click.option(
    "--create", "created", is_flag=True, help="Send it to an engine, unless there is a problem."
)
@click.option(
    "--source",
    "sources",
    metavar="PATH",
    multiple=True,
    help="A module to copy.  [default: MODULE]",
)
@click.option("--python", metavar="PATH", default="", hidden=True)
@click.option(
    "--entrypoint", metavar="COMMAND", help="Your own program, which calls serve_managed."
)
@click.option(
    "--propagated-mount",
    metavar="PATH",
    default="",
    help="The directory that has the plugin's volumes.",
)
@click.option("--no-propagated-mount", "mounts_nothing", is_flag=True, hidden=True)
@click.option(
    "--env", "variables", metavar="K[=V]", multiple=True, help="A variable that users can set."
)
@click.option(
    "--mount",
    "mounts",
    metavar="NAME:SOURCE:PATH",
    multiple=True,
    help="A directory of the machine's, mounted at PATH.",
)
@click.option(
    "--capability",
    "capabilities",
    metavar="CAP",
    multiple=True,
    help="A Linux capability, such as CAP_SYS_ADMIN.",
)
@click.option("--device", "devices", metavar="PATH", multiple=True, hidden=True)
@click.option("--host-network", is_flag=True, help="Use the host's network; else it has none.")
@click.option("--description", default="", hidden=True)
@with_settings
@with_json
@click.pass_context
def package(
    context: click.Context,
    app: str | None,
    name: str | None,
    rootfs: str | None,
    out: str | None,
    checked: str | None,
    created: bool,
    sources: tuple[str, ...],
    python: str,
    entrypoint: str | None,
    propagated_mount: str,
    mounts_nothing: bool,
    variables: tuple[str, ...],
    mounts: tuple[str, ...],
    capabilities: tuple[str, ...],
    devices: tuple[str, ...],
    host_network: bool,
    description: str,
    settings: Settings,
    as_json: bool,
) -> None:
    """Make a managed plugin from an app and a root file system, and check it."""
    if (app is None) == (checked is None):
        raise click.UsageError("name an app as MODULE:APP, or a plugin's directory with --check")
    if name is None and (app is not None or created):
        raise click.UsageError("--name is missing: it says what the plugin is called")
    reference = "" if name is None else check_reference(name)
    status = StatusLine(sys.stderr)
    if checked is not None:
        directory, findings = checked, judge(checked)
    else:
        if rootfs is None:
            raise click.UsageError(
                "--rootfs is missing: it says where the plugin's root file system is"
            )
        if propagated_mount and not propagated_mount.startswith("/"):
            raise SettingsError("--propagated-mount takes an absolute path")
        directory = out or short_name(reference)
        wanted = Wanted(
            reference=reference,
            description=description,
            propagated_mount=propagated_mount,
            env=tuple(map(variable, variables)),
            mounts=tuple(map(Mount.parsed, mounts)),
            capabilities=tuple(map(capability, capabilities)),
            devices=devices,
            network="host" if host_network else "",
        )
        options = Package(
            app=check_app(str(app)),
            rootfs=rootfs,
            out=directory,
            wanted=wanted,
            python=python,
            program=_words(entrypoint),
            sources=sources or _beside(str(app)),
            mounts_nothing=mounts_nothing,
        )
        try:
            with interrupted_by_signals():
                findings = lay_out(options, status.say)
        finally:
            status.clear()
    _show(findings, as_json=as_json)
    if any(finding.severity == PROBLEM for finding in findings):
        context.exit(FINDINGS)
    if created:
        with progress_bar(package_size(directory)) as follow:
            create(directory, reference, settings, follow=follow)
        print(f"created {reference}: docker plugin enable {reference}", file=sys.stderr)


def _words(entrypoint: str | None) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(entrypoint or ""))
    except ValueError as error:
        raise click.BadParameter(f"--entrypoint: {error}") from error
    if entrypoint is not None and not (words and words[0].startswith("/")):
        raise SettingsError("--entrypoint takes an absolute path in the root file system")
    return words


def _beside(app: str) -> tuple[str, ...]:
    """Return the file or directory of the app's module, if it is in the current directory."""
    top = app.partition(":")[0].partition(".")[0]
    if os.path.isfile(f"{top}.py"):
        return (f"{top}.py",)
    return (top,) if os.path.isfile(os.path.join(top, "__init__.py")) else ()


def _show(findings: tuple[Finding, ...], *, as_json: bool) -> None:
    if as_json:
        show_json([asdict(each) for each in findings])
        return
    for finding in findings:
        show_finding(finding)
    show_line(summary_of(findings))
