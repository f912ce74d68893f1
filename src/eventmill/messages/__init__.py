"""The messages between the event service and its pilots: models (`v1`), and what they mean inside (`convert`)."""
