//! The story, step by step. Each step is checked before the next is told.

use kvapi::Problem;

use super::scene::{Cast, Scene};
use super::teller::Teller;

const TEMPLATE: &str = "\
greeting = {{key \"demo/greeting\"}}
limit = {{key \"demo/limit\"}}
";

const RELOADED: Cast = Cast {
    name: "app",
    template: TEMPLATE,
    on_change: "signal=HUP",
};

const RESTARTED: Cast = Cast {
    name: "legacy",
    template: TEMPLATE,
    on_change: "restart",
};

pub(super) async fn tell(scene: &mut Scene, teller: &mut Teller<'_>) -> Result<(), Problem> {
    teller.title("A setting changes, a running process follows.");
    store(scene, teller).await?;
    let process = start(scene, teller).await?;
    reload(scene, teller, process).await?;
    refuse(scene, teller, process).await?;
    restart(scene, teller).await
}

async fn store(scene: &mut Scene, teller: &mut Teller<'_>) -> Result<(), Problem> {
    teller.step("A store is up on a free port, and two settings are put into it");
    teller.shell(format_args!(
        "export KEYWAY_ADDR={}   # to play along in another terminal",
        scene.address()
    ));
    teller.keyway("kv put demo/greeting 'Good morning'");
    teller.keyway("kv put demo/limit 10");
    scene.put("demo/greeting", "Good morning").await?;
    scene.put("demo/limit", "10").await?;
    Ok(())
}

async fn start(scene: &mut Scene, teller: &mut Teller<'_>) -> Result<u32, Problem> {
    teller.step("The agent renders a file from them and starts an ordinary server that reads it");
    let command = scene.start(&RELOADED).await?;
    teller.keyway(command);
    let reply = scene
        .answer("the rendered value is served", |reply| {
            reply.text.starts_with("Good morning (limit 10,")
        })
        .await?;
    teller.shell(format_args!("curl http://{}", scene.server()?));
    teller.seen(&reply.text, "the rendered value");
    Ok(reply.process)
}

async fn reload(scene: &mut Scene, teller: &mut Teller<'_>, process: u32) -> Result<(), Problem> {
    teller.step("A setting changes: the file is rendered again, and HUP makes the server reload it");
    teller.keyway("kv put demo/greeting 'Good evening'");
    let written = scene.put("demo/greeting", "Good evening").await?;
    let reply = scene
        .answer("the new value is served", |reply| {
            reply.text.starts_with("Good evening (limit 10,")
        })
        .await?;
    let after = written.elapsed().as_millis();
    if reply.process != process {
        return Err(scene.broken(&format!("process {process} became {} on a reload", reply.process)));
    }
    teller.seen(&reply.text, format_args!("the same process, {after} ms after the put"));
    Ok(())
}

async fn refuse(scene: &mut Scene, teller: &mut Teller<'_>, process: u32) -> Result<(), Problem> {
    teller.step("A bad value is refused by the server's own check, and the old file stays");
    let file = scene.rendered(&RELOADED);
    let before = read(scene, &file)?;
    teller.keyway("kv put demo/limit many");
    scene.put("demo/limit", "many").await?;
    let complaint = scene.agent_says("`many` is not a number").await?;
    let reason = complaint
        .find("limit `many`")
        .map_or(complaint.as_str(), |start| &complaint[start..]);
    teller.seen(reason, "says the check");
    let same = |text: &str| text.starts_with("Good evening (limit 10,");
    let reply = scene
        .answer("the old value is served", |reply| same(&reply.text))
        .await?;
    if reply.process != process || read(scene, &file)? != before {
        return Err(scene.broken("a file that the check refused went live"));
    }
    teller.seen(&reply.text, "the old file, the same process");
    teller.keyway("kv put demo/limit 20");
    scene.put("demo/limit", "20").await?;
    let reply = scene
        .answer("the repaired value is served", |reply| {
            reply.text.starts_with("Good evening (limit 20,")
        })
        .await?;
    teller.seen(&reply.text, "repaired");
    Ok(())
}

async fn restart(scene: &mut Scene, teller: &mut Teller<'_>) -> Result<(), Problem> {
    teller.step("A program that cannot reload is restarted: the same template, another server");
    let command = scene.start(&RESTARTED).await?;
    teller.keyway(command);
    let first = scene
        .answer("the second server serves", |reply| {
            reply.text.starts_with("Good evening (limit 20,")
        })
        .await?;
    teller.shell(format_args!("curl http://{}", scene.server()?));
    teller.seen(&first.text, "its first process");
    teller.keyway("kv put demo/greeting 'Good night'");
    scene.put("demo/greeting", "Good night").await?;
    let reply = scene
        .answer("the new value is served after a restart", |reply| {
            reply.text.starts_with("Good night (limit 20,")
        })
        .await?;
    if reply.process == first.process {
        return Err(scene.broken(&format!("process {} was not replaced", first.process)));
    }
    teller.seen(&reply.text, "a new process");
    Ok(())
}

fn read(scene: &Scene, file: &std::path::Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(file).map_err(|e| scene.broken(&format!("read {}: {e}", file.display())))
}
