//! `templates/haproxy.cfg.hbs` at work: a real HAProxy in front of what a scheduler has deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::harness::dev::Dev;
use crate::harness::{Home, alone, eventually, holds};

const BOUND: Duration = Duration::from_secs(180);

/// The name under which the shop is asked.
const SHOP: &str = "shop.example.org";

/// How many requests show who gets how many.
const REQUESTS: usize = 300;

/// Answers with the name of its task, at `/slow` not before a file is there; on its second port it says its name and then
/// whatever it is told.
const SERVER: &str = r#"
import http.server, os, socketserver, sys, threading, time

NAME = (os.environ["MESOS_TASK_ID"] + "\n").encode()
FOLDER = sys.argv[1]

class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            open(FOLDER + "/begun", "w").close()
            while not os.path.exists(FOLDER + "/go-on"):
                time.sleep(0.01)
        self.send_response(200)
        self.send_header("Content-Length", str(len(NAME)))
        self.end_headers()
        self.wfile.write(NAME)
    def log_message(self, *_):
        pass

class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(NAME)
        for line in self.rfile:
            self.wfile.write(line)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    # HAProxy's own checks hang up as soon as they know.
    def handle_error(self, *_):
        pass

web = Server(("127.0.0.1", int(sys.argv[2])), Web)
lines = Server(("127.0.0.1", int(sys.argv[3])), Lines)
threading.Thread(target=lines.serve_forever, daemon=True).start()
web.serve_forever()
"#;

/// An HTTP answer.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    cookie: Option<String>,
    /// Its text: of servers the name of their task.
    said: String,
}

/// One request on a connection of its own.
fn get(to: SocketAddr, host: &str, path: &str, cookie: Option<&str>) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n{cookie}\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer")?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    Ok(Answer {
        status,
        cookie: cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned),
        said: body.trim_end().to_owned(),
    })
}

/// A connection to a second port, and the name of the task at its other end.
fn open(to: SocketAddr) -> anyhow::Result<(BufReader<TcpStream>, String)> {
    let mut stream = BufReader::new(TcpStream::connect(to)?);
    let task = line(&mut stream)?;
    anyhow::ensure!(!task.is_empty(), "nobody is at the other end");
    Ok((stream, task))
}

