//! HTTPS: checks that ask by it and take any certificate, and files that are fetched from those whose roots are known.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::harness::dev::{Api, Dev};
use crate::harness::{Home, Program, command, eventually, holds, test};

/// A server of Python's, by TLS: it has `/ok` and `/file`, leads from `/moved` to nowhere, and answers 500 to all else.
/// `serve.py PORT CERTIFICATE KEY`; it says its port.
const SERVER: &str = r#"
import http.server, ssl, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = {"/ok": (200, b"well"), "/file": (200, b"fetched\n"), "/moved": (302, b"")}
        status, body = known.get(self.path, (500, b"ill"))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "https://127.0.0.1:1/nowhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
# The handshake is the business of each connection's own thread.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// An authority that nobody knows.
fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Writes `server.pem` and `server.key`: a certificate for `localhost` by an authority.
fn certify(home: &Home, by: &CertifiedIssuer<'static, KeyPair>) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, by)?;
    home.write("server.pem", certificate.pem())?;
    home.write("server.key", key.serialize_pem())?;
    Ok(())
}

/// The words that start the server, without its port.
fn words(home: &Home) -> anyhow::Result<[String; 3]> {
    let script = home.write("serve.py", SERVER)?;
    let text = |path: &Path| path.display().to_string();
    Ok([
        text(&script),
        text(&home.path("server.pem")),
        text(&home.path("server.key")),
    ])
}

/// An app that serves HTTPS, with more fields.
fn app(home: &Home, id: &str, fields: &Value) -> anyhow::Result<Value> {
    let [script, certificate, key] = words(home)?;
    let mut app = json!({
        "id": id, "instances": 1, "cpus": 0.1, "mem": 64,
        "cmd": format!("exec python3 '{script}' $PORT0 '{certificate}' '{key}'"),
        "portDefinitions": [{ "port": 0, "name": "web" }],
    });
    let fields = fields.as_object().context("fields")?.clone();
    app.as_object_mut().context("an app")?.extend(fields);
    Ok(app)
}

fn check(protocol: &str, path: &str) -> Value {
    json!({
        "protocol": protocol, "path": path, "gracePeriodSeconds": 30, "intervalSeconds": 1, "timeoutSeconds": 5,
        "delaySeconds": 0,
    })
}

/// One whose failures are told from the first on, and kill nobody.
fn told(path: &str) -> Value {
    json!({
        "protocol": "HTTPS", "path": path, "gracePeriodSeconds": 0, "intervalSeconds": 1, "timeoutSeconds": 2,
        "maxConsecutiveFailures": 0,
    })
}

/// Waits until the check of an app's only instance fails for a reason of which this is a part.
async fn fails(api: &Api, app: &str, part: &str) -> anyhow::Result<()> {
    eventually(&format!("{app} fails with {part}"), async || {
        let json = api.get(&format!("/v2/apps{app}")).await.ok()?;
        let result = json["app"]["tasks"][0]["healthCheckResults"][0].clone();
        let cause = result["lastFailureCause"].as_str()?;
        (result["alive"] == false && cause.contains(part)).then_some(())
    })
    .await
}

#[test]
fn an_app_is_asked_by_https_how_it_is_whoever_certifies_it() {
    test(async |home| {
        certify(home, &authority("ours")?)?;
        let dev = Dev::start(home, "dev", &[]).await?;
        let good = json!({ "healthChecks": [check("HTTPS", "/ok"), check("MESOS_HTTPS", "/moved")] });
        let bad = json!({ "healthChecks": [told("/other")] });
        let done = dev
            .api
            .change("PUT", "/v2/apps/good", &app(home, "/good", &good)?)
            .await?;
        dev.api.change("PUT", "/v2/apps/bad", &app(home, "/bad", &bad)?).await?;
        let mut plain = app(home, "/plain", &json!({ "healthChecks": [told("/ok")] }))?;
        home.write("app.conf", "greeting = hello\nlimit = 5\n")?;
        let (program, config) = (env!("CARGO_BIN_EXE_keyway"), home.path("app.conf"));
        plain["cmd"] = json!(format!(
            "exec '{program}' demo-app --config '{}' --listen 127.0.0.1:$PORT0",
            config.display()
        ));
        dev.api.change("PUT", "/v2/apps/plain", &plain).await?;

        dev.api.done(&done).await?;
        let json = dev.api.get("/v2/apps/good").await?;
        let results = json["app"]["tasks"][0]["healthCheckResults"].as_array().cloned();
        let alive = results
            .context("results")?
            .iter()
            .filter(|one| one["alive"] == true)
            .count();
        assert_eq!(alive, 2, "{json}");
        fails(&dev.api, "/bad", "it answered 500").await?;
        fails(&dev.api, "/plain", "TLS with 127.0.0.1:").await?;
        let json = dev.api.get("/v2/apps/plain").await?;
        assert!(json.to_string().contains("does not speak TLS"), "{json}");
        Ok(())
    });
}

