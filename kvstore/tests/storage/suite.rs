use kvstore::raft::{StorageError, TypeConfig};
use kvstore::store::{Closing, LogStore, StateMachine};
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::harness::Store;

struct Builder;

/// Keeps folder and files while a test runs.
struct Guard {
    _closing: Closing,
    _dir: TempDir,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, StateMachine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::try_open(dir.path()).await.unwrap();
        Ok((
            Guard {
                _closing: store.closing,
                _dir: dir,
            },
            store.log,
            store.machine,
        ))
    }
}

#[test]
fn openraft_is_content_with_the_store() {
    Suite::test_all(Builder).unwrap();
}
