"""Example campaigns. Nothing imports them: `eventmill init` writes them, and `make demo` runs one."""
