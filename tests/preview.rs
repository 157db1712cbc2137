//! `agent render` against a real store: as it is, and as it was.

use kvapi::client::WriteOptions;
use kvapi::types::HistoryChange;
use kvapi::{Consistency, Revision};

use crate::harness::{Server, test};

#[test]
fn files_are_shown_as_they_were_at_a_revision_and_each_line_tells_its_keys() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/port", "80").await?;
        server.put("app/hosts/a", "10.0.0.1").await?;
        let then = server.client().list("app/", Consistency::Default).await?.revision;
        server.put("app/port", "81").await?;
        server.put("app/hosts/b", "10.0.0.2").await?;
        let now = server.client().list("app/", Consistency::Default).await?.revision;
        let text = "port {{key \"app/port\"}}\n{{#each (ls \"app/hosts\")}}\nhost {{this.value}}\n{{/each}}\n";
        let source = home.write("t.hbs", text)?.display().to_string();
        let render = async |arguments: &[&str]| {
            let all = [&["agent", "render", "-t", source.as_str()], arguments].concat();
            server.keyway(home).run(&all).await
        };

        assert_eq!(
            render(&[]).await?.expect(0)?.out,
            b"port 81\nhost 10.0.0.1\nhost 10.0.0.2\n"
        );
        let before = render(&["--at", &then.to_string()]).await?.expect(0)?;
        assert_eq!(before.out, b"port 80\nhost 10.0.0.1\n");

        let told: serde_json::Value = render(&["--explain", "-o", "json"]).await?.expect(0)?.json()?;
        assert_eq!(told["revision"], now.0, "{told}");
        let lines = &told["files"][0]["lines"];
        let port = server.client().get("app/port", Consistency::Default).await?.value;
        assert_eq!(lines[0]["from"][0]["key"], "app/port");
        assert_eq!(
            lines[0]["from"][0]["revision"],
            port.map(|entry| entry.modify_index.0).unwrap_or_default()
        );
        assert_eq!(lines[2]["from"][0]["key"], "app/hosts/b");

        // A key that is named by a key that is named by a key: each is asked for when its name is known.
        server.put("first", "app/second").await?;
        server.put("app/second", "app/port").await?;
        let chain = home
            .write("chain.hbs", "{{key (key (key \"first\"))}}\n")?
            .display()
            .to_string();
        let said = server.keyway(home).run(&["agent", "render", "-t", &chain]).await?;
        assert_eq!(said.expect(0)?.out, b"81\n");

        let kept = HistoryChange {
            compact_to: Some(now),
            ..HistoryChange::default()
        };
        server.client().change_history(&kept, &WriteOptions::default()).await?;
        let gone = render(&["--at", &then.to_string()]).await?.expect(1)?;
        let get = server
            .keyway(home)
            .run(&["kv", "get", "app/port", "--rev", &then.to_string()])
            .await?
            .expect(1)?;
        assert!(gone.err.contains("error[E0407]"), "{}", gone.err);
        assert_eq!(gone.err, get.err);
        let future = render(&["--at", &Revision(now.0 + 1000).to_string()]).await?;
        assert_ne!(future.exit, crate::harness::Exit::Code(0), "{future:?}");
        Ok(())
    });
}
