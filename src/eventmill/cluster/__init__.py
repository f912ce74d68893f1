"""Everything that knows Dask: the cluster of a run, its workers, the blocks and merges that are on it."""