#[test]
fn an_app_is_asked_by_https_whether_it_is_ready() {
    test(async |home| {
        certify(home, &authority("ours")?)?;
        let dev = Dev::start(home, "dev", &[]).await?;
        let asks = |path: &str| {
            json!({ "readinessChecks": [{
                "protocol": "HTTPS", "path": path, "portName": "web", "intervalSeconds": 2, "timeoutSeconds": 1,
                "preserveLastResponse": true,
            }] })
        };
        let ready = dev
            .api
            .change("PUT", "/v2/apps/ready", &app(home, "/ready", &asks("/ok"))?)
            .await?;
        dev.api
            .change("PUT", "/v2/apps/never", &app(home, "/never", &asks("/other"))?)
            .await?;

        dev.api.done(&ready).await?;
        let answered = eventually("one that is not ready has said so", async || {
            let json = dev.api.get("/v2/deployments").await.ok()?;
            let result = json[0]["currentActions"][0]["readinessCheckResults"][0].clone();
            (result["lastResponse"]["status"] == 500).then_some(result)
        })
        .await?;
        assert_eq!(
            (&answered["ready"], &answered["lastResponse"]["body"]),
            (&json!(false), &json!("ill"))
        );
        Ok(())
    });
}

/// What keeps the only instance of an app from starting, once it says why it failed.
async fn refusal(api: &Api, app: &str) -> anyhow::Result<String> {
    eventually(&format!("{app} says why it does not start"), async || {
        let json = api.get("/v2/queue").await.ok()?;
        let item = json["queue"].as_array()?.iter().find(|item| item["app"]["id"] == app)?;
        let reason = &item["processedOffersSummary"]["rejectSummaryLastOffers"][0]["reason"];
        let reason = reason.as_str()?.to_owned();
        reason.contains("cannot be fetched").then_some(reason)
    })
    .await
}

#[test]
fn a_file_is_fetched_by_https_from_those_whose_roots_are_known_under_their_own_name_only() {
    test(async |home| {
        let by = authority("ours")?;
        certify(home, &by)?;
        let ours = home.write("ours.pem", by.pem())?.display().to_string();
        let strange = home
            .write("strange.pem", authority("somebody else")?.pem())?
            .display()
            .to_string();
        let [script, certificate, key] = words(home)?;
        let mut python = command(home, "python3");
        let mut server = Program::start(home, "server", python.args([&script, "0", &certificate, &key]))?;
        let port: u16 = server.line("its port", 0, |line| line.parse().ok()).await?;
        let knows = Dev::start_with(home, "knows", &[], &[("SSL_CERT_FILE", &ours)]).await?;
        let other = Dev::start_with(home, "other", &[], &[("SSL_CERT_FILE", &strange)]).await?;
        let app = |host: &str| {
            json!({
                "instances": 1, "cpus": 0.1, "mem": 32, "fetch": [{ "uri": format!("https://{host}:{port}/file") }],
                "cmd": "test \"$(cat file)\" = fetched && exec sleep 1000",
                "healthChecks": [{ "protocol": "COMMAND", "command": { "value": "grep -q fetched file" }, "delaySeconds": 0 }],
            })
        };

        let done = knows.api.change("PUT", "/v2/apps/web", &app("localhost")).await?;
        knows.api.done(&done).await?;
        for (dev, id, host, why) in [
            (&knows, "/named", "127.0.0.1", "not valid for name"),
            (&other, "/web", "localhost", "UnknownIssuer"),
        ] {
            dev.api.change("PUT", &format!("/v2/apps{id}"), &app(host)).await?;
            let told = refusal(&dev.api, id).await?;
            assert!(
                told.contains("its certificate is not accepted")
                    && told.contains(why)
                    && told.contains("SSL_CERT_FILE"),
                "{told}"
            );
        }
        Ok(())
    });
}

/// Clients ask it by plain HTTP.
#[test]
fn haproxy_speaks_tls_to_a_port_that_is_asked_by_it() {
    test(async |home| {
        certify(home, &authority("ours")?)?;
        let dev = Dev::start(home, "dev", &[]).await?;
        // Nobody else is given ports of this address while HAProxy does not have it yet.
        let door = TcpListener::bind("127.0.0.81:0")?.local_addr()?;
        let put = ["kv", "put", "haproxy/bind", &door.to_string()];
        dev.keyway(home).run(&put).await?.expect(0)?;
        let fields = json!({ "healthChecks": [check("HTTPS", "/ok")], "labels": { "HAPROXY_0_PATH": "/" } });
        let done = dev
            .api
            .change("PUT", "/v2/apps/safe", &app(home, "/safe", &fields)?)
            .await?;
        dev.api.done(&done).await?;

        let _haproxy = dev.haproxy(home)?;
        holds("a plain request is answered by the server behind TLS", async || {
            let stream = TcpStream::connect(door);
            let answer = stream.map_err(anyhow::Error::from).and_then(ask);
            answer.is_ok_and(|text| text.contains(" 200 ") && text.ends_with("well"))
        })
        .await
    });
}

fn ask(mut stream: TcpStream) -> anyhow::Result<String> {
    stream.write_all(b"GET /ok HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
