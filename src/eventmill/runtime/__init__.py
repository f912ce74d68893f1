"""This process and this machine: identity, heartbeat, drain, interrupts, scratch, durable files, preemption."""
