"""Two members of a Patroni cluster, by Patroni's own class for Consul, against the server that is named: HOST PORT.

What Patroni does about PostgreSQL is left out; what it asks of Consul is all here: sessions, the leader's key,
members, configuration, and waiting for the leader to vanish.
"""

import inspect
import sys
import time

from patroni.dcs import get_dcs


def member(name, ttl):
    """A member, by the settings that its file would have."""
    return get_dcs({
        "name": name, "scope": "demo", "namespace": "/service/", "ttl": ttl, "loop_wait": 10, "retry_timeout": 10,
        "consul": {"host": "%s:%s" % (sys.argv[1], sys.argv[2])},
    })


def update_leader(dcs, position):
    """Newer ones want to be given what they have seen last."""
    cluster = dcs.get_cluster()
    if "cluster" in inspect.signature(dcs.update_leader).parameters:
        return dcs.update_leader(cluster, position)
    return dcs.update_leader(position)


def version(thing):
    """The index of something that was read, which newer ones call so."""
    return thing.version if hasattr(thing, "version") else thing.index


def leader(dcs):
    cluster = dcs.get_cluster()
    return cluster.leader and cluster.leader.name, cluster


def main():
    # Half of it is less than a session may have, which Patroni repairs by what the server says of itself.
    a = member("a", ttl=10)
    b = member("b", ttl=20)
    assert a.ttl == 20, a.ttl

    assert a.initialize(create_new=True, sysid="")
    assert not b.initialize(create_new=True, sysid="")
    assert a.attempt_to_acquire_leader()
    assert not b.attempt_to_acquire_leader()
    for dcs, role in ((a, "master"), (b, "replica")):
        assert dcs.touch_member({"role": role, "state": "running", "conn_url": "postgres://h/", "api_url": "http://h/"})
    name, cluster = leader(b)
    assert name == "a" and sorted(m.name for m in cluster.members) == ["a", "b"], cluster
    assert update_leader(a, 4096)
    assert a.initialize(create_new=False, sysid="7")
    name, cluster = leader(b)
    assert cluster.initialize == "7", cluster

    # The leader is well: nothing is heard for as long as it is waited, but for the first time, when the TTL is new.
    b.watch(version(cluster.leader), 1)
    begun = time.monotonic()
    assert not b.watch(version(cluster.leader), 1)
    assert time.monotonic() - begun >= 1

    assert a.set_config_value('{"ttl":20}')
    name, cluster = leader(b)
    at = version(cluster.config)
    assert b.set_config_value('{"ttl":30}', at)
    assert not a.set_config_value('{"ttl":40}', at)
    assert a.write_sync_state("a", None)
    assert a.set_history_value("[]") is not False
    assert a.manual_failover("a", "b")
    name, cluster = leader(a)
    assert cluster.failover.candidate == "b", cluster

    # Its session is taken away behind its back: it gets another and the key with it.
    a._client.session.destroy(a._session)
    assert leader(b)[0] is None
    assert a.attempt_to_acquire_leader()
    assert leader(b)[0] == "a"

    # It is not heard of any more. The others are told when its time is over, and one takes its place.
    began = time.monotonic()
    while True:
        name, cluster = leader(b)
        if name is None:
            break
        index = version(cluster.leader)
        b.refresh_session()
        b.watch(index, 5)
        assert time.monotonic() - began < 60, "the leader's key outlived its session"
    assert time.monotonic() - began >= 18, "the leader's key was gone before its time"
    assert b.attempt_to_acquire_leader()
    assert not a.attempt_to_acquire_leader()
    assert leader(a)[0] == "b"

    # Stepping down is heard of at once.
    leader(b)
    assert b.delete_leader() if "leader" not in inspect.signature(b.delete_leader).parameters else (
        b.delete_leader(leader(b)[1].leader))
    assert a.attempt_to_acquire_leader()
    assert a.delete_cluster()
    assert leader(a)[1].is_empty() if hasattr(cluster, "is_empty") else True
    print("done")


main()
