"""What is called for the checks that all subsystems have in the same form."""

from typing import Any

from attrs import frozen

UNKNOWN = "moby-plugins-check-unknown"


@frozen
class Family:
    """What the common checks of one subsystem call; none of it, where there are no arguments.

    ``asks`` takes ``args`` and changes nothing. ``acts`` are methods for which an
    empty body, in place of arguments, would be worst. ``reads`` is answered with
    ``keys``, one inside the other.
    """

    subsystem: str
    interface: str
    asks: str = ""
    args: Any = None
    acts: tuple[str, ...] = ()
    reads: str = ""
    read_args: Any = None
    keys: tuple[str, ...] = ()


FAMILIES = (
    Family(
        "VolumeDriver",
        "VolumeDriver",
        asks="Get",
        args={"Name": UNKNOWN},
        acts=("Create", "Mount", "Remove"),
        reads="List",
        read_args={},
        keys=("Volumes",),
    ),
    Family(
        "NetworkDriver",
        "NetworkDriver",
        asks="EndpointOperInfo",
        args={"NetworkID": UNKNOWN, "EndpointID": UNKNOWN},
        acts=("CreateNetwork", "CreateEndpoint", "Join"),
        reads="GetCapabilities",
        keys=("Scope",),
    ),
    Family(
        "IpamDriver",
        "IpamDriver",
        asks="ReleaseAddress",
        args={"PoolID": UNKNOWN, "Address": "192.0.2.1"},
        acts=("RequestPool", "RequestAddress"),
        reads="GetDefaultAddressSpaces",
        keys=("LocalDefaultAddressSpace",),
    ),
    Family(
        "authz",
        "AuthZPlugin",
        asks="AuthZReq",
        args={"RequestMethod": "GET", "RequestUri": f"/v1.40/containers/{UNKNOWN}/json"},
        acts=("AuthZReq", "AuthZRes"),
        reads="AuthZReq",
        read_args={"RequestMethod": "GET", "RequestUri": "/_ping"},
        keys=("Allow",),
    ),
    Family(
        "LogDriver",
        "LogDriver",
        asks="ReadLogs",
        args={"Info": {"ContainerID": UNKNOWN}, "Config": {"Tail": 0, "Follow": False}},
        acts=("StartLogging",),
        reads="Capabilities",
        keys=("Cap", "ReadLogs"),
    ),
    Family("MetricsCollector", "MetricsCollector"),
    Family(
        "GraphDriver",
        "GraphDriver",
        asks="GetMetadata",
        args={"ID": UNKNOWN},
        acts=("Init", "Create"),
        reads="Exists",
        read_args={"ID": UNKNOWN},
        keys=("Exists",),
    ),
    Family(
        "secretprovider",
        "SecretProvider",
        asks="GetSecret",
        args={"SecretName": UNKNOWN},
        acts=("GetSecret",),
    ),
)
