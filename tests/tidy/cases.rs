//! Whether every case of docs/marathon-cases.md is there, and the tests that are to prove it.

use super::read;

const PAGE: &str = "docs/marathon-cases.md";

/// The number of a row, and its tests as `file::name`.
fn row(line: &str) -> Option<(usize, Vec<&str>)> {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let number = cells.first()?.parse().ok()?;
    let proofs = cells.last()?.split('`').skip(1).step_by(2);
    Some((number, proofs.collect()))
}

#[test]
fn every_case_of_marathon_has_its_row_and_its_tests() {
    let page = read(PAGE);
    let rows: Vec<(usize, Vec<&str>)> = page.lines().filter_map(row).collect();
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=74).collect::<Vec<_>>());
    for (number, proofs) in rows {
        assert!(!proofs.is_empty(), "nothing proves case {number}");
        for proof in proofs {
            let (file, name) = proof.split_once("::").unwrap_or_default();
            assert!(!name.is_empty(), "case {number}: `{proof}` is not FILE::NAME");
            let is_there = read(file).contains(&format!("fn {name}("));
            assert!(is_there, "case {number}: {file} has no test {name}");
        }
    }
}
