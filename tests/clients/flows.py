"""What users of python-consul and of py-consul do, against the server that is named: HOST PORT.

The two share one interface. Each flow says what it has found and fails with an assertion.
"""

import base64
import sys
import threading
import time

import consul


def keys(c):
    assert c.kv.put("py/a", "1") is True
    index, entry = c.kv.get("py/a")
    assert entry["Value"] == b"1" and entry["ModifyIndex"] == int(index), (index, entry)
    assert c.kv.put("py/empty", "") is True
    assert c.kv.get("py/empty")[1]["Value"] is None
    assert c.kv.put("py/bin", bytes(range(256)), flags=2**64 - 1) is True
    entry = c.kv.get("py/bin")[1]
    assert entry["Value"] == bytes(range(256)) and entry["Flags"] == 2**64 - 1
    assert c.kv.get("py/none") [1] is None
    index, none = c.kv.get("py/none/", recurse=True)
    assert none is None and int(index) >= 1
    assert [entry["Key"] for entry in c.kv.get("py/", recurse=True)[1]] == ["py/a", "py/bin", "py/empty"]
    assert c.kv.get("py", keys=True, separator="/")[1] == ["py/"]
    assert c.kv.get("py/a", consistency="stale")[1]["Value"] == b"1"
    assert c.kv.get("py/a", consistency="consistent")[1]["Value"] == b"1"


def swaps(c):
    assert c.kv.put("cas", "1", cas=0) is True
    assert c.kv.put("cas", "2", cas=0) is False
    at = c.kv.get("cas")[1]["ModifyIndex"]
    assert c.kv.put("cas", "2", cas=at) is True
    assert c.kv.put("cas", "3", cas=at) is False
    assert c.kv.delete("cas", cas=at) is False
    assert c.kv.get("cas")[1]["Value"] == b"2"
    assert c.kv.delete("cas", cas=c.kv.get("cas")[1]["ModifyIndex"]) is True
    assert c.kv.delete("py/", recurse=True) is True
    assert c.kv.get("py/", recurse=True)[1] is None


def waits(c, other):
    c.kv.put("wait", "1")
    index = c.kv.get("wait")[0]
    begun = time.monotonic()
    same, _ = c.kv.get("wait", index=index, wait="300ms")
    assert same == index and time.monotonic() - begun >= 0.3
    later = threading.Timer(0.1, lambda: other.kv.put("wait", "2"))
    later.start()
    more, entry = c.kv.get("wait", index=index, wait="60s")
    later.join()
    assert int(more) > int(index) and entry["Value"] == b"2", (more, index, entry)
    assert time.monotonic() - begun < 30


def sessions(c):
    first = c.session.create(name="one", ttl=10, lock_delay=0, behavior="release")
    second = c.session.create(name="two", ttl=10, lock_delay=0, behavior="delete")
    assert c.session.info(first)[1]["TTL"] == "10s"
    assert {one["ID"] for one in c.session.list()[1]} >= {first, second}
    assert c.session.renew(first)["ID"] == first
    assert c.kv.put("lock", "first", acquire=first) is True
    assert c.kv.put("lock", "second", acquire=second) is False
    entry = c.kv.get("lock")[1]
    assert entry["Session"] == first and entry["LockIndex"] == 1 and entry["Value"] == b"first"
    assert c.kv.put("lock", "", release=second) is False
    assert c.kv.put("lock", "", release=first) is True
    assert c.kv.put("lock", "second", acquire=second) is True
    assert c.session.destroy(second) is True
    assert c.kv.get("lock")[1] is None
    assert c.session.destroy(first) is True
    try:
        c.session.renew(first)
    except consul.NotFound as why:
        assert "not found" in str(why)
    else:
        raise AssertionError("a session that is over was renewed")


def transactions(c):
    text = base64.b64encode(b"v").decode()
    done = c.txn.put([{"KV": {"Verb": "set", "Key": "txn/a", "Value": text}}, {"KV": {"Verb": "get", "Key": "txn/a"}}])
    assert done["Errors"] is None and done["Results"][1]["KV"]["Value"] == text, done
    refused = [{"KV": {"Verb": "set", "Key": "txn/b", "Value": text}}, {"KV": {"Verb": "get", "Key": "txn/none"}}]
    try:
        c.txn.put(refused)
    except consul.ConsulException as why:
        assert "txn/none" in str(why), why
    else:
        raise AssertionError("a transaction that fails was carried out")
    assert c.kv.get("txn/b")[1] is None


def servers(c):
    assert c.status.leader() in c.status.peers()
    about = c.agent.self()
    assert about["Config"]["Datacenter"] == "dc1" and about["Member"]["Addr"]
    assert [member["Name"] for member in c.agent.members()] == [about["Config"]["NodeName"]]
    assert c.catalog.datacenters() == ["dc1"]
    index, nodes = c.catalog.nodes()
    assert nodes[0]["Node"] == about["Config"]["NodeName"] and int(index) >= 1
    assert c.catalog.services()[1] == {"consul": []}
    assert c.health.service("web", passing=True)[1] == []
    assert c.health.state("any")[1] == []
    assert c.agent.services() == {} and c.agent.checks() == {}
    try:
        c.agent.service.register("web", port=80)
    except consul.ConsulException as why:
        assert "there is no catalog" in str(why), why
    else:
        raise AssertionError("a service was registered that nobody finds")
    servers = c.operator.raft_config()["Servers"]
    assert [server["Leader"] for server in servers] == [True], servers


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    c = consul.Consul(host=host, port=port)
    keys(c)
    swaps(c)
    waits(c, consul.Consul(host=host, port=port))
    sessions(c)
    transactions(c)
    servers(c)
    print("done")


main()
