"""balancemw for httpx."""
