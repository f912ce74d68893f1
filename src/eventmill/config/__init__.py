"""What people write: the campaign file and cluster profiles. Starts nothing."""
