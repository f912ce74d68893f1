"""The calls of operators: what is wanted of a campaign, which pilots and tokens there are, and ending them.

Of what is not the caller's to see it is told the same as of what there is not.
FastAPI reads the annotations of each route, also of names in this function: they are no texts here.
"""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from eventmill.core.access_tokens import Role, Token, pilot_name
from eventmill.core.records import DesiredState
from eventmill.ledger import Ledger
from eventmill.messages import v1
from eventmill.service.campaigns import Campaigns
from eventmill.service.guard import Guard, is_operator_of
from eventmill.service.limits import Rate
from eventmill.service.problems import NotFound
from eventmill.service.tokens import revoke

SHOWN = timedelta(days=1)
"""A session that has not ended is listed for so long after its pilot was seen last."""

CampaignName = Annotated[str, Path(max_length=64, description="The campaign.", alias="name")]
TokenId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", description="As GET /v1/tokens lists it.", alias="token")]


def operator_router(ledger: Ledger, campaigns: Campaigns, guard: Guard, rate: Rate) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["operators"])
    is_operator = guard.may(Role.OPERATOR)

    def counted(caller: Annotated[Token, Depends(is_operator)]) -> Token:
        rate.count(caller.id)
        return caller

    Operator = Annotated[Token, Depends(counted)]

    @router.post("/campaigns/{name}/state")
    def set_state(name: CampaignName, asked: v1.StateRequest, caller: Operator) -> v1.StateReply:
        """Let a campaign run, pause it or cancel it, as `eventmill pause` and `eventmill cancel` do.

        'run' starts no process: blocks are handed out while one leads the campaign.
        """
        row = next((row for row in ledger.campaigns() if row.name == name and caller.is_for(name)), None)
        if row is None:
            raise NotFound("there is no such campaign for this token.")
        wanted = DesiredState(asked.state.value)
        if row.desired_state is not wanted:  # said again, it is not written down again
            ledger.set_desired_state(row.id, wanted)
        counts = ledger.counts(row.id)
        return v1.StateReply(campaign=row.name, state=asked.state, done=counts.done, total=counts.total)

    @router.get("/sessions")
    def list_sessions(caller: Operator) -> v1.SessionsReply:
        """The pilots at work for the campaigns of this token."""
        found = (each for each in ledger.sessions(seen_within=SHOWN) if is_operator_of(caller, each.campaigns))
        return v1.SessionsReply(
            sessions=[
                v1.SessionEntry(
                    session=each.id,
                    name=each.name,
                    worker=pilot_name(each.name, each.id),
                    token=each.token_id,
                    slots=each.slots,
                    campaigns=None if each.campaigns is None else list(each.campaigns),
                    offers=v1.Offers.model_validate(dict(each.offers)),
                    began_at=each.began_at,
                    seen_at=each.seen_at,
                    refusals=campaigns.refusals(each, caller),
                )
                for each in found
            ]
        )

    @router.get("/tokens")
    def list_tokens(caller: Operator) -> v1.TokensReply:
        """The tokens for the campaigns of this token, without their secrets, of which only hashes are kept."""
        found = (each for each in ledger.tokens() if is_operator_of(caller, each.campaigns))
        return v1.TokensReply(
            tokens=[
                v1.TokenEntry(
                    token=each.id,
                    role=each.role.value,
                    campaigns=None if each.campaigns is None else list(each.campaigns),
                    label=each.label,
                    created_at=each.created_at,
                    expires_at=each.expires_at,
                    revoked_at=each.revoked_at,
                )
                for each in found
            ]
        )

    @router.delete("/tokens/{token}")
    def revoke_token(token: TokenId, caller: Operator) -> v1.RevokeReply:
        """Accept a token no more, here at once and in other services within seconds; its sessions end."""
        found = ledger.token(token)
        if found is None or not is_operator_of(caller, found.campaigns):
            raise NotFound(f"there is no token {token} that this token may revoke.")
        _, released = revoke(ledger, token)
        guard.forget(token)
        return v1.RevokeReply(token=token, released=released)

    return router
