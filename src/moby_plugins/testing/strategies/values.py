"""Names, addresses, and the other values that describe a plugin and how to reach it."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from moby_plugins.domain.address import TLS_1_2, TLS_1_3, Address, TLSOptions
from moby_plugins.domain.plugin import Manifest, Plugin, is_plugin_name
from moby_plugins.domain.retry import RetryPolicy

# Half of a surrogate pair is no character; a name or a file's path can hold a stray byte, as such.
_NO_HALVES = st.characters(exclude_categories=["Cs"])
_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
# What urllib and its like read in other ways: the odd ones among hosts' and plugins' names.
_ODD_NAMES = ("a b", "50%", "%41", "a?b#c", "a.spec", "...", ".hidden", "ü", "a\nb", "\udcff")


def texts(*, min_size: int = 0, max_size: int = 12) -> SearchStrategy[str]:
    """Text that JSON can carry: any characters, and no halves of one."""
    return st.text(_NO_HALVES, min_size=min_size, max_size=max_size)


def names() -> SearchStrategy[str]:
    """What plugins can be called: everyday names, odd ones, and anything else that can be a file.

    Short enough for a file, and for a socket's path below a short directory.
    """
    return st.one_of(
        _LABEL, st.sampled_from(_ODD_NAMES), texts(min_size=1, max_size=8).filter(is_plugin_name)
    )


def socket_paths() -> SearchStrategy[str]:
    """Absolute paths that a socket can have, odd ones among them."""
    return st.lists(names(), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


def addresses() -> SearchStrategy[Address]:
    """Addresses of all schemes: sockets, hosts by name and number, and schemes of one's own."""
    hosts = st.one_of(
        st.lists(_LABEL, min_size=1, max_size=3).map(".".join).filter(_is_host),
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
    )
    ports = st.integers(1, 65535).map(lambda port: f":{port}") | st.just("")
    schemes = st.sampled_from(["tcp", "http", "https", "TCP", "Https"])
    tails = st.sampled_from(["", "/", "/path", "?query"])
    return st.one_of(
        socket_paths().map(Address.of_socket),
        st.tuples(schemes, st.just("://"), hosts, ports, tails).map("".join).map(Address),
        names().map(lambda name: Address.of_socket("/" + name)),
        _LABEL.map(lambda path: Address(f"memory://{path}")),
    )


def _is_host(name: str) -> bool:
    # Two hyphens in the third place say that a label is written in another alphabet.
    return not any(label[2:4] == "--" for label in name.split("."))


def tls_options() -> SearchStrategy[TLSOptions]:
    """TLS options as a spec can write them; the files are only named."""
    files = st.sampled_from(["", "/ca.pem"]) | texts()
    return st.builds(
        TLSOptions,
        ca_file=files,
        cert_file=files,
        key_file=files,
        insecure_skip_verify=st.booleans(),
        exclusive_root_pools=st.booleans(),
        min_version=st.sampled_from([0, TLS_1_2, TLS_1_3]),
    )


def manifests() -> SearchStrategy[Manifest]:
    """Answers to the handshake: subsystems that engines know, and others."""
    known = st.sampled_from(["VolumeDriver", "NetworkDriver", "IpamDriver", "authz", "LogDriver"])
    return st.builds(Manifest, st.lists(known | texts(), max_size=4))


def plugins() -> SearchStrategy[Plugin]:
    """Plugins, before and after the handshake."""
    return st.builds(
        Plugin,
        names(),
        addresses().map(lambda address: address.text),
        st.none() | tls_options(),
        manifests(),
    )


def retry_policies() -> SearchStrategy[RetryPolicy]:
    """Policies from impatient to patient beyond all use."""
    waits = st.floats(1e-3, 1e6)
    return st.builds(
        RetryPolicy,
        initial=waits,
        factor=st.floats(1.0, 1e6),
        max_delay=waits,
        budget=st.floats(0.0, 1e6) | st.just(float("inf")),
    )
