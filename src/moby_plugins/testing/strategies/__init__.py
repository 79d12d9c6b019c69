"""Strategies for hypothesis: names, specs, messages and other inputs of this library.

Needs hypothesis (extra ``testing``); ``moby_plugins.testing`` itself does not.
"""

try:
    import hypothesis as _needed  # noqa: F401  checked here, to say what to install
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"{__name__} needs hypothesis: pip install 'moby-plugins[testing]'", name="hypothesis"
    ) from _error

from moby_plugins.testing.strategies.message_values import (
    MethodCall,
    log_entries,
    messages,
    method_calls,
)
from moby_plugins.testing.strategies.values import (
    PluginTree,
    Spec,
    TreeEntry,
    addresses,
    json_values,
    manifests,
    names,
    plugin_trees,
    plugins,
    retry_policies,
    specs,
    tls_options,
)

__all__ = [
    "MethodCall",
    "PluginTree",
    "Spec",
    "TreeEntry",
    "addresses",
    "json_values",
    "log_entries",
    "manifests",
    "messages",
    "method_calls",
    "names",
    "plugin_trees",
    "plugins",
    "retry_policies",
    "specs",
    "tls_options",
]
