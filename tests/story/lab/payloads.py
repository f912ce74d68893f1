"""The payloads of the stories. Events are event numbers unless a file says otherwise."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa


def table(**columns):
    """A table of numbers. Not by pa.table(): it imports pandas, and these processes live for a second."""
    values = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    arrays = [
        pa.Array.from_buffers(pa.from_numpy_dtype(v.dtype), len(v), [None, pa.py_buffer(v)])
        for v in values.values()
    ]
    return pa.Table.from_arrays(arrays, names=list(values))


def copy(events, where):
    """Every event as it came."""
    return events


def simulate(events, where):
    """From zero to three hits for each event, drawn from a generator seeded with the event's number."""
    drawn = [np.random.default_rng(int(event)).normal(size=event % 4) for event in events]
    hits = np.concatenate([*drawn, np.empty(0)])
    return table(event=np.repeat(events, [len(event) for event in drawn]), hit=hits)


def number(events, where, *, diary=None):
    """The event numbers; writes a line into the diary for each call."""
    if diary is not None:
        with open(diary, "a") as file:
            file.write(f"{where.start} {where.stop}\n")
    return table(event=events)


def select(events, where, *, every):
    """The events whose number is a multiple of `every`, but never event 0."""
    return table(event=events[(events % every == 0) & (events > 0)])


def frame(events, where):
    """A data frame without a row: its columns have names, and no type that one could tell."""
    import pandas as pd

    return pd.DataFrame({"event": [], "hit": []})


def blank(events, where):
    """A column without a value: nothing for the first ten events, empty lists for the others."""
    import pandas as pd

    return pd.DataFrame({"hits": [None if event < 10 else [] for event in events]})


def poisonous(events, where, *, poison):
    """The event numbers, unless a poisonous one is among them."""
    print(f"working on {where.start} to {where.stop}")
    for event in events:
        if event in poison:
            raise ValueError(f"event {event} is poisonous")
    return table(event=events)


def fickle(events, where, *, until):
    """Has one column up to an event, and another one from there on."""
    return table(event=events) if max(events) < until else table(number=events)


def calibrated(events, where, *, calibration):
    """The event numbers; from 1900 on, a calibration is needed that may not have arrived yet."""
    if max(events) >= 1900:
        Path(calibration).read_text()
    return table(event=events)


def gate(events, where, *, folder):
    """The event numbers. Who comes to event 100 first waits at the gate until it is opened."""
    if events[0] == 100:
        try:
            Path(folder).mkdir()
        except FileExistsError:
            return table(event=events)
        while not Path(folder, "open").exists():
            time.sleep(0.01)
    return table(event=events)


def count(events, where):
    """Histograms of the positions of the events: a weighted one, and one whose categories grow."""
    import hist

    numbers = hist.Hist(hist.axis.Regular(20, 0, 5000, name="number"), storage=hist.storage.Weight())
    numbers.fill(number=where.positions, weight=where.positions % 7 + 0.1)
    parity = hist.Hist(hist.axis.StrCategory([], growth=True, name="parity"))
    parity.fill(["odd" if n % 2 else "even" for n in where.positions])
    return {"numbers": numbers, "parity": parity}


def mass(events, where):
    """The masses of the Z candidates of uproot's example."""
    import hist

    masses = hist.Hist(hist.axis.Regular(60, 60, 120, name="mass"), hist.axis.IntCategory([-1, 1], name="Q1"))
    masses.fill(mass=events["M"], Q1=events["Q1"])
    return {"mass": masses}


def lines(events, where):
    """A line of text for each event."""
    return "".join(f"{where.file} {n}\n" for n in where.positions).encode()


def written(events, where, *, folder):
    """The same, in a file that we wrote ourselves."""
    import tempfile

    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(lines(events, where))
    return Path(file.name)


def deadly(events, where, *, poison, deadly):
    """The event numbers; a poisonous event is an exception, a deadly one the end of the process."""
    if any(event in deadly for event in events):
        os.abort()
    return poisonous(events, where, poison=poison)


def worker():
    """The process id of the worker: the parent of the payload's keeper, which is our parent."""
    return psutil.Process(os.getppid()).ppid()


def murderous(events, where, *, at):
    """The event numbers; one event is the end of the whole worker."""
    if at in events:
        os.kill(worker(), signal.SIGKILL)
        time.sleep(60)
    return table(event=events)


def stuck(events, where, *, at):
    """The event numbers; one event takes for ever."""
    while at in events:
        time.sleep(0.01)
    return table(event=events)


def hungry(events, where, *, at):
    """The event numbers; one event needs a terabyte."""
    if at in events:
        np.ones(10**12 // 8)
    return table(event=events)


def is_first(folder):
    """Whether this is the worker whose payload asked first, whatever becomes of the payload's process."""
    mark = Path(folder, f"first-{worker()}")
    try:
        Path(folder, "taken").mkdir(parents=True)
        mark.touch()
    except FileExistsError:
        pass
    return mark.exists()


def sick(events, where, *, folder):
    """The event numbers, but not on the worker that asked first."""
    if is_first(folder):
        raise OSError("no calibration on this machine")
    return table(event=events)


def uneven(events, where, *, folder, seconds):
    """The event numbers; so many seconds for each, and twenty times as many on the worker that asked first."""
    time.sleep(seconds * len(events) * (20 if is_first(folder) else 1))
    return table(event=events)


def slow_and_noted(events, where, *, seconds, log):
    """The event numbers, after some seconds; each call is a line in a log."""
    with Path(log).open("a") as lines:
        lines.write(f"{where}\n")
    time.sleep(seconds)
    return table(event=events)


def paced(events, where, *, seconds):
    """The event numbers, after so many seconds for each."""
    time.sleep(seconds * len(events))
    return table(event=events)
