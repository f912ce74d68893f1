"""What differs between machines: cluster types and server set-up. Data, no logic."""
