//! A device that fails under a file system which still has room: a sync fails, and is not repeated.

use std::time::Duration;

use crate::harness::{Disk, Exit, Options, Record, Server, alone, eventually};

#[test]
fn a_sync_that_fails_ends_the_server_with_the_reason_and_loses_nothing_acknowledged() {
    alone(Duration::from_secs(120), async |home| {
        let Some(disk) = Disk::that_can_fail(home, "thin")? else {
            return Ok(());
        };
        let options = || Options {
            data: Some(disk.dir.join("data")),
            flags: ["--min-free", "0"].map(Into::into).into(),
            ..Options::default()
        };
        let mut server = Server::with(home, options()).await?;
        let running = Record::new(4, 4_000).run(&server);
        eventually("writes are acknowledged", async || {
            (running.acknowledged() > 20).then_some(())
        })
        .await?;

        disk.fail()?;
        let exit = server.program.exit().await?;

        assert_eq!(exit, Exit::Code(8));
        assert!(disk.free()? > 64 << 20, "the file system itself has room");
        let said = server.program.log();
        assert!(
            said.contains("the server cannot go on: cannot write the log") && said.contains("start"),
            "{said}"
        );
        let mut record = running.end().await?;
        disk.mend()?;
        server.restart_with(home, options()).await?;
        record.check(&server).await?;
        server.put("more", "1").await
    });
}
