"""`python -m eventmill.pilot`: the same as `eventmill-pilot`."""

from eventmill.pilot.command import main

main()
