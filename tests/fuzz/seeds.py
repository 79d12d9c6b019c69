"""The first inputs of each target: real messages, and some that are slightly wrong."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from moby_plugins.subsystems import LogEntry, PartialLog, encode_frame

VECTORS = Path(__file__).parents[1] / "vectors" / "http.json"

_ANSWERS = [
    base64.b64decode(row["response_base64"]) for row in json.loads(VECTORS.read_text()).values()
]
_ENTRY = LogEntry("stdout", 1 << 60, b"hello", partial_log_metadata=PartialLog(True, "id", 2))
_JSON = (
    b'{"Implements":["VolumeDriver"],"Err":""}',
    b'{"Volumes":[{"Name":"a","Mountpoint":"/a","Status":{"a":[1,null,true,-0.5e3]}}]}',
    b'{"Capabilities":{"Scope":"global"},"Name":"a","ID":"b","Opts":{"k":"v"}}',
    b'{"RequestBody":"aGk=","RequestHeaders":{"A":"b"},"UserAuthNMethod":"TLS","Allow":true}',
    b'{"NetworkID":"n","IPv4Data":[{"Pool":"10.0.0.0/8"}],"Interface":null,"File":"/f","Size":1}',
    b'[[],"\\ud83d\\u0000\\"",1e400,NaN]',
)

SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "spec": (
        b"unix:///run/shelf.sock\n",
        b"https://[::1%25eth0]:65535/x",
        b'{"Name":"x","Addr":"https://h:1","TLSConfig":{"CAFile":"/ca","MinVersion":771}} rest',
        b'{"Addr":"tcp://h","tlsconfig":{"InsecureSkipVerify":false,"Passphrase":"p"}}',
        b'{"TLSConfig":{"ExclusiveRootPools":true,"CertFile":"/c","KeyFile":null}}',
        b"\xef\xbb\xbfunix:///a",
    ),
    "address": (
        b"unix:///run/a%20b.sock",
        b"unix:/a",
        b"tcp://[::1]:80/x",
        "https://b\u00fccher.example:443".encode(),
        b"HTTP://h:",
        b"npipe:////./pipe/x",
        b"tcp://a\xc2\xaf",
        b"/run/\xff.sock",
    ),
    "manifest": _JSON,
    "answer": tuple(_ANSWERS),
    "result": tuple(bytes([index]) + body for index, body in enumerate(_JSON * 10)),
    "frames": (encode_frame(_ENTRY), encode_frame(LogEntry(attrs={"k": "v"})) * 2),
    "headers": (
        b"Host: x\r\nContent-Length: 2\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nA:b\r\nA: c \r\n\r\n",
    ),
    "dispatcher": tuple(bytes([index]) + body for index, body in enumerate(_JSON * 10)),
}
