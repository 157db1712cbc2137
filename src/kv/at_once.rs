//! Several writes as one: all of them, or none and the reasons.

use kvapi::client::WriteOptions;
use kvapi::key::reachable;
use kvapi::types::{TxnError, TxnOp};
use kvapi::{Client, Error};

/// Carries the operations out as one.
///
/// A single value is put by itself, which is just as much all or nothing: in a transaction it would be
/// base64, a third longer, so that one of the greatest length would never fit.
pub(super) async fn at_once(
    client: &Client,
    ops: &[TxnOp],
    options: &WriteOptions,
) -> Result<Result<(), Vec<TxnError>>, Error> {
    let alone = match ops {
        // A path would take `a//b` for another key.
        [op] if reachable(&op.key).len() == op.key.len() => match op.verb.as_str() {
            "set" => Some((op, None)),
            "cas" => Some((op, Some(op.index))),
            _ => None,
        },
        _ => None,
    };
    let Some((op, cas)) = alone else {
        return match client.txn(ops, options).await {
            // Nobody asks here for what it showed.
            Err(Error::Ended { done: true, .. }) => Ok(Ok(())),
            ended => Ok(ended?.map(|_| ())),
        };
    };
    let options = WriteOptions {
        flags: op.flags,
        cas,
        ..options.clone()
    };
    let lost = TxnError {
        op_index: 0,
        what: "the index is another".into(),
    };
    let done = client.put(&op.key, op.value.clone(), &options).await?;
    Ok(if done { Ok(()) } else { Err(vec![lost]) })
}
