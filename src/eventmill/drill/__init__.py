"""The drill: a campaign with a known answer, while things are killed by a script that a seed decides."""
