"""What people write: the campaign file and cluster types. Starts nothing."""
