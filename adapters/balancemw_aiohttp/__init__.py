"""balancemw for aiohttp."""
