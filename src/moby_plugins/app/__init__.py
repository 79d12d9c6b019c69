"""The application core: clients, registries and plugin apps, which use adapters through ports."""
