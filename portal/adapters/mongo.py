"""The mirror in MongoDB: one document per money event, written once, rebuilt from PostgreSQL at any time.

Database `tagih`: `payment_logs` from payment.* events, `checkout_logs` from invoice.*, `payout_logs` from refund.*
(seed 000's logs).
`_id` is the event's ref and `$setOnInsert` the only operator, so a repeated delivery changes nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.errors import BSONError
from pymongo import ASCENDING, IndexModel, ReplaceOne, UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DocumentTooLarge, PyMongoError

from portal.extensions import mongo
from portal.kernel.errors import Unavailable

DATABASE = "tagih"
COLLECTIONS = ("payment_logs", "checkout_logs", "payout_logs")
COLLECTION_OF = {"payment": "payment_logs", "invoice": "checkout_logs", "refund": "payout_logs"}
RETENTION_SECONDS = 13 * 30 * 24 * 3600
BATCH = 500
# How a checkout ended, in the words of the log's readers.
CHECKOUT_STATUS = {
    "DRAFT": "PENDING",
    "PENDING": "PENDING",
    "PAID": "PAID",
    "EXPIRED": "EXPIRED",
    "CANCELLED": "FAILED",
}

Document = dict[str, Any]


class MirrorUnavailable(Unavailable):
    code = "mirror_unavailable"


@dataclass(frozen=True, slots=True)
class MirrorEvent:
    """An event as the mirror needs it; `raw` is the source's JSON of a payment's or a completed refund's transaction."""

    ref: str
    merchant: str
    network: str
    type: str
    version: int
    payload: Document
    occurred_at: datetime
    raw: Document | None = None

    @property
    def collection(self) -> str:
        return COLLECTION_OF[self.type.partition(".")[0]]


def document_of(event: MirrorEvent) -> Document:
    """Return the document of one event: a pure function of it, so that a rebuild is identical."""
    payload = event.payload
    common: Document = {
        "_id": event.ref,
        "merchant": event.merchant,
        "network": event.network,
        "event": event.type,
        "version": event.version,
        "id": payload["id"],
        "created_at": event.occurred_at.astimezone(UTC).replace(microsecond=0),
    }
    if event.collection == "checkout_logs":
        status = "FAILED" if event.type == "invoice.deleted" else CHECKOUT_STATUS[payload["status"]]
        return common | {"status": status, "platform": "stellar", "data": payload}
    if event.collection == "payout_logs":
        return common | {
            "status": payload["status"],
            "payment": payload["payment"],
            "transaction_hash": payload["transaction_hash"],
            "asset": payload["asset"],
            "amount": payload["amount"],
            "destination": payload["to"],
            "estimated_arrival": payload["estimated_arrival"],
            "data": payload,
            "raw": event.raw,
        }
    return common | {
        "status": payload["status"],
        "reason": payload["reason"],
        "invoice": payload["invoice"],
        "transaction_hash": payload["transaction_hash"],
        "asset": payload["asset"],
        "amount": payload["amount"],
        "verdict": payload["rules"],
        "data": payload,
        "raw": event.raw,
    }


def ensure_indexes() -> None:
    """Create the indexes; `created_at` lets documents go after 13 months. Safe to repeat."""
    indexes = [
        IndexModel([("id", ASCENDING)]),
        IndexModel([("status", ASCENDING)]),
        IndexModel([("created_at", ASCENDING)], expireAfterSeconds=RETENTION_SECONDS),
        IndexModel([("status", ASCENDING), ("created_at", ASCENDING)]),
    ]
    with _as_unavailable():
        for name in COLLECTIONS:
            _collection(name).create_indexes(indexes)


def insert_events(events: Sequence[MirrorEvent]) -> dict[str, str]:
    """Write the documents that are not there yet and return {event ref: error} of those that cannot be.

    :raises MirrorUnavailable: when MongoDB does not answer; some documents may be written, which is harmless.
    """
    return _write(events, lambda doc: UpdateOne({"_id": doc["_id"]}, {"$setOnInsert": doc}, upsert=True))


def replace_events(events: Sequence[MirrorEvent]) -> dict[str, str]:
    """Write the documents whatever stands there now; for a rebuild."""
    return _write(events, lambda doc: ReplaceOne({"_id": doc["_id"]}, doc, upsert=True))


def find_documents(collection: str, ids: Sequence[str]) -> dict[str, Document]:
    with _as_unavailable():
        return {found["_id"]: found for found in _collection(collection).find({"_id": {"$in": list(ids)}})}


def list_ids(collection: str) -> Iterator[str]:
    """Yield every `_id` in order."""
    with _as_unavailable():
        for found in _collection(collection).find({}, {"_id": 1}).sort("_id", ASCENDING):
            yield found["_id"]


def delete_documents(collection: str, ids: Sequence[str]) -> None:
    with _as_unavailable():
        _collection(collection).delete_many({"_id": {"$in": list(ids)}})


def ping() -> None:
    with _as_unavailable():
        mongo.client.admin.command("ping")


def database_name() -> str:
    """Return the database in MONGO_URL's path, `tagih` unless it names another one."""
    default = mongo.client.get_default_database(DATABASE).name
    return DATABASE if default in {"admin", "test", "local"} else default


def _collection(name: str) -> Collection[Document]:
    concern = WriteConcern(w="majority", j=True)
    return mongo.client.get_database(database_name()).get_collection(name, write_concern=concern)


def _write(events: Sequence[MirrorEvent], operation: Any) -> dict[str, str]:
    failed: dict[str, str] = {}
    by_collection: dict[str, list[Document]] = {name: [] for name in COLLECTIONS}
    for event in events:
        try:
            by_collection[event.collection].append(document_of(event))
        except (LookupError, TypeError, AttributeError) as bad:
            # A payload that is not of its type's shape: its row dies after its tries and stops no other.
            failed[event.ref] = f"{type(bad).__name__}: {bad}"
    for name, documents in by_collection.items():
        if documents:
            failed |= _write_some(name, documents, operation)
    return failed


def _write_some(name: str, documents: Sequence[Document], operation: Any) -> dict[str, str]:
    """Write a batch; one document that BSON cannot carry is found by halving and stops no other."""
    try:
        with _as_unavailable():
            _collection(name).bulk_write([operation(document) for document in documents], ordered=False)
    except BulkWriteError as partial:
        # 11000: two deliveries of one event raced for the insert, and the document is there.
        errors = (partial.details or {}).get("writeErrors", [])
        return {
            documents[each["index"]]["_id"]: str(each["errmsg"]) for each in errors if each["code"] != 11000
        }
    except (BSONError, DocumentTooLarge, OverflowError) as bad:
        if len(documents) == 1:
            return {documents[0]["_id"]: f"{type(bad).__name__}: {bad}"}
        half = len(documents) // 2
        return _write_some(name, documents[:half], operation) | _write_some(name, documents[half:], operation)
    return {}


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """Turn MongoDB's outages into MirrorUnavailable and let errors about documents pass."""
    try:
        yield
    except DocumentTooLarge:
        raise
    except BulkWriteError as partial:
        if (partial.details or {}).get("writeErrors"):
            raise
        raise MirrorUnavailable(f"MongoDB: {partial}"[:300]) from partial
    except PyMongoError as outage:
        raise MirrorUnavailable(f"MongoDB: {outage}"[:300]) from outage
