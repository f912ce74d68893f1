"""What differs between machines: cluster profiles and server set-up. Data, no logic."""
