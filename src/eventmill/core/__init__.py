"""Values that travel between rooms, states, the law of the partition, keys of objects, units."""
