"""One definition of a subsystem, for both ends of the protocol.

A subsystem is a class whose methods are marked ``@remote()``: their signatures
are the messages. The same class is then the host's typed proxy and the
interface that a plugin's author implements::

    class Greeter(Subsystem):
        @remote(result="Greeting")
        def greet(self, name: str) -> str:
            raise NotImplementedError

    Greeter(client).greet("Ada")          # POST /Greeter.Greet {"Name":"Ada"}

    class Polite(Greeter):                # the plugin's end: PluginApp(Polite())
        def greet(self, name: str) -> str:
            return f"Good morning, {name}"

This is what Moby's ``pluginrpc-gen`` does before compiling, done at run time:
names of parameters are title-cased (``id`` is ``ID``), and an error travels as
``Err`` (protocol.md B0).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from moby_plugins.app.client import Client
from moby_plugins.app.remote import Remote, remote_of


class Subsystem:
    """Base of all subsystems: ``VolumeDriver(client)`` is a proxy for a plugin's.

    ``timeouts`` (seconds, by the method's name in Python) override those of the
    definition. Threads may share a proxy. It closes nothing: the client is its
    owner's. Each method raises ``DriverError`` for the plugin's own error in an
    answer 200, and whatever ``Client.call`` raises.
    """

    # How the manifest names it, how paths do, and the keys of an error in an answer 200.
    implements: ClassVar[str] = ""
    interface: ClassVar[str] = ""
    error_keys: ClassVar[tuple[str, ...]] = ("Err",)
    remotes: ClassVar[Mapping[str, Remote]] = {}

    def __init__(
        self, client: Client | None = None, *, timeouts: Mapping[str, float] | None = None
    ) -> None:
        self._client = client
        self._timeouts = dict(timeouts or {})
        names = {remote.name for remote in self.remotes.values()}
        unknown = sorted(self._timeouts.keys() - names)
        if unknown:
            raise ValueError(f"{type(self).__name__} has no method {unknown[0]!r}")

    @property
    def client(self) -> Client:
        """The client that the proxy calls through; ``TypeError`` for what is no proxy."""
        client: Client | None = getattr(self, "_client", None)
        if client is None:
            raise TypeError(f"{type(self).__name__} is no proxy: it was made without a client")
        return client

    def timeout_of(self, remote: Remote) -> float | None:
        """Seconds for one attempt at a call of ``remote``."""
        return self._timeouts.get(remote.name, remote.timeout)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        interfaces = {getattr(base, "interface", "") for base in cls.__bases__} - {""}
        if len(interfaces) > 1:
            raise TypeError(f"{cls.__name__}: one class for each of {sorted(interfaces)}")
        marked = list(filter(None, map(remote_of, vars(cls).values())))
        if marked:
            cls.interface = cls.interface or cls.__name__
            cls.implements = cls.implements or cls.interface
            cls.remotes = {**cls.remotes, **{remote.wire: remote for remote in marked}}
            for remote in marked:
                remote.bind(cls)
