"""The asynchronous host and plugin: what ``app`` does, with ``await``."""
