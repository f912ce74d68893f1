"""Selects bright stars: a payload that is a plain function."""


def bright(events, where, *, limit):
    """The stars that are brighter than magnitude `limit`, each with its file and its row there."""
    stars = events.to_pandas()  # a pyarrow.Table with the columns of the campaign
    stars["night"], stars["row"] = where.file, where.positions
    return stars[stars.mag < limit]
