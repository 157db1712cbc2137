//! What users of rs-consul do, against the server that is named by its address.

use std::time::Duration;

use rs_consul::{
    Config, Consul, ConsulError, CreateOrUpdateKeyRequest, DeleteKeyRequest, LockRequest, LockWatchRequest,
    ReadKeyRequest,
};

type Done = Result<(), ConsulError>;

fn reads(key: &str) -> ReadKeyRequest<'_> {
    ReadKeyRequest {
        key,
        ..Default::default()
    }
}

fn writes(key: &str) -> CreateOrUpdateKeyRequest<'_> {
    CreateOrUpdateKeyRequest {
        key,
        ..Default::default()
    }
}

async fn put(consul: &Consul, key: &str, value: &str) -> Result<bool, ConsulError> {
    Ok(consul.create_or_update_key(writes(key), value.into()).await?.0)
}

async fn keys(consul: &Consul) -> Done {
    assert!(put(consul, "rs/a", "1").await?);
    assert!(put(consul, "rs/ab", "2").await?);
    let read = consul.read_key(reads("rs/a")).await?;
    let entry = &read.response[0];
    assert_eq!(entry.value.as_deref(), Some("1"));
    assert!(read.index >= entry.modify_index.cast_unsigned(), "{read:?}");
    let all = consul
        .read_key(ReadKeyRequest {
            recurse: true,
            ..reads("rs/")
        })
        .await?;
    assert_eq!(all.response.len(), 2);
    assert!(consul.read_key(reads("rs/none")).await.is_err());

    let at = |index: i64| CreateOrUpdateKeyRequest {
        check_and_set: Some(index),
        ..writes("rs/a")
    };
    assert!(
        consul
            .create_or_update_key(at(entry.modify_index), b"3".to_vec())
            .await?
            .0
    );
    assert!(
        !consul
            .create_or_update_key(at(entry.modify_index), b"4".to_vec())
            .await?
            .0
    );
    assert!(!consul.create_or_update_key(at(0), b"4".to_vec()).await?.0);

    // This library asks with recurse=false, by which a real Consul would delete rs/ab too.
    assert!(
        consul
            .delete_key(DeleteKeyRequest {
                key: "rs/a",
                ..Default::default()
            })
            .await?
    );
    // It reads so too, and gets what begins with the key.
    let left = consul.read_key(reads("rs/a")).await?.response;
    assert_eq!(left.iter().map(|entry| &*entry.key).collect::<Vec<_>>(), ["rs/ab"]);
    let tree = DeleteKeyRequest {
        key: "rs/",
        recurse: true,
        ..Default::default()
    };
    assert!(consul.delete_key(tree).await?);
    assert!(consul.read_key(reads("rs/ab")).await.is_err());
    Ok(())
}

async fn waits(consul: &Consul) -> Done {
    put(consul, "wait", "1").await?;
    let index = consul.read_key(reads("wait")).await?.index;
    let wait = ReadKeyRequest {
        index: Some(index),
        wait: Duration::from_secs(60),
        ..reads("wait")
    };
    // A moment, so that the read is likely to wait when the write comes; if it is not, it is answered at once, and rightly.
    let (found, written) = tokio::join!(consul.read_key(wait), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        put(consul, "wait", "2").await
    });
    assert!(written?);
    let found = found?;
    assert!(
        found.index > index && found.response[0].value.as_deref() == Some("2"),
        "{found:?}"
    );
    Ok(())
}

async fn locks(consul: &Consul) -> Done {
    let request = LockRequest {
        key: "rs-lock",
        lock_delay: Duration::ZERO,
        ..Default::default()
    };
    let lock = consul.get_lock(request, b"mine").await?;
    let index = match consul.get_lock(request, b"yours").await {
        Err(ConsulError::LockAcquisitionFailure(index)) => index,
        other => panic!("two hold one lock: {other:?}"),
    };
    let held = consul.read_key(reads("rs-lock")).await?.response.remove(0);
    assert_eq!(
        (held.session.as_deref(), held.value.as_deref()),
        (Some(&*lock.session_id), Some("mine"))
    );
    let watch = LockWatchRequest {
        key: "rs-lock",
        index: Some(index),
        wait: Duration::from_secs(60),
        ..Default::default()
    };
    // Dropping a lock releases it, by a request that holds up its thread: so the watch goes first, for a moment.
    let (freed, ()) = tokio::join!(consul.watch_lock(watch), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tokio::task::block_in_place(|| drop(lock));
    });
    assert_eq!(freed?.response[0].session, None);
    drop(consul.get_lock(request, b"yours").await?);
    Ok(())
}

#[tokio::main]
async fn main() -> Done {
    let address = std::env::args().nth(1).unwrap_or_default();
    let consul = Consul::new(Config {
        address,
        ..Default::default()
    });
    keys(&consul).await?;
    waits(&consul).await?;
    locks(&consul).await?;
    println!("done");
    Ok(())
}
