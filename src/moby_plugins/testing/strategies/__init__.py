"""Strategies for hypothesis: whatever crosses this library's borders, in all its forms.

Needs hypothesis (extra ``testing``); ``moby_plugins.testing`` itself does not.
"""

from moby_plugins.testing.strategies.messages import (
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
