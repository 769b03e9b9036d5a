"""Every table, imported for Alembic and the application factory; nothing else belongs here."""

from portal.domain.api_keys import models as api_keys
from portal.domain.audit import models as audit
from portal.domain.clients import models as clients
from portal.domain.events import models as events
from portal.domain.idempotency import models as idempotency
from portal.domain.invoices import models as invoices
from portal.domain.ledger import models as ledger
from portal.domain.merchants import models as merchants
from portal.domain.payments import models as payments
from portal.domain.refunds import models as refunds

__all__ = [
    "api_keys",
    "audit",
    "clients",
    "events",
    "idempotency",
    "invoices",
    "ledger",
    "merchants",
    "payments",
    "refunds",
]
