"""A discovery that combines two: the second one looks for what the first does not find."""

from attrs import frozen

from moby_plugins.domain.errors import InvalidPluginNameError, PluginError, PluginNotFoundError
from moby_plugins.domain.plugin import Candidate, IgnoredFile, Plugin
from moby_plugins.ports import Cancellation, Discovery, LocalDiscovery, Survey, ended_by, filled


@frozen(repr=False)
class FirstOf:
    """A discovery that looks in ``first``, and in ``then`` if ``first`` lacks the plugin.

    ``FirstOf(EngineDiscovery("unix:///var/run/docker.sock"), new_local_discovery())`` searches as
    an engine does: its own plugins, then the disk. A name that is invalid for one of the two is
    looked up in the other only. Any other error of ``first`` ends the look-up: if a plugin is
    disabled, or an engine does not respond, ``then`` is not searched. If one of the two cannot list
    candidates, the plugin that it looks up is its only candidate. Threads may share it.
    """

    first: Discovery
    then: Discovery

    def __attrs_post_init__(self) -> None:
        for argument in ("first", "then"):
            filled(argument, getattr(self, argument), "scan", "lookup")

    @property
    def is_local(self) -> bool:
        """Whether the look-ups of ``first`` and of ``then`` only read local files."""
        both = (self.first, self.then)
        return all(isinstance(each, LocalDiscovery) and each.is_local for each in both)

    def ended_by(self, cancel: Cancellation) -> "FirstOf":
        """Return a copy whose look-ups end once ``cancel`` is set, as far as the two support it."""
        return FirstOf(ended_by(self.first, cancel), ended_by(self.then, cancel))

    def scan(self) -> list[str]:
        """Return the names in ``first`` and in ``then``, sorted and without duplicates.

        Raises ``PluginError`` if one of the two discoveries cannot list its names, for example
        ``SpecError`` for a directory that cannot be read, or ``TransportError`` for an engine that
        does not respond.
        """
        return sorted({*self.first.scan(), *self.then.scan()})

    def lookup(self, name: str) -> Plugin:
        """Return the plugin ``name`` of ``first``, or else of ``then``.

        Raises ``PluginNotFoundError`` if neither discovery has the plugin,
        ``InvalidPluginNameError`` for a name that is invalid for both, and any other
        ``PluginError`` of either discovery. An error of ``first`` other than the two named is
        raised without searching ``then``.
        """
        try:
            return self.first.lookup(name)
        except (PluginNotFoundError, InvalidPluginNameError) as error:
            missing = error
        try:
            return self.then.lookup(name)
        except InvalidPluginNameError:
            raise missing from None
        except PluginNotFoundError as error:
            if isinstance(missing, InvalidPluginNameError):
                raise
            raise PluginNotFoundError(name, (*missing.searched, *error.searched)) from error

    def candidates(self, name: str) -> list[Candidate]:
        """Return the candidates of ``first``, then those of ``then``."""
        candidates: list[Candidate] = []
        refused: list[InvalidPluginNameError] = []
        for each in (self.first, self.then):
            try:
                candidates += _candidates(each, name)
            except InvalidPluginNameError as error:
                refused.append(error)
        if len(refused) > 1:
            raise refused[0]
        return candidates

    def ignored(self) -> list[IgnoredFile]:
        """Return the files that ``first`` and ``then`` ignore, as far as they list them."""
        surveys = (each for each in (self.first, self.then) if isinstance(each, Survey))
        return [ignored for survey in surveys for ignored in survey.ignored()]

    def __repr__(self) -> str:
        return f"{self.first!r}, then {self.then!r}"


def _candidates(discovery: Discovery, name: str) -> list[Candidate]:
    if isinstance(discovery, Survey):
        return discovery.candidates(name)
    try:
        return [Candidate(repr(discovery), discovery.lookup(name))]
    except PluginNotFoundError:
        return []
    except InvalidPluginNameError:
        raise
    except PluginError as error:
        return [Candidate(repr(discovery), error=error)]
