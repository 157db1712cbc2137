"""Two members of a Patroni cluster, by Patroni's own class for Consul, each at another server: HOST PORT HOST PORT FILE.

One of them is the leader, says so in each of its rounds, and must stay it until FILE is there, whatever happens to
the servers that it does not ask. Then it steps down and the other follows.
"""

import inspect
import os
import sys
import time

from patroni.dcs import get_dcs


def member(name, host, port):
    """A member, by the settings that its file would have."""
    return get_dcs({
        "name": name, "scope": "demo", "namespace": "/service/", "ttl": 20, "loop_wait": 10, "retry_timeout": 10,
        "consul": {"host": "%s:%s" % (host, port)},
    })


def newer(method):
    """Newer ones want to be given what they have seen last."""
    return "cluster" in inspect.signature(method).parameters


def leader(dcs):
    cluster = dcs.get_cluster()
    return cluster.leader and cluster.leader.name, cluster


def main():
    a = member("a", sys.argv[1], sys.argv[2])
    b = member("b", sys.argv[3], sys.argv[4])
    assert a.initialize(create_new=True, sysid="7")
    assert a.attempt_to_acquire_leader()
    session, position = a._session, 0
    while not os.path.exists(sys.argv[5]):
        position += 1
        name, cluster = leader(a)
        assert name == "a", name
        assert a.update_leader(cluster, position) if newer(a.update_leader) else a.update_leader(position)
        assert a.touch_member({"role": "master", "state": "running", "conn_url": "postgres://h/", "api_url": "http://h/"})
        assert leader(b)[0] == "a"
        assert not b.attempt_to_acquire_leader()
        assert a._session == session, "it needed another session"
        print(position, flush=True)
        time.sleep(0.1)
    cluster = leader(a)[1]
    assert a.delete_leader(cluster.leader) if "leader" in inspect.signature(a.delete_leader).parameters else (
        a.delete_leader())
    assert b.attempt_to_acquire_leader()
    assert leader(a)[0] == "b"
    assert b.delete_cluster()
    print("done")


main()
