"""Redis permissions of a pool's user and of its operator's: what each needs, no more."""

from __future__ import annotations

KEYS = (
    "executor.work",
    "executor.work:*",
    "dago:*",
    "router.work*",
    "router.decided*",
    "graph:state:*",
    "jobs:*",
    "signalr:updates",
    "chat.jobs*",
)
CHANNELS = ("dago:executor:*", "dago:{executor.work}:*", "AI.RESPONSE")
COMMANDS = (
    # the connection
    *("ping", "select", "role", "time", "info", "client|setname", "client|id", "client|unblock"),
    # streams
    *("xadd", "xread", "xreadgroup", "xack", "xclaim", "xautoclaim", "xpending", "xdel", "xtrim", "xlen"),
    *("xrange", "xrevrange", "xinfo|groups", "xinfo|consumers", "xgroup|create", "xgroup|delconsumer"),
    # states, the registry, journals, marks
    *("get", "strlen", "set", "del", "exists", "rename", "pexpire", "pttl", "scan", "type"),
    *("hget", "hgetall", "hvals", "hset", "hdel", "hexists", "hincrby", "hrandfield", "hstrlen", "append", "setrange"),
    *("lrange", "llen", "rpush", "rpushx", "lmove", "lrem"),
    # runs of graphs
    *("hlen", "expire", "persist", "unlink", "getrange", "lpush", "ltrim", "zrangebyscore", "zrevrangebyscore"),
    # throttles of models
    *("hmget", "hscan", "smembers", "sismember", "sadd", "srem", "zadd", "zcard", "zrange", "zscore", "zrem"),
    *("zremrangebyscore",),
    # scripts, and what tells others that something was given back
    *("eval", "evalsha", "publish", "subscribe", "pubsub|numsub"),
)


def rule() -> str:
    """Word it as `ACL SETUSER <user> on ><password>` takes it."""
    keys = [f"~{key}" for key in KEYS]
    channels = [f"&{channel}" for channel in CHANNELS]
    return " ".join([*keys, *channels, *(f"+{command}" for command in COMMANDS)])
