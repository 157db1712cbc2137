//! What clients, watchers and lock holders see while servers die: nothing that was acknowledged is lost, every answer
//! could have been given one after the other, no watch misses anything.

use std::time::Duration;

use crate::harness::{Server, Tally, Trial, alone, long};

#[test]
fn one_server_that_is_killed_again_and_again_keeps_every_promise() {
    alone(Duration::from_secs(600), async |home| {
        let mut server = Server::start(home).await?;
        let mut tally = Tally::default();
        for round in 0..long(3, 20) {
            let trial = Trial::begin(&[server.address.clone()], &format!("round{round}")).await?;
            for _ in 0..2 {
                trial.goes_on(rand::random_range(50..300)).await?;
                server.program.kill().await?;
                server.restart(home).await?;
                trial.goes_on(100).await?;
            }
            tally.add(trial.end().await?);
        }
        println!("{tally}");
        assert!(tally.grants > 10 && tally.resumed > 10, "{tally}");
        Ok(())
    });
}