fn line(stream: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Where HAProxy is asked.
struct Doors {
    web: SocketAddr,
    lines: SocketAddr,
    stats: SocketAddr,
}

fn app(home: &Home, id: &str, instances: u32, labels: &Value) -> anyhow::Result<Value> {
    let server = home.write("server.py", SERVER)?;
    let folder = home.dir().display();
    Ok(json!({
        "id": id, "instances": instances, "cpus": 0.1, "mem": 64,
        "cmd": format!("exec python3 '{}' '{folder}' $PORT0 $PORT1", server.display()),
        "portDefinitions": [{ "port": 0 }, { "port": 0 }],
        "labels": labels,
        "healthChecks": [
            { "protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 60, "intervalSeconds": 1 },
            { "protocol": "TCP", "portIndex": 1, "gracePeriodSeconds": 60, "intervalSeconds": 1 },
        ],
    }))
}

#[test]
fn names_paths_ports_weights_and_drain_are_as_the_labels_say() {
    alone(BOUND, async |home| {
        let dev = Dev::start(home, "dev", &["--data-dir", &home.path("d").display().to_string()]).await?;
        // Nobody else is given ports of this address while HAProxy does not have them yet.
        let free = || TcpListener::bind("127.0.0.80:0").and_then(|port| port.local_addr());
        let doors = Doors {
            web: free()?,
            lines: free()?,
            stats: free()?,
        };
        let socket = home.path("haproxy.sock");
        let keyway = async |arguments: &[&str]| dev.keyway(home).run(arguments).await?.expect(0);
        for (key, value) in [
            ("haproxy/bind", doors.web.to_string()),
            ("haproxy/stats", doors.stats.to_string()),
            ("haproxy/stats-socket", socket.display().to_string()),
        ] {
            keyway(&["kv", "put", key, &value]).await?;
        }
        let shop = json!({
            "HAPROXY_0_VHOST": SHOP, "HAPROXY_0_STICKY": "true",
            "HAPROXY_1_PORT": doors.lines.port().to_string(), "HAPROXY_1_BIND_ADDR": "127.0.0.80",
            "KEYWAY_DRAIN": "10m",
        });
        let tool = json!({ "HAPROXY_0_VHOST": SHOP, "HAPROXY_0_PATH": "/tool" });
        let other = json!({ "HAPROXY_0_VHOST": "-f /etc/passwd", "HAPROXY_0_PATH": "/other" });
        for app in [
            app(home, "/shop/web", 3, &shop)?,
            app(home, "/tool", 1, &tool)?,
            app(home, "/other", 1, &other)?,
        ] {
            let path = format!("/v2/apps{}", app["id"].as_str().unwrap_or_default());
            let deployment = dev.api.change("PUT", &path, &app).await?;
            dev.api.done(&deployment).await?;
        }
        let _haproxy = dev.haproxy(home)?;

        leads_where_it_should(&doors).await?;
        asks_by_itself(&doors, &socket).await?;
        let tasks = tasks(&dev).await?;
        let first = tasks.first().context("a task")?;
        let (_, uuid) = first
            .trim_end_matches("._app.1")
            .split_once(".instance-")
            .context("a UUID")?;
        keyway(&["kv", "put", &format!("haproxy/weight/shop/web/{uuid}"), "200"]).await?;
        gets_twice_as_much(&doors, first).await?;
        finishes_what_it_has(home, &dev, &doors, first).await
    });
}

async fn tasks(dev: &Dev) -> anyhow::Result<Vec<String>> {
    let json = dev.api.get("/v2/apps/shop/web/tasks").await?;
    let tasks = json["tasks"].as_array().into_iter().flatten();
    Ok(tasks
        .filter_map(|task| task["id"].as_str().map(str::to_owned))
        .collect())
}

async fn leads_where_it_should(doors: &Doors) -> anyhow::Result<()> {
    let leads = |host: &str, path: &str| get(doors.web, host, path, None).map(|answer| answer.said);
    holds("a name leads to its app, and a path of it to another", async || {
        leads(SHOP, "/").is_ok_and(|task| task.starts_with("shop_web."))
            && leads("SHOP.example.org:80", "/x").is_ok_and(|task| task.starts_with("shop_web."))
            && leads(SHOP, "/tool/a").is_ok_and(|task| task.starts_with("tool."))
            && leads("elsewhere", "/other").is_ok_and(|task| task.starts_with("other."))
    })
    .await?;
    assert_eq!(get(doors.web, "elsewhere", "/tool", None)?.status, 503);
    holds("a port of its own leads to all of an app", async || {
        let tasks = (0..3).map(|_| open(doors.lines).map(|(_, task)| task));
        let tasks = tasks.collect::<anyhow::Result<BTreeSet<_>>>();
        tasks.is_ok_and(|tasks| tasks.len() == 3 && tasks.iter().all(|task| task.starts_with("shop_web.")))
    })
    .await
}

/// HAProxy's own checks are those of the app; its page and its socket tell of them.
async fn asks_by_itself(doors: &Doors, socket: &Path) -> anyhow::Result<()> {
    holds("HAProxy has asked all servers by itself", async || {
        let Ok(table) = stats(socket) else { return false };
        let of = |backend: &str, check: &str| {
            let servers = table.iter().filter(|row| row["# pxname"] == backend);
            let servers: Vec<_> = servers
                .filter(|row| !["FRONTEND", "BACKEND"].contains(&row["svname"].as_str()))
                .collect();
            servers.len() == 3 && servers.iter().all(|row| row["check_status"] == check)
        };
        of("shop_web:0", "L7OK") && of("shop_web:1", "L4OK")
    })
    .await?;
    let page = get(doors.stats, "x", "/", None)?;
    assert!(page.status == 200 && page.said.contains("shop_web:1"), "{page:?}");
    Ok(())
}

/// Who has what, in rows by the names of their columns.
fn stats(socket: &Path) -> anyhow::Result<Vec<BTreeMap<String, String>>> {
    let mut commands = UnixStream::connect(socket)?;
    commands.write_all(b"show stat\n")?;
    let mut table = String::new();
    commands.read_to_string(&mut table)?;
    let mut rows = table.trim_end().lines().map(|line| line.split(',').map(str::to_owned));
    let names: Vec<String> = rows.next().context("a head")?.collect();
    Ok(rows.map(|row| names.iter().cloned().zip(row).collect()).collect())
}

async fn gets_twice_as_much(doors: &Doors, task: &str) -> anyhow::Result<()> {
    holds("one of three with twice the weight gets half", async || {
        let asked = (0..REQUESTS).map(|_| get(doors.web, SHOP, "/", None));
        let Ok(answers) = asked.collect::<anyhow::Result<Vec<_>>>() else {
            return false;
        };
        let its = answers.iter().filter(|answer| answer.said == task).count();
        let others: BTreeSet<_> = answers.iter().map(|answer| &answer.said).collect();
        its.abs_diff(REQUESTS / 2) <= REQUESTS / 50 && others.len() == 3
    })
    .await
}

/// An instance that is about to stop gets nothing new, not from those who had it before either, and ends what it has.
async fn finishes_what_it_has(home: &Home, dev: &Dev, doors: &Doors, task: &str) -> anyhow::Result<()> {
    let its = |answer: &Answer| answer.said == task;
    let to_it = eventually("its turn comes", async || {
        get(doors.web, SHOP, "/", None).ok().filter(its)
    })
    .await?;
    let cookie = to_it.cookie.context("a cookie")?;
    assert!(its(&get(doors.web, SHOP, "/", Some(&cookie))?));
    let (web, slow_cookie) = (doors.web, cookie.clone());
    let slow = tokio::task::spawn_blocking(move || get(web, SHOP, "/slow", Some(&slow_cookie)));
    let (mut connection, _) = eventually("its turn comes at the other port", async || {
        open(doors.lines).ok().filter(|(_, other)| other == task)
    })
    .await?;
    holds("it has the slow request", async || home.path("begun").exists()).await?;

    let path = format!("/v2/apps/shop/web/tasks/{task}?scale=true");
    dev.api.change("DELETE", &path, &Value::Null).await?;
    holds("nothing new comes to it", async || {
        let asked = (0..20).map(|n| get(doors.web, SHOP, "/", (n == 0).then_some(cookie.as_str())));
        let Ok(answers) = asked.collect::<anyhow::Result<Vec<_>>>() else {
            return false;
        };
        let ports = (0..8).map(|_| open(doors.lines).map(|(_, task)| task));
        let ports = ports.collect::<anyhow::Result<Vec<_>>>();
        !answers.iter().any(its) && ports.is_ok_and(|tasks| !tasks.iter().any(|other| other == task))
    })
    .await?;

    assert!(!slow.is_finished());
    connection.get_mut().write_all(b"still here?\n")?;
    assert_eq!(line(&mut connection)?, "still here?");
    home.write("go-on", "")?;
    let slow = slow.await??;
    assert_eq!((slow.status, slow.said.as_str()), (200, task));
    Ok(())
}
