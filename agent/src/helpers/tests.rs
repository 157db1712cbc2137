use std::collections::BTreeSet;

use super::{exists, names};

const PAGE: &str = include_str!("../../../docs/agent.md");

/// The rows of the table below a heading, a list of cells each.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = PAGE.split(heading).nth(1).unwrap_or_default();
    let section = section.split("\n#").next().unwrap_or_default();
    let table = section.lines().filter(|line| line.starts_with('|')).skip(2);
    table
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// What stands in backticks and is a name, not an option or an example.
fn named(cell: &'static str) -> impl Iterator<Item = &'static str> {
    let ticked = cell.split('`').skip(1).step_by(2);
    ticked.filter(|text| text.chars().all(char::is_alphanumeric))
}

/// The numbers of rows are those of the list of consul-template's functions that the page was written from.
#[test]
fn the_page_has_a_row_for_each_function_of_consul_template_and_names_no_helper_that_is_not_there() {
    let known: BTreeSet<&str> = names().collect();
    for (heading, count) in [("### Data\n", 15), ("### Pure\n", 25)] {
        let rows = rows(heading);
        assert_eq!(rows.len(), count, "{heading}");
        for row in rows {
            assert_eq!(row.len(), 3, "{row:?}");
            for name in named(row[1]) {
                assert!(known.contains(name), "{name} is on the page and is no helper");
            }
            assert!(
                named(row[1]).next().is_some() || !row[2].is_empty(),
                "{row:?} gives no reason"
            );
        }
    }
}

#[test]
fn every_helper_is_on_the_page() {
    let section = PAGE.split("## Helpers").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    for name in names() {
        assert!(exists(name), "{name}");
        assert!(section.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}
