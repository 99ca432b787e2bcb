"""`noop`: do nothing, for a while if asked. For rehearsals, tests, and plans that only look."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, JsonValue

from kubernaut.actions.spec import ActionContext, ActionParams, ActionPlan, ActionSpec, EffectClass
from kubernaut.plan.model import Check, Risk, Target


class NoopParams(ActionParams):
    seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    """How long it takes, in seconds."""


class Noop:
    """Executor of `noop`."""

    spec: ClassVar[ActionSpec] = ActionSpec(
        name="noop",
        meaning="do nothing",
        effect=EffectClass.READ_ONLY,
        params=NoopParams,
        risk=Risk.NONE,
        undo_reason="it changes nothing",
        default_timeout=90.0,
    )

    async def plan(self, context: ActionContext, params: NoopParams) -> ActionPlan:
        if params.seconds:
            await asyncio.sleep(params.seconds)
        return ActionPlan(summary="nothing done")

    def change_summary(self, target: Target, params: Mapping[str, JsonValue]) -> str:
        return "change nothing"

    def default_check(self, target: Target, params: Mapping[str, JsonValue]) -> Check | None:
        return None
