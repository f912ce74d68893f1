"""Values that rooms exchange, states, the partition law, keys of objects, units."""
