"""Everything that uses Dask: the cluster of a run, its workers, the blocks and merges on it."""
