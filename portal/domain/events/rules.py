"""Which consumers an event goes to."""

# The feed numbers every event; the mirror keeps the money's; `cache` drops finished checkout pages.
CONSUMERS_BY_AGGREGATE: dict[str, tuple[str, ...]] = {
    "invoice": ("feed", "mirror", "cache"),
    "payment": ("feed", "mirror"),
    "refund": ("feed", "mirror"),
    "client": ("feed",),
    "api_key": ("feed",),
    "wallet": ("feed",),
}
CONSUMERS = ("feed", "mirror", "cache")


def consumers_of(aggregate_type: str) -> tuple[str, ...]:
    return CONSUMERS_BY_AGGREGATE[aggregate_type]
