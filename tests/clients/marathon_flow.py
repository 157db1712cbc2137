"""The whole surface of the client `marathon` (marathon-python), against a scheduler: its address is the first argument.

Apps are small shell programs; whatever the client cannot read, it raises. A public method of the client that is not called
here is an error at the end.
"""

import collections
import collections.abc
import sys
import threading
import time

# The client is older than Python 3.10, which has these names in one place only.
for name in ("Iterable", "Mapping", "MutableMapping", "Sequence"):
    setattr(collections, name, getattr(collections.abc, name))

from marathon import MarathonClient
from marathon.exceptions import ConflictError, InternalServerError, MarathonHttpError, NotFoundError
from marathon.models import MarathonApp, MarathonDeployment, MarathonGroup
from marathon.models.app import MarathonHealthCheck

# What asks for something that Marathon itself serves no more: with which arguments it is called, and why it finds nothing.
CALLBACKS = "Marathon has told events by /v2/events alone since it removed callbacks"
DEAD = {
    "list_event_subscriptions": ((), CALLBACKS),
    "create_event_subscription": (("http://127.0.0.1:1/",), CALLBACKS),
    "delete_event_subscription": (("http://127.0.0.1:1/",), CALLBACKS),
}


class Noting:
    """The client; notes which of its methods are used from here, and not by each other."""

    def __init__(self, client):
        self.client = client
        self.called = set()

    def __getattr__(self, name):
        self.called.add(name)
        return getattr(self.client, name)


client = Noting(MarathonClient(sys.argv[1], timeout=10))
LINE = "while :; do sleep 1; done"


