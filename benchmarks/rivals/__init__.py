"""Systems that are not in the lock, on the events and under the kills of `benchmarks.churn`.

`make rivals` installs them from `rivals.lock` into a virtual environment of their own, and RabbitMQ from Debian;
`python -m benchmarks.churn hyperqueue ewms` measures them.

- HyperQueue: its server and workers are threads of one process (its package has no more), so what is killed is
  the process of a task; what failed is submitted again.
- EWMS's pilot, with RabbitMQ: a message for a range, a slot for a pilot. It runs each message in a container;
  `apptainer` here runs the command of the container without one, which is quicker.
"""
