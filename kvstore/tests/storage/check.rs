use std::path::Path;

use kvstore::command::Proposal;
use kvstore::disk;
use kvstore::raft::Entry;
use kvstore::store::check::{Checked, Grade, check};
use openraft::EntryPayload;
use openraft::storage::RaftLogStorageExt as _;

use crate::harness::{STARTING, Store, log_id};

pub(crate) async fn checked(dir: &Path) -> Checked {
    let _nobody_starts = STARTING.read().await;
    let scratch = tempfile::tempdir().unwrap();
    check(dir, scratch.path()).unwrap()
}

/// What is said of a part, the worst of it.
fn said(checked: &Checked, part: &str) -> String {
    let of_part = checked.parts.iter().filter(|finding| finding.part == part);
    let worst = of_part.max_by_key(|finding| finding.grade).unwrap();
    format!("{} / {}", worst.says, worst.remedy.as_deref().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_agrees_with_the_store_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    store.put("a", vec![1; 200_000]).await;
    store.take_snapshot().await;
    store.put("b", "2").await;
    let revision = store.views.current().revision().0;
    store.close().await;

    let checked = checked(dir.path()).await;

    assert_eq!(checked.grade, Grade::Good, "{checked:?}");
    assert_eq!(checked.revision, Some(revision));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_that_is_missing_between_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    for _ in 0..40 {
        store.put("a", vec![0; 1 << 20]).await;
    }
    store.close().await;
    let mut files = disk::list(&dir.path().join("log")).unwrap();
    files.retain(|file| file.extension().is_some_and(|end| end == "wal"));
    assert!(files.len() >= 3, "{files:?}");
    assert_eq!(checked(dir.path()).await.grade, Grade::Good);

    disk::remove(&files[1]).unwrap();

    let checked = checked(dir.path()).await;
    assert_eq!(checked.grade, Grade::Refused);
    let said = said(&checked, "log");
    assert!(
        said.contains("one is missing") && said.contains("from a copy"),
        "{said}"
    );
    let error = Store::try_open(dir.path()).await.err().unwrap().to_string();
    assert!(
        error.contains("cannot be read") && error.contains("from a copy"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_newer_version_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    store.put("a", "1").await;
    let proposal = Proposal {
        format: 2,
        at: 1,
        commands: Vec::new(),
    };
    let entry = Entry {
        log_id: log_id(store.next),
        payload: EntryPayload::Normal(proposal),
    };
    store.log.blocking_append([entry]).await.unwrap();
    store.close().await;

    let checked = checked(dir.path()).await;

    assert_eq!(checked.grade, Grade::Refused);
    let said = said(&checked, "log");
    assert!(
        said.contains("entry 1 has format 2") && said.contains("start a newer version of keyway"),
        "{said}"
    );
}
