"""The two scripts by which `horizon_budget` keeps its state in Redis; times are milliseconds of Redis' clock.

State, one hash a Horizon: tokens, filled_at, closed_until, failures, rest, probing_until.
"""

from hashlib import sha1
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

# ARGV: requests a second, burst, longest closing, how long the state is kept. A clock that was set back must not
# close a door for longer than the longest closing, so whatever lies further ahead counts for nothing.
_BEGIN = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local per_second, burst, closing = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local names = {'tokens', 'filled_at', 'closed_until', 'failures', 'rest', 'probing_until'}
local stored = redis.call('HMGET', KEYS[1], unpack(names))
local tokens = tonumber(stored[1] or burst)
local failures = tonumber(stored[4] or 0)
local function moment(text)
    local at = tonumber(text or 0)
    if at > now + closing then
        return 0
    end
    return at
end
local filled_at = moment(stored[2])
local closed_until = moment(stored[3])
local probing_until = moment(stored[6])
if filled_at == 0 then
    filled_at = now
end
if now > filled_at then
    tokens = math.min(burst, tokens + (now - filled_at) * per_second / 1000)
    filled_at = now
end
local function keep(rest)
    redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens),
        'filled_at', string.format('%.0f', filled_at), 'closed_until', string.format('%.0f', closed_until),
        'failures', failures, 'rest', rest, 'probing_until', string.format('%.0f', probing_until))
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
"""

# ARGV from 5: longest wait, failures that open the breaker, how long a probe may take.
# Returns the verdict, the milliseconds that belong to it and the failures counted so far.
_ENTER = """
if closed_until > now then
    return {'closed', closed_until - now, failures}
end
local is_probe = failures >= tonumber(ARGV[6])
if is_probe and probing_until > now then
    return {'probing', 1000, failures}
end
local wait = math.max(0, math.ceil((1 - tokens) * 1000 / per_second))
if wait > tonumber(ARGV[5]) then
    return {'busy', wait, failures}
end
tokens = tokens - 1
if is_probe then
    probing_until = now + tonumber(ARGV[7])
end
keep(stored[5] or 0)
return {'open', wait, failures}
"""

# ARGV from 5: what happened, its milliseconds, failures that open the breaker, the longest rest.
_REPORT = """
local what, duration = ARGV[5], tonumber(ARGV[6])
local rest = tonumber(stored[5] or 0)
if what == 'succeeded' then
    failures, probing_until, rest = 0, 0, 0
elseif what == 'failed' then
    failures, probing_until = failures + 1, 0
    if failures >= tonumber(ARGV[7]) and now >= closed_until then
        if rest == 0 then
            rest = duration
        end
        closed_until = now + rest
        rest = math.min(rest * 2, tonumber(ARGV[8]))
    end
elseif what == 'closed' then
    probing_until = 0
    closed_until = math.max(closed_until, now + duration)
    tokens, filled_at = math.min(tokens, 1), closed_until
elseif what == 'slowed' then
    tokens = math.min(tokens, 1 - duration * per_second / 1000)
end
keep(rest)
return {what}
"""


class Script:
    """A script that travels once and is then called by its digest."""

    def __init__(self, text: str) -> None:
        self._text = text
        # The name Redis gives it; nothing secret depends on it.
        self._digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Redis, key: str, *arguments: str | int | float) -> Any:
        try:
            return client.evalsha(self._digest, 1, key, *arguments)
        except NoScriptError:
            return client.eval(self._text, 1, key, *arguments)


ENTER = Script(_BEGIN + _ENTER)
REPORT = Script(_BEGIN + _REPORT)
