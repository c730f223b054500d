"""balancemw for requests."""
