"""SecretProvider: table B9 of protocol.md."""

import pytest

from moby_plugins.domain.errors import DriverError, WireError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    EndpointSpec,
    PortConfig,
    Secret,
    SecretProvider,
    SecretRequest,
)
from tests.unit.app.subsystems.exchanges import Exchange, Table, asked, part_of, replying


class TestB9(Table):
    """Table B9: the call of a SecretProvider; every field is left out where it is zero."""

    kind = SecretProvider
    exchanges = (
        Exchange(
            "get_secret",
            (
                SecretRequest(
                    "key",
                    {"a": "1"},
                    "web-1",
                    "s1",
                    "web",
                    {"b": "2"},
                    "t1",
                    "web.1",
                    "nginx",
                    "n1",
                    EndpointSpec(1, (PortConfig("http", 1, 80, 8080, 1), PortConfig("x"))),
                ),
            ),
            "SecretProvider.GetSecret",
            '{"SecretName":"key","SecretLabels":{"a":"1"},"ServiceHostname":"web-1",'
            '"ServiceID":"s1","ServiceName":"web","ServiceLabels":{"b":"2"},"TaskID":"t1",'
            '"TaskName":"web.1","TaskImage":"nginx","NodeID":"n1","ServiceEndpointSpec":'
            '{"Mode":1,"Ports":[{"Name":"http","Protocol":1,"TargetPort":80,'
            '"PublishedPort":8080,"PublishMode":1},{"Name":"x"}]}}',
            '{"Value":"AP8=","DoNotReuse":true}',
            Secret(b"\x00\xff", True),
        ),
        Exchange(
            "get_secret",
            (SecretRequest("key"),),
            "SecretProvider.GetSecret",
            '{"SecretName":"key"}',
            '{"Value":"eA==","DoNotReuse":false}',
            Secret(b"x"),
        ),
    )


def test_the_manifest_of_a_secret_provider_names_secretprovider() -> None:
    """B9: Implements has this name, while the paths have SecretProvider."""
    part, _ = part_of(SecretProvider, {"get_secret": Secret(b"x")})

    assert asked(PluginApp(part), "Plugin.Activate") == (200, '{"Implements":["secretprovider"]}')


@pytest.mark.parametrize("value", ["", None, "*"])
def test_a_response_without_a_secret_is_refused(value: str | None) -> None:
    """B9: a secret is base64 of one byte at least."""
    with pytest.raises(WireError, match=r"SecretProvider.GetSecret"):
        replying(SecretProvider, "GetSecret", {"Value": value}).get_secret(SecretRequest("key"))


@pytest.mark.parametrize("size", [0, 512_000])
def test_a_secret_that_is_empty_or_too_large_is_refused(size: int) -> None:
    """B9: a secret has from 1 to 511,999 bytes."""
    assert [len(Secret(bytes(right)).value) for right in (1, 511_999)] == [1, 511_999]
    with pytest.raises(ValueError, match=f"^a secret must have 1 to 511999 bytes, not {size}$"):
        Secret(bytes(size))


def test_the_repr_of_a_secret_does_not_have_its_value() -> None:
    """A secret that is printed or logged shows its size, but not its value."""
    assert repr(Secret(b"hunter2")) == "Secret(7 bytes, do_not_reuse=False)"


def test_err_in_a_response_is_raised_before_the_missing_value() -> None:
    """B9: Err with status 200 is a DriverError, although a secret is missing, too."""
    with pytest.raises(DriverError, match="sealed"):
        replying(SecretProvider, "GetSecret", {"Err": "sealed"}).get_secret(SecretRequest("key"))
