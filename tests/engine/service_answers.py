"""Asking the views of the event service, without a server."""

from __future__ import annotations

import asyncio

import httpx
from fastapi import FastAPI

from eventmill.messages.v1 import Problem
from eventmill.service.problems import MEDIA_TYPE


def ask(app: FastAPI, path: str, *, token: str | None = None, method: str = "GET") -> httpx.Response:
    """One request; an exception that nobody catches becomes the 500 that a server would answer."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers) as client:
            return await client.request(method, path)

    return asyncio.run(asked())


def problem_of(response: httpx.Response) -> Problem:
    """The problem that a refusal tells: one line, with its own status."""
    assert response.headers["content-type"] == MEDIA_TYPE
    problem = Problem.model_validate_json(response.content)
    assert problem.status == response.status_code and problem.detail and "\n" not in problem.detail
    return problem
