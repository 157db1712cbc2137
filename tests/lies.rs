//! Whatever a store answers, no file is ever blank or older.

use std::time::Duration;

use crate::harness::{Agent, Home, Liar, Lie, Server, alone, eventually, holds};

/// An agent whose file shows a key, a folder and whether a key is there; `seen` gets a line at each reload.
fn start(home: &Home, address: &str) -> anyhow::Result<Agent> {
    let text = "{{key \"app/colour\" default=\"blank\"}} {{len (ls \"app\")}}\n";
    let source = home.write("page.hbs", text)?;
    let files = format!("{}:{}", source.display(), home.path("page").display());
    let script = "trap 'cat page >> seen' HUP; cat page >> seen; while :; do sleep 0.01; done";
    let flags = ["-t", &files, "--on-change", "signal=HUP", "--", "sh", "-c", script];
    Agent::run(home, address, &flags)
}

fn head(status: &str, cluster: Option<&str>) -> String {
    let cluster = cluster
        .map(|id| format!("X-Keyway-Cluster: {id}\r\n"))
        .unwrap_or_default();
    format!("HTTP/1.1 {status}\r\nContent-Type: text/event-stream\r\n{cluster}Connection: close\r\n\r\n")
}

fn snapshot(revision: u64, entries: &str) -> String {
    format!("event: snapshot\nid: {revision}\ndata: {{\"Revision\":{revision},\"Entries\":[{entries}]}}\n\n")
}

#[test]
fn a_store_that_lies_makes_no_file_blank_or_older_and_then_the_truth_is_rendered_once() {
    alone(Duration::from_secs(120), async |home| {
        let server = Server::start(home).await?;
        let liar = Liar::to(&server.address).await?;
        server.put("app/colour", "v0").await?;
        let agent = start(home, &liar.address)?;
        let mut expected = "v0 1\n".to_owned();
        holds("the first", async || {
            home.read("seen").is_ok_and(|seen| seen == expected)
        })
        .await?;

        for number in 1..=10 {
            let now = server.revision("app/colour").await?;
            let ours = head("200 OK", Some(&server.cluster));
            let old = r#"{"Key":"app/colour","Value":"b2xk","CreateIndex":2,"ModifyIndex":2}"#;
            let new = r#"{"Key":"app/colour","Value":"b2xk","CreateIndex":2,"ModifyIndex":99999}"#;
            let (name, lie) = match number {
                1 => ("nothing at a lower revision", Lie::Open(ours + &snapshot(1, ""))),
                2 => ("nothing at the same revision", Lie::Open(ours + &snapshot(now, ""))),
                3 => (
                    "an old value at the same revision",
                    Lie::Open(ours + &snapshot(now, old)),
                ),
                4 => ("an entry of the future", Lie::Open(ours + &snapshot(now + 1, new))),
                5 => (
                    "500",
                    Lie::Cut(head("500 Internal Server Error", None) + "No cluster leader"),
                ),
                6 => (
                    "half an event",
                    Lie::Cut(ours + "event: snapshot\ndata: {\"Revision\":99999,\"Entries\":["),
                ),
                7 => (
                    "no JSON",
                    Lie::Open(ours + "event: snapshot\ndata: {\"Revision\":99999,\"Entries\":\n\n"),
                ),
                8 => (
                    "another cluster",
                    Lie::Open(head("200 OK", Some("of-somebody-else")) + &snapshot(99_999, "")),
                ),
                9 => ("nobody's name", Lie::Open(head("200 OK", None) + &snapshot(99_999, ""))),
                _ => ("a way elsewhere", Lie::Cut(head("302 Found", Some(&server.cluster)))),
            };
            liar.tell(Some(lie));
            // The second question comes when the first answer has been thought over.
            holds(&format!("asked twice: {name}"), async || liar.lied() >= 2).await?;
            assert_eq!(
                home.read("page")?,
                expected.lines().last().unwrap_or_default().to_owned() + "\n",
                "{name}"
            );

            server.put("app/colour", format!("v{number}")).await?;
            liar.tell(None);
            expected += &format!("v{number} 1\n");
            let seen = eventually(&format!("the truth after {name}"), async || {
                home.read("seen")
                    .ok()
                    .filter(|seen| seen.ends_with(&format!("v{number} 1\n")))
            })
            .await?;
            assert_eq!(seen, expected, "each truth once, and nothing else: {name}");
        }
        drop(agent);
        Ok(())
    });
}

#[test]
fn an_event_without_an_end_is_cut_off_and_memory_stays_bounded() {
    alone(Duration::from_secs(120), async |home| {
        let server = Server::start(home).await?;
        let liar = Liar::to(&server.address).await?;
        server.put("app/colour", "v0").await?;
        let ours = head("200 OK", Some(&server.cluster));
        liar.tell(Some(Lie::Endless(ours + "event: snapshot\ndata: ")));

        let agent = start(home, &liar.address)?;
        let told = Duration::from_secs(90);
        let until = tokio::time::Instant::now() + told;
        while !agent.program.log().contains("an event is longer than 256 MiB") {
            anyhow::ensure!(tokio::time::Instant::now() < until, "{}", agent.program.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        liar.tell(None);

        holds("the truth", async || {
            home.read("seen").is_ok_and(|seen| seen == "v0 1\n")
        })
        .await?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.program.pid()))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        let peak: u64 = peak.unwrap_or_default().trim().parse()?;
        assert!(peak < 900 << 10, "{peak} KiB");
        drop(agent);
        Ok(())
    });
}
