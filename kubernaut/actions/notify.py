"""`notify`: tell people, in the log or through a webhook that the site has listed.

The message is a plan's text: it is sent as data, in one JSON string, and logged in one line. A webhook gets it at most
once; the step runner adds the `Idempotency-Key`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from kubernaut.actions.spec import (
    ActionContext,
    ActionParams,
    ActionPlan,
    ActionSpec,
    EffectClass,
    ExternalCall,
)
from kubernaut.actions.urls import MAX_URL, refusal
from kubernaut.plan.model import Check, Risk, Target
from kubernaut.settings import get_settings


class NotifyParams(ActionParams):
    message: Annotated[str, Field(min_length=1, max_length=4_096)]
    channel: Literal["log", "webhook"] = "log"
    url: Annotated[str, Field(max_length=MAX_URL)] | None = None
    """Where `channel` is `webhook`: a URL whose host is in the setting `webhook_hosts`."""

    @field_validator("url")
    @classmethod
    def _host_is_listed(cls, url: str | None) -> str | None:
        """Here and not in the executor, so that a plan is refused before anything of it is registered."""
        reason = refusal(url, get_settings().webhook_hosts) if url is not None else None
        if reason is not None:
            raise ValueError(reason)
        return url

    @model_validator(mode="after")
    def _url_belongs_to_webhook(self) -> Self:
        if self.channel == "webhook" and self.url is None:
            raise ValueError("channel `webhook` needs a url")
        if self.channel == "log" and self.url is not None:
            raise ValueError("a url is given but channel is `log`; say channel `webhook`")
        return self


class Notify:
    """Executor of `notify`."""

    spec: ClassVar[ActionSpec] = ActionSpec(
        name="notify",
        meaning="tell people, in the log or through a webhook",
        effect=EffectClass.EXTERNAL,
        params=NotifyParams,
        risk=Risk.NONE,
        undo_reason="what was sent cannot be called back",
        default_timeout=60.0,
    )

    async def plan(self, context: ActionContext, params: NotifyParams) -> ActionPlan:
        outputs: dict[str, JsonValue] = {"channel": params.channel}
        if params.url is None:
            context.log(f"notify: {single_line(params.message)}")
            return ActionPlan(outputs=outputs, summary="written into the log")
        # path and query may be a secret (most chat webhooks'): what people and logs see is the host
        outputs["host"] = host = urlsplit(params.url).netloc
        call = ExternalCall(
            method="POST",
            url=params.url,
            body={
                "text": params.message,
                "tracking_id": context.tracking_id,
                "execution_id": context.execution_id,
                "step_id": context.step_id,
            },
            summary=f"notify {host}",
        )
        return ActionPlan(changes=(call,), outputs=outputs, summary=f"sent to {host}")

    def change_summary(self, target: Target, params: Mapping[str, JsonValue]) -> str:
        return "send a message to a webhook" if params.get("channel") == "webhook" else "write a message into the log"

    def default_check(self, target: Target, params: Mapping[str, JsonValue]) -> Check | None:
        return None


def single_line(text: str) -> str:
    """Foreign text for a log: no line of its own, no control characters."""
    return "".join(char if char.isprintable() else " " for char in text)
