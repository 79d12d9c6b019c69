"""The application core for asyncio: asynchronous clients, registries and plugin apps."""
