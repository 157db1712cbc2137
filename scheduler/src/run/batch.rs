//! What is to be written, in transactions.
//!
//! What is decided may be more than one transaction holds, and whoever writes it may die between two. So what says what
//! is wanted and what is under way comes first, together as far as it fits: a deployment before the definitions that it
//! is about, so that none is ever changed with nobody to carry it out. What is left out then is planned anew.

use std::collections::BTreeMap;

use crate::keys;

/// A key, and its value; `None` deletes.
pub(crate) type Row = (String, Option<Vec<u8>>);

/// In which order keys are written: the first are the first.
const ORDER: [&str; 8] = [
    keys::PAST,
    keys::DEPLOYMENTS,
    keys::GROUPS,
    keys::VERSIONS,
    keys::APPS,
    keys::LAUNCHES,
    keys::INSTANCES,
    keys::SERVICES,
];

/// Transactions of at most so many rows, and so many bytes of values if they have several.
pub(crate) fn batches(rows: BTreeMap<String, Option<Vec<u8>>>, most_rows: usize, most_bytes: usize) -> Vec<Vec<Row>> {
    let mut rows: Vec<Row> = rows.into_iter().collect();
    rows.sort_by_cached_key(|(key, _)| ORDER.iter().position(|prefix| key.starts_with(prefix)));
    let mut batches: Vec<Vec<Row>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let more = row.1.as_ref().map_or(0, Vec::len);
        match batches.last_mut() {
            Some(batch) if batch.len() < most_rows && bytes + more <= most_bytes => {
                bytes += more;
                batch.push(row);
            }
            _ => {
                bytes = more;
                batches.push(vec![row]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_written_before_what_it_is_about_and_that_before_instances() {
        let row = |key: &str, bytes: usize| (key.to_owned(), Some(vec![0; bytes]));
        let rows = [
            row("_keyway/app-versions/a/1", 10),
            row("_keyway/apps/a", 10),
            row("_keyway/deployments/1", 10),
            row("_keyway/instances/a/1", 10),
            row("_keyway/past-deployments/0", 10),
            ("_keyway/services/a/1".to_owned(), None),
        ];

        let names = |most_rows, most_bytes| {
            let batches = batches(rows.clone().into(), most_rows, most_bytes);
            let names = |batch: Vec<Row>| -> Vec<String> {
                let names = batch.iter().filter_map(|(key, _)| key.split('/').nth(1));
                names.map(Into::into).collect()
            };
            batches.into_iter().map(names).collect::<Vec<_>>()
        };
        let all = [
            "past-deployments",
            "deployments",
            "app-versions",
            "apps",
            "instances",
            "services",
        ];
        assert_eq!(names(6, 100), [all]);
        assert_eq!(names(4, 100), [&all[..4], &all[4..]]);
        assert_eq!(names(6, 20), [&all[..2], &all[2..4], &all[4..]]);
        assert_eq!(names(6, 5).len(), 6, "what is too large stands alone");
    }
}
