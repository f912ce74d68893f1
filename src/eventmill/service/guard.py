"""Who calls, and what they may do: the dependencies of all routes but the open ones."""

import time
from collections.abc import Awaitable, Callable, Container
from functools import cache
from typing import Annotated

from fastapi import Depends, Path, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from eventmill.core.access_tokens import Role, Session, Token
from eventmill.ledger import Ledger
from eventmill.service.problems import Forbidden, NotFound, Unauthorized
from eventmill.service.tokens import NotAccepted, Tokens

bearer = HTTPBearer(auto_error=False, description="A token, as 'eventmill token create' prints it.")
Given = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]

KEPT_SECONDS = 5.0
"""For so long it is not looked up again whose a session is."""

KEPT_SESSIONS = 100_000

SessionId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="As POST /v1/sessions answered.")]

ROLES = {
    Role.READER: frozenset({Role.READER}),
    Role.PILOT: frozenset({Role.READER, Role.PILOT}),
    Role.OPERATOR: frozenset({Role.READER, Role.PILOT, Role.OPERATOR}),
}
"""What each role may do, in the words of what a call needs."""


def is_operator_of(token: Token, campaigns: tuple[str, ...] | None) -> bool:
    """Whether a token is an operator's of all these campaigns; None stands for all that there are."""
    if token.role is not Role.OPERATOR:
        return False
    return token.campaigns is None or (campaigns is not None and set(campaigns) <= set(token.campaigns))


class Guard:
    """Checks callers against the tokens of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._tokens = Tokens(ledger)
        self._sessions: dict[str, tuple[float, Session]] = {}
        self.may = cache(self._may)  # one dependency for each role, which a call resolves once

    def _may(self, role: Role) -> Callable[..., Awaitable[Token]]:
        """A dependency: the caller's token, if it may do what this role may.

        What is known needs no other thread: those are for what asks the ledger.
        """

        async def check(given: Given) -> Token:
            token = None if given is None else self._tokens.kept(given.credentials)
            if token is None:
                token = await run_in_threadpool(self._token, given)
            if role not in ROLES[token.role]:
                raise Forbidden(
                    f"the token {token.id} has the role '{token.role}', and this call needs '{role}': ask the "
                    "operator of the service for such a token."
                )
            return token

        return check

    def may_see(self) -> Callable[..., Container[str] | None]:
        """A dependency: the names of the campaigns that the caller may see; None for all."""
        is_reader = self.may(Role.READER)

        def check(token: Annotated[Token, Depends(is_reader)]) -> Container[str] | None:
            return token.campaigns

        return check

    def session(self) -> Callable[..., Session]:
        """A dependency: the session of the path, if it is the caller's. Of others' nothing is told."""
        is_pilot = self.may(Role.PILOT)

        def check(session: SessionId, token: Annotated[Token, Depends(is_pilot)]) -> Session:
            found = self._ledger.session(session)
            if found is None or found.token_id != token.id:
                raise NotFound(f"there is no session {session} of this token; POST /v1/sessions begins one.")
            return found

        return check

    def known_session(self) -> Callable[..., Awaitable[Session]]:
        """As `session`, for calls that only ask whose it is: what was found is kept for `KEPT_SECONDS`."""
        is_pilot, find = self.may(Role.PILOT), self.session()

        async def check(session: SessionId, token: Annotated[Token, Depends(is_pilot)]) -> Session:
            now = time.monotonic()
            until, kept = self._sessions.get(session, (0.0, None))
            if kept is not None and now < until and kept.token_id == token.id:
                return kept
            found = await run_in_threadpool(find, session, token)
            if len(self._sessions) >= KEPT_SESSIONS:
                self._sessions.clear()
            self._sessions[session] = now + KEPT_SECONDS, found
            return found

        return check

    def session_to_end(self) -> Callable[..., Session]:
        """A dependency: the session of the path, if it is the caller's, or the caller is its operator."""
        is_pilot = self.may(Role.PILOT)

        def check(session: SessionId, token: Annotated[Token, Depends(is_pilot)]) -> Session:
            found = self._ledger.session(session)
            is_its = found is not None and found.token_id == token.id
            if found is None or not (is_its or is_operator_of(token, found.campaigns)):
                raise NotFound(f"there is no session {session} that this token may end.")
            return found

        return check

    def forget(self, token_id: str) -> None:
        """Look a token up with its next call."""
        self._tokens.forget(token_id)

    def check_again(self, token: Token) -> None:
        """Raise `Unauthorized` if a token that was accepted at the beginning of this call is not any more."""
        try:
            self._tokens.check_again(token.id)
        except NotAccepted as error:
            raise Unauthorized(str(error)) from None

    def _token(self, given: HTTPAuthorizationCredentials | None) -> Token:
        if given is None:
            raise Unauthorized(
                "a token is needed: send 'Authorization: Bearer evm_…', as 'eventmill token create' prints it."
            )
        try:
            return self._tokens.check(given.credentials)
        except NotAccepted as error:
            raise Unauthorized(str(error)) from None
