"""From an AI's answer, in whatever form, to one plan: one module a family of forms, each a pure function.

`kubernaut.plan.examine` calls `translate` with what `kubernaut.json_input` read. Which form an answer has is
recognised by its content. Two forms are translated: our own and the one with a primary action; any other form of the
list is recognised and needs a human. Nothing here renders, resolves, fetches or runs anything, and no policy or graph
is looked at.
"""

from __future__ import annotations

from pydantic import JsonValue

from kubernaut.plan.dialects.recognise import FORMS, recognise
from kubernaut.plan.dialects.translation import Translation
from kubernaut.plan.model import Plan, Signal

__all__ = ["FORMS", "Translation", "recognise", "translate"]

_UNDERSTOOD = (
    "Send a plan in our own form (version: kubernaut.ai/plan/v1) "
    "or an answer with primary_action and secondary_actions."
)


def translate(document: JsonValue, *, signal: Signal | None = None, default_cluster: str | None = None) -> Translation:
    """Translate one answer.

    :param document: what `read_json` returned
    :param signal: the signal that the answer is for; gives what the answer leaves out about the target
    :param default_cluster: the cluster meant where neither answer nor signal names one
    """
    # Imported here: actions use the rules of this package (URLs), and the form with a primary action uses the actions.
    from kubernaut.plan.dialects import native, primary_secondary
    from kubernaut.plan.dialects.given import World
    from kubernaut.plan.provenance import Ledger

    dialect = recognise(document)
    ledger = Ledger(document)
    plan: Plan | None = None
    conditions: dict[str, str] = {}
    if not isinstance(document, dict) or dialect is None:
        ledger.fault(
            "",
            "unknown_dialect",
            "this is no form of answer that is known",
            f"{_UNDERSTOOD} Recognised forms: {', '.join(FORMS)}.",
        )
    elif dialect == native.NAME:
        plan = native.translate(document, ledger, signal)
    elif dialect == primary_secondary.NAME:
        world = World(signal=signal, default_cluster=default_cluster)
        plan, conditions = primary_secondary.translate(document, ledger, world)
    else:
        ledger.question(
            "", "dialect_not_installed", f"answers of the form {dialect!r} are recognised but not translated yet"
        )
    provenance = ledger.close()
    return Translation(
        dialect=dialect,
        plan=plan,
        faults=tuple(ledger.faults),
        questions=tuple(ledger.questions),
        provenance=provenance,
        conditions=conditions,
        sources=dict(ledger.sources),
        reported=frozenset(ledger.reported),
    )
