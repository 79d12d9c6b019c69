"""The host's and the plugin's end for programs that run on asyncio."""

__all__: list[str] = []
