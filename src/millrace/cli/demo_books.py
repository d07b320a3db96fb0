"""The operator's side of the demo: the verbs of the command line, on the database that the server has open too."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from millrace.base.money import render_amount
from millrace.base.times import month_of
from millrace.cli import forms, place
from millrace.cli.books import audit_form, audit_table, trial_balance_table, verdict
from millrace.cli.consumption import balance_facts
from millrace.cli.demo_checks import balance_is_rest, invoices_are_receipts, receipt_is_rated, wrong
from millrace.cli.demo_narrator import Narrator
from millrace.cli.invoice import run_period
from millrace.cli.output import Text
from millrace.cli.shell import Shell
from millrace.money.audit.examine import examine
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.money.invoices.text import render_text
from millrace.money.ledger import store as ledger
from millrace.money.ledger.trial_balance import totals
from millrace.money.rating.store import price_by_id
from millrace.store.transaction import Tx
from millrace.tenants import store as tenants
from millrace.wire.receipts import BalanceForm, ReceiptForm

PAUPER: Final = "small-purse"

PURSE_NANO: Final = 1
"""A thousand-millionth: too little for any request that costs something."""


class BooksSide:
    """Open while the story is told."""

    def __init__(self, shell: Shell, narrator: Narrator, home: Path, tenant: str) -> None:
        self._shell = shell
        self._narrator = narrator
        self._tenant = tenant
        self._db = place.open_database(home, shell.config, make=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def is_rated(self, receipt: ReceiptForm) -> str | None:
        return receipt_is_rated(receipt, self._db.read(lambda tx: price_by_id(tx, receipt.price)))

    def make_pauper(self) -> tuple[str, BalanceForm]:
        """The key of a tenant that can pay for nothing, and what it has."""

        def work(tx: Tx) -> str:
            ids, now = self._shell.ids, self._shell.clock.now()
            currency = tenants.tenant_named(tx, self._tenant).currency
            made = tenants.create_tenant(tx, ids, now, name=PAUPER, currency=currency)
            grants.give(
                tx,
                grants.new_grant(
                    id=ids.new("grant"), tenant_id=made.id, amount=PURSE_NANO, currency=currency,
                    funding=Funding.OPERATOR, now=now,
                ),
            )  # fmt: skip
            project = tenants.find_or_create_project(tx, ids, now, tenant=made)
            return str(tenants.create_key(tx, ids, now, project=project)[1])

        key = self._db.write_now(work)
        return key, self._db.read(lambda tx: self._balance(tx, PAUPER))

    def pauper_lost_something(self, before: BalanceForm) -> str | None:
        after = self._db.read(lambda tx: self._balance(tx, PAUPER))
        return None if after == before else f"the refused tenant had {before.available} before and has {after.available} now"

    def compare(self, balance: BalanceForm, receipts: Sequence[ReceiptForm]) -> str | None:
        def granted(tx: Tx) -> int:
            return sum(one.amount for one in grants.of_tenant(tx, tenants.tenant_named(tx, self._tenant).id))

        total = self._db.read(granted)
        self._narrator.show(balance_facts(balance))
        disagreement = balance_is_rest(balance, total, receipts)
        if disagreement is None:
            granted_text = render_amount(total)
            self._narrator.say(f"That is the grant of {granted_text} less the {len(receipts)} receipts, to the last digit.")
        return disagreement

    def invoice(self, receipts: Sequence[ReceiptForm]) -> list[dict[str, Any]]:
        month = month_of(self._shell.clock.now())
        issued = run_period(self._shell, self._db, month, None)
        disagreement = invoices_are_receipts([one.document for one in issued], receipts)
        for one in issued:
            self._narrator.show(Text(render_text(one.document).rstrip("\n")))
        if disagreement is not None:
            raise wrong(disagreement)
        return [forms.whole_invoice(one, json.loads(one.text)) for one in issued]

    def trial_balance(self) -> dict[str, Any]:
        accounts = self._db.read(ledger.accounts)
        form = forms.trial_balance(accounts, totals(accounts))
        self._narrator.show(trial_balance_table(form), Text(verdict(form)))
        if not form["balanced"]:
            raise wrong("debits and credits differ")
        return form

    def audit(self) -> dict[str, Any]:
        findings = examine(self._db, self._shell.clock.now(), since_mark=False)
        self._narrator.show(audit_table(findings.checks))
        failed = next((check for check in findings.checks if not check.ok), None)
        if failed is not None:
            raise wrong(f"{failed.name}: {failed.detail}")
        return audit_form(findings.checks)

    def _balance(self, tx: Tx, name: str) -> BalanceForm:
        owner = tenants.tenant_named(tx, name)
        return forms.balance(grants.balance(tx, owner.id, owner.currency, self._shell.clock.now()), owner.name)