def until(what, look, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain: " + what)


def at_rest():
    until("no deployment", lambda: not client.list_deployments())


def listen(events, started):
    for event in client.event_stream():
        events.append(event)
        started.set()


assert client.ping() == b'"pong"', client.ping()
info = client.get_info()
assert info.name == "keyway" and info.elected, info
assert client.get_leader()["leader"], client.get_leader()
assert client.get_metrics()["gauges"]["marathon.apps.active.gauge"]["value"] == 0

events, started = [], threading.Event()
threading.Thread(target=listen, args=(events, started), daemon=True).start()
assert started.wait(10), "the stream begins"

app = client.create_app("py", MarathonApp(cmd=LINE, mem=16, cpus=0.1, instances=2, labels={"a": "1"}))
assert app.id == "/py" and app.deployments, app
try:
    client.create_app("py", MarathonApp(cmd=LINE, mem=16, cpus=0.1))
    raise AssertionError("it is there already")
except ConflictError:
    pass
at_rest()

app = client.get_app("py")
assert app.tasks_running == 2 and len(app.tasks) == 2, app
assert app.upgrade_strategy.minimum_health_capacity == 1
first = str(app.version)
assert [one.id for one in client.list_apps(embed_tasks=True)] == ["/py"]
client.list_apps(embed_tasks=True, embed_counts=True, embed_deployments=True, embed_readiness=True,
                 embed_last_task_failure=True, embed_failures=True, embed_task_stats=True)
client.get_app("py", embed_tasks=True, embed_counts=True, embed_deployments=True, embed_readiness=True,
               embed_last_task_failure=True, embed_failures=True, embed_task_stats=True)
assert client.list_apps(cmd="sleep") and not client.list_apps(cmd="nothing like it")
assert client.list_apps(label="a==1") and not client.list_apps(label="a==2")
assert len(client.list_tasks("py")) == 2 and len(client.list_tasks()) == 2
assert len(client.list_endpoints()) == 2

client.scale_app("py", instances=3)
at_rest()
client.scale_app("py", delta=-1)
at_rest()
assert len(client.list_tasks("py")) == 2

app.env = {"A": "2"}
client.update_app("py", app)
at_rest()
assert client.get_app("py").env == {"A": "2"}
versions = client.list_versions("py")
assert len(versions) == 4, versions
assert not client.get_version("py", versions[-1]).env
client.rollback_app("py", versions[-1])
at_rest()
assert not client.get_app("py").env
client.update_apps([MarathonApp(id="/py", cmd=LINE, env={"B": "3"}, instances=2)])
at_rest()
client.restart_app("py")
at_rest()

task = client.list_tasks("py")[0]
client.kill_task("py", task.id)
until("another one in its place", lambda: len([one for one in client.list_tasks("py") if one.state == "TASK_RUNNING"]) == 2
      and task.id not in [one.id for one in client.list_tasks("py")])
client.kill_given_tasks([client.list_tasks("py")[0].id], scale=True)
at_rest()
assert client.get_app("py").instances == 1
client.kill_tasks("py")
until("another one", lambda: any(one.state == "TASK_RUNNING" for one in client.list_tasks("py")))

# Its pause is longer than this program: it is started a second time because that is asked.
client.create_app("fails", MarathonApp(cmd="exit 3", mem=16, cpus=0.1, backoff_seconds=1000, max_launch_delay_seconds=2000))
failure = until("its failure is told", lambda: client.get_app("fails").last_task_failure)
until("it is queued", lambda: [item for item in client.list_queue() if item.app.id == "/fails"])
client.reset_delay("fails")
until("it has failed again", lambda: client.get_app("fails").last_task_failure.task_id != failure.task_id)
client.delete_app("fails", force=True)
at_rest()

# Nobody listens at its port, so it never is healthy.
ILL = MarathonHealthCheck(protocol="TCP", port_index=0, grace_period_seconds=300, interval_seconds=5)
client.create_app("ill", MarathonApp(cmd=LINE, mem=16, cpus=0.1, health_checks=[ILL]))
try:
    client.update_app("ill", MarathonApp(cmd="sleep 1000"))
    raise AssertionError("it is locked")
except ConflictError:
    pass
deployment = [one for one in client.list_deployments() if "/ill" in one.affected_apps][0]
assert isinstance(deployment, MarathonDeployment) and deployment.current_actions, deployment
client.delete_deployment(deployment.id)
until("it is gone again", lambda: "/ill" not in [one.id for one in client.list_apps()])
at_rest()
client.create_app("ill", MarathonApp(cmd=LINE, mem=16, cpus=0.1, health_checks=[ILL]))
deployment = until("it is deployed", client.list_deployments)[0]
client.delete_deployment(deployment.id, force=True)
client.delete_app("ill", force=True)
at_rest()

client.create_group(MarathonGroup(id="/shop", apps=[MarathonApp(id="web", cmd=LINE, mem=16, cpus=0.1)]))
at_rest()
assert client.get_group("/shop").apps[0].id == "/shop/web"
assert client.list_groups()
then = client.get_group("/shop").version
client.scale_group("/shop", 2)
at_rest()
assert client.get_app("/shop/web").instances == 2
assert client.get_group("/shop").version != then
assert client.rollback_group("/shop", then)["deploymentId"]
at_rest()
assert client.get_app("/shop/web").instances == 1
client.update_group("/shop", MarathonGroup(apps=[MarathonApp(id="/shop/web", cmd=LINE, mem=16, cpus=0.1, instances=2)]))
at_rest()
assert client.get_app("/shop/web").instances == 2
assert client.list_versions("/shop/web")
client.delete_group("/shop")
at_rest()

for refused in (lambda: client.get_app("nothing"), lambda: client.list_versions("nothing")):
    try:
        refused()
        raise AssertionError("it is not there")
    except NotFoundError:
        pass
try:
    client.create_app("bad", MarathonApp(cmd=LINE, instances=-1))
    raise AssertionError("it cannot be")
except MarathonHttpError as error:
    assert error.status_code == 422 and error.error_details[0]["path"] == "/instances", error

client.delete_app("py")
at_rest()
assert client.list_apps() == []
kinds = {event.event_type for event in events}
for kind in ("api_post_event", "status_update_event", "deployment_info", "deployment_step_success", "deployment_success",
             "deployment_failed", "group_change_success", "app_terminated_event"):
    assert kind in kinds, (kind, kinds)

for name, (arguments, why) in DEAD.items():
    try:
        getattr(client.client, name)(*arguments)
        raise AssertionError(name + " is served: " + why)
    except NotFoundError:
        pass


def leads():
    try:
        return client.get_leader()["leader"] and client.list_apps() == []
    except (NotFoundError, InternalServerError):
        return False


assert client.delete_leader()["message"]
until("it leads again", leads)

public = {name for name in dir(MarathonClient) if not name.startswith("_")}
assert client.called | set(DEAD) == public, (public - client.called - set(DEAD), set(DEAD) - public)
assert not client.called & set(DEAD), client.called & set(DEAD)
print("done")
