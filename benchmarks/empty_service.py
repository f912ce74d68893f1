"""The least that a service with a ledger can do: a FastAPI route that makes one SQLite query.

`python -m benchmarks.empty_service LEDGER PORT_FILE`; what the event service does more is what it costs.
"""

import socket
import sys
from pathlib import Path

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Asked(BaseModel):
    """A message."""

    value: int


def create_app(ledger: str) -> FastAPI:
    """The app."""
    app, engine = FastAPI(), sa.create_engine(f"sqlite:///{ledger}", max_overflow=-1)
    query = sa.text("SELECT id, name FROM campaign WHERE id = :number")

    @app.post("/ask")
    def ask(asked: Asked) -> dict[str, object]:
        with engine.begin() as tx:
            row = tx.execute(query, {"number": asked.value}).one()
        return {"id": row.id, "name": row.name}

    return app


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    Path(sys.argv[2]).write_text(f"http://127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(create_app(sys.argv[1]), log_level="warning", access_log=False)).run([listener])
