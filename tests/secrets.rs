//! What is secret is in a file and in the program, and nowhere else: whatever goes wrong, whoever shows it, and
//! however much is logged.

use crate::harness::{Agent, Home, Server, eventually, test};

const TEMPLATE: &str = "mode={{key \"app/mode\"}}\npw={{key \"app/pw\"}}\nfile={{secretFile \"pw\"}}\n\
                        {{#if (eq (key \"app/mode\") \"parse\")}}{{parseInt (key \"app/pw\")}}{{/if}}\n";

/// Shows all there is, and refuses some; slowly, if it is told to.
const CHECK: &str = "cat {}; if grep -q mode=slow {}; then touch checking; while [ ! -e go ]; do sleep 0.01; done; fi; \
                     ! grep -q 'mode=slow\\|mode=refuse' {}";

async fn status(home: &Home) -> anyhow::Result<String> {
    let mut asking = Agent::ask(home, &["status", "--status", "s", "-o", "json"])?;
    asking.exit().await?;
    // What was asked before stands in front of it.
    Ok(asking.output().lines().last().unwrap_or_default().to_owned())
}

#[test]
fn a_secret_is_in_no_log_line_no_status_and_no_report_whatever_shows_it() {
    test(async |home| {
        let server = Server::start(home).await?;
        // Not beside the log: each line would be an event of the folder, which is a line again.
        let source = home.write("in/a.hbs", TEMPLATE)?;
        home.write("in/pw", "marked-in-the-file\n")?;
        server.put("app/pw", "marked-in-the-store").await?;
        server.put("app/mode", "good").await?;
        let files = format!("{}:{}", source.display(), home.path("a").display());
        let command = "command=cat a; ! grep -q mode=apply a";
        let told = [
            "--log",
            "trace",
            "--log-format",
            "json",
            "--token",
            "marked-as-a-token",
            "--status",
            "s",
            "--report",
            "--name",
            "x",
        ];
        let flags = [
            "-t",
            &files,
            "--check",
            CHECK,
            "--on-change",
            command,
            "--settle",
            "1ms",
        ];
        let mut agent = Agent::run(home, &server.address.to_string(), &[&told[..], &flags[..]].concat())?;
        let mut seen = Vec::new();
        let until = async |what: &str| {
            eventually(what, async || {
                status(home).await.ok().filter(|status| status.contains(what))
            })
            .await
        };
        until("\"state\":\"in_place\"").await?;

        server.put("app/mode", "refuse").await?;
        seen.push(until("\"refused\"").await?);
        server.put("app/mode", "parse").await?;
        seen.push(until("\"broken\"").await?);
        server.put("app/mode", "apply").await?;
        seen.push(until("mode=apply").await?);
        // While the check has the old one in hand, there is a new one in the store and in the file.
        server.put("app/mode", "slow").await?;
        eventually("the check", async || home.path("checking").exists().then_some(())).await?;
        server.put("app/pw", "marked-and-newer").await?;
        let newest = server.revision("app/pw").await?;
        seen.push(until(&format!("\"seen\":{{\"settings\":{newest},")).await?);
        home.write("go", "")?;
        seen.push(until("mode=slow").await?);
        let report = server.client().get("_keyway/agents/x", Default::default()).await?;
        seen.push(format!("{report:?}"));
        seen.push(String::from_utf8_lossy(&report.value.map(|entry| entry.value).unwrap_or_default()).into_owned());
        server.put("app/mode", "good").await?;
        eventually("the newest", async || {
            home.read("a").ok().filter(|text| text.contains("marked-and-newer"))
        })
        .await?;
        agent.stop().await?;

        let log = agent.program.log();
        let lines: Vec<serde_json::Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        for line in &lines {
            // What is said of a set carries its revision, also when the next one is under way by then.
            let told = line["fields"]["message"].as_str().unwrap_or_default();
            let of = told.strip_prefix("revision ").and_then(|rest| rest.split(' ').next());
            if let Some(of) = of {
                assert_eq!(line["fields"]["rev"].to_string(), of, "{line}");
            }
        }
        assert!(lines.iter().any(|line| line["level"] == "TRACE"), "nothing was traced");
        seen.push(log);
        for text in &seen {
            let marked = text.lines().find(|line| line.contains("marked-"));
            assert_eq!(marked, None);
        }
        let all = seen.concat();
        let file = format!("file=‹{}›", home.path("in/pw").display());
        for shown in [
            "pw=‹app/pw›",
            file.as_str(),
            "TRACE",
            "mode=refuse",
            "mode=apply",
            "mode=slow",
        ] {
            assert!(
                all.contains(shown),
                "{shown} was not shown, so this test says nothing\n{all}"
            );
        }
        Ok(())
    });
}
