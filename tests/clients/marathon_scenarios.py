"""What the client `marathon` (marathon-python) tries in its own scenarios of behave, against a scheduler: its address is the
first argument. The scenarios themselves want a Marathon in a container; these are their calls, in their order.
"""

import collections
import collections.abc
import sys
import threading
import time

# The client is older than Python 3.10, which has these names in one place only.
for name in ("Iterable", "Mapping", "MutableMapping", "Sequence"):
    setattr(collections, name, getattr(collections.abc, name))

import marathon

client = marathon.MarathonClient(sys.argv[1], timeout=10)


def until(what, look, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain: " + what)


def trivial():
    client.create_app("test-trivial-app", marathon.MarathonApp(cmd="sleep 3600", mem=16, cpus=1, instances=5))


def finished(name):
    until("its deployment has finished", lambda: not client.get_app(name, embed_tasks=True).deployments)


def gone(name):
    client.delete_app(name, force=True)
    until("it is gone", lambda: name not in [app.id.lstrip("/") for app in client.list_apps()] and not client.list_deployments())


# Metadata can be fetched.
info = client.get_info()
assert info and [int(part) for part in info.version.split(".")] > [0, 11, 0], info

# Trivial apps can be deployed, and deployments can be read: at once.
trivial()
assert len(client.list_deployments()) == 1, client.list_deployments()
assert client.get_app("test-trivial-app")
assert [app.id for app in client.list_apps()] == ["/test-trivial-app"]

# App tasks can be listed.
finished("test-trivial-app")
assert len(client.list_tasks("test-trivial-app")) == client.get_app("test-trivial-app").instances == 5

# App tasks can be killed.
tasks = client.get_app("test-trivial-app").tasks
client.kill_task(app_id="test-trivial-app", task_id=tasks[0].id, scale=True)
finished("test-trivial-app")
left = client.list_tasks("test-trivial-app")
assert len(left) == 4 and tasks[0].id not in [task.id for task in left], left

# A list of app tasks can be killed.
ids = [task.id for task in client.get_app("test-trivial-app", embed_tasks=True).tasks][:3]
client.kill_given_tasks(ids)
until("others are in their place", lambda: [
    running for running in [[task.id for task in client.list_tasks("test-trivial-app") if task.state == "TASK_RUNNING"]]
    if len(running) == 4 and not set(running) & set(ids)])
gone("test-trivial-app")

# Events can be read.
events, started = [], threading.Event()


def listen():
    for event in client.event_stream():
        events.append(event)
        started.set()


threading.Thread(target=listen, daemon=True).start()
assert started.wait(10), "the stream begins"

# Complex apps can be deployed, with what was written before Marathon 1.5.
complex_app = {
    "container": {
        "type": "DOCKER",
        "docker": {
            "portMappings": [{"protocol": "tcp", "containerPort": 8888, "hostPort": 0}],
            "image": "localhost/no-such-image",
            "network": "BRIDGE",
            "parameters": [{"key": "add-host", "value": "elsewhere.example:192.0.2.1"}],
        },
        "volumes": [{"hostPath": "/etc/stuff", "containerPath": "/etc/stuff", "mode": "RO"}],
    },
    "instances": 1,
    "mem": 30,
    "args": [],
    "backoff_factor": 2,
    "cpus": 0.25,
    "uris": ["file:///etc/docker.tar.gz"],
    "backoff_seconds": 1,
    "constraints": None,
    "cmd": "/bin/true",
    "health_checks": [{
        "protocol": "HTTP", "path": "/health", "gracePeriodSeconds": 3, "intervalSeconds": 10, "portIndex": 0,
        "timeoutSeconds": 10, "maxConsecutiveFailures": 3,
    }],
}
client.create_app("test-complex-app", marathon.MarathonApp(**complex_app))
app = client.get_app("test-complex-app")
assert app.container.docker.image == "localhost/no-such-image" and app.health_checks, app
assert client.list_apps()
gone("test-complex-app")
until("it is told that it is gone", lambda: "app_terminated_event" in [event.event_type for event in events])
print("done")
