"""The side that leads a campaign: open, split, coordinate, merge queue, finish, collect, audit, recover."""
