//! Keys that must agree, in files that must agree.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;

use crate::harness::{Agent, Server, alone, holds, long};

/// So many keys, each with a file of its own and one in the folder of a set.
const KEYS: usize = 5;

/// Says after each HUP what the files say, or that they do not agree.
const READER: &str = r#"
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
os.mkfifo("ack")
names = [f"{kind}{n}" for kind in ("own", "live/shared") for n in range(int(sys.argv[1]))]
with open("pid.new", "w") as file:
    file.write(str(os.getpid()))
os.rename("pid.new", "pid")
while True:
    signal.sigwait([signal.SIGHUP])
    texts = {open(name).read() for name in names}
    with open("seen", "a") as file:
        file.write("mixed\n" if len(texts) > 1 else texts.pop().split()[1] + "\n")
    with open("ack", "w") as file:
        file.write("read\n")
"#;

/// Between two readings: two readers without it leave the agent, the store and the program no processor.
const PACE: Duration = Duration::from_micros(200);

/// Reads at any moment until it is told to stop; how often, or what was wrong.
type Reader = fn(&Path, &AtomicBool) -> Result<u64, String>;

/// What is the matter with a text that is to be whole.
fn torn(text: &str) -> Option<String> {
    let whole = text.starts_with("begin ") && text.ends_with(" end\n") && text.matches("begin").count() == 1;
    (!whole).then(|| format!("{} bytes: {:.40}", text.len(), text))
}

/// Reads each file at any moment until it is told to stop; how often, or what was torn.
fn read_single(dir: &Path, stop: &AtomicBool) -> Result<u64, String> {
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        for number in 0..KEYS {
            let text = fs::read_to_string(dir.join(format!("own{number}"))).map_err(|error| error.to_string())?;
            torn(&text).map_or(Ok(()), Err)?;
            reads += 1;
        }
        thread::sleep(PACE);
    }
    Ok(reads)
}

/// Reads the folder of the set at any moment until it is told to stop; how often, or what was mixed.
fn read_folder(dir: &Path, stop: &AtomicBool) -> Result<u64, String> {
    let (mut reads, mut late) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let folder = fs::canonicalize(dir.join("live")).map_err(|error| error.to_string())?;
        let texts = (0..KEYS).map(|number| fs::read_to_string(folder.join(format!("shared{number}"))));
        let Ok(texts) = texts.collect::<Result<Vec<_>, _>>() else {
            // Whoever was held up for longer than two swaps looks again; that is rare.
            late += 1;
            continue;
        };
        texts.iter().find_map(|text| torn(text)).map_or(Ok(()), Err)?;
        if texts.iter().any(|text| *text != texts[0]) {
            return Err(format!(
                "{:?}",
                texts.iter().map(|text| text.split(' ').nth(1)).collect::<Vec<_>>()
            ));
        }
        reads += 1;
        thread::sleep(PACE);
    }
    if late * 10 > reads {
        return Err(format!("{late} readings found a folder that was gone, {reads} did not"));
    }
    Ok(reads)
}

#[test]
fn no_reader_sees_two_revisions_mixed_or_a_part_of_a_file() {
    alone(Duration::from_secs(1_800), async |home| {
        let server = Server::start(home).await?;
        let client = server.client();
        let write = async |turn: u32| -> anyhow::Result<()> {
            let value = format!("{turn} {}", "x".repeat(rand::random_range(1..8_000)));
            let ops: Vec<TxnOp> = (0..KEYS)
                .map(|number| TxnOp::set(format!("app/{number}"), value.clone()))
                .collect();
            anyhow::ensure!(client.txn(&ops, &WriteOptions::default()).await?.is_ok());
            Ok(())
        };
        write(0).await?;
        home.write("reader.py", READER)?;
        // The command is over when the reader has read: so each set is read after its signal, however slowly.
        let mut config =
            "settle = \"1ms\"\non_change = \"command=kill -HUP $(cat pid) && read said < ack\"\n".to_owned();
        config += &format!("[exec]\ncommand = [\"python3\", \"reader.py\", \"{KEYS}\"]\n");
        let template = |number: usize, table: &str, name: &str| {
            let contents = format!("begin {{{{key \"app/{number}\"}}}} end\\n").replace('"', "\\\"");
            format!("[[{table}]]\ncontents = \"{contents}\"\ndestination = \"{name}{number}\"\n")
        };
        config.extend((0..KEYS).map(|number| template(number, "template", "own")));
        config += "[[set]]\ndir = \"live\"\n";
        config.extend((0..KEYS).map(|number| template(number, "set.template", "shared")));
        home.write("agent.toml", config)?;
        let mut agent = Agent::run(home, &server.address.to_string(), &["-c", "agent.toml"])?;
        holds("the reader", async || home.path("pid").exists()).await?;

        let stop = Arc::new(AtomicBool::new(false));
        let readers: [Reader; 2] = [read_single, read_folder];
        let readers = readers.map(|read| {
            let (dir, stop) = (home.dir().to_owned(), Arc::clone(&stop));
            thread::spawn(move || read(&dir, &stop))
        });
        let turns = long(1_000, 10_000);
        for turn in 1..=turns {
            write(turn).await?;
        }
        let seen = || home.read("seen").unwrap_or_default();
        holds("the last revision", async || seen().ends_with(&format!("{turns}\n"))).await?;
        stop.store(true, Ordering::Relaxed);

        for reader in readers {
            let reads = reader.join().expect("it does not panic").map_err(anyhow::Error::msg)?;
            assert!(reads > u64::from(turns) / 10, "{reads}");
        }
        let seen: Vec<u32> = seen().lines().map(str::parse).collect::<Result<_, _>>()?;
        assert!(seen.is_sorted() && seen.len() > 10, "{seen:?}");
        agent.stop().await?;
        Ok(())
    });
}
