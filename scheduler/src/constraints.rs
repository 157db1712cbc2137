//! Where an instance may be: an app's constraints against the nodes and those that are placed already.
//!
//! Only instances of the app's present config count as placed, so a rolling replace under `UNIQUE` is not held up by those that
//! it replaces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex::Regex;

use crate::app::{Constraint, Operator};

/// Where instances can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub hostname: String,
    pub region: Option<String>,
    pub zone: Option<String>,
    pub attributes: BTreeMap<String, String>,
}

impl Node {
    /// What a constraint's field is here.
    fn value(&self, field: &str) -> Option<&str> {
        match field {
            "hostname" | "@hostname" => Some(&self.hostname),
            "@region" => self.region.as_deref(),
            "@zone" => self.zone.as_deref(),
            name => self.attributes.get(name).map(String::as_str),
        }
    }
}

/// What is known when an instance is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Placing<'a> {
    pub constraints: &'a [Constraint],
    /// How many instances there are to be.
    pub instances: u32,
    pub nodes: &'a [Node],
    /// The node of each instance that counts, the first one first.
    pub placed: &'a [&'a Node],
}

impl Placing<'_> {
    /// Why the next instance may not be on this node; nothing if it may.
    #[must_use]
    pub fn refusal(&self, node: &Node) -> Option<String> {
        self.constraints
            .iter()
            .find_map(|constraint| self.broken(constraint, node))
    }

    fn broken(&self, constraint: &Constraint, node: &Node) -> Option<String> {
        let field = constraint.field.as_str();
        let hostname = &node.hostname;
        let Some(value) = node.value(field) else {
            let is_unlike = matches!(constraint.operator, Operator::Unlike(_));
            return (!is_unlike).then(|| format!("{constraint}: {hostname} has no {field}"));
        };
        let groups = self.groups(field);
        let here = groups.get(value).copied().unwrap_or(0);
        let why = match &constraint.operator {
            Operator::Unique => (here > 0).then(|| format!("an instance has {field} {value} already")),
            Operator::Cluster(wanted) => {
                let wanted = wanted
                    .as_deref()
                    .or_else(|| self.placed.first()?.value(field))
                    .unwrap_or(value);
                (wanted != value).then(|| format!("{field} of {hostname} is {value}, and has to be {wanted}"))
            }
            Operator::GroupBy(number) => self.uneven(field, value, *number, &groups),
            Operator::Like(pattern) => {
                (!is_match(pattern, value)).then(|| format!("{field} of {hostname} is {value}, which does not match"))
            }
            Operator::Unlike(pattern) => {
                is_match(pattern, value).then(|| format!("{field} of {hostname} is {value}, which matches"))
            }
            Operator::MaxPer(most) => (here >= *most).then(|| format!("{here} instances have {field} {value} already")),
            Operator::Is(wanted) => (!is_same(wanted, value)).then(|| format!("{field} of {hostname} is {value}")),
        };
        why.map(|why| format!("{constraint}: {why}"))
    }

    /// How many placed instances have each value of the field.
    fn groups(&self, field: &str) -> BTreeMap<&str, u32> {
        let mut groups = BTreeMap::new();
        for value in self.placed.iter().filter_map(|node| node.value(field)) {
            *groups.entry(value).or_insert(0) += 1;
        }
        groups
    }

    /// Why one more makes the groups uneven. Each holds its part of the instances; what is left over goes to the first ones
    /// that take one more. Without a number there are as many groups as the nodes have values.
    fn uneven(&self, field: &str, value: &str, number: Option<u32>, groups: &BTreeMap<&str, u32>) -> Option<String> {
        let values = || {
            self.nodes
                .iter()
                .filter_map(|node| node.value(field))
                .collect::<BTreeSet<_>>()
        };
        let number = number
            .unwrap_or_else(|| u32::try_from(values().len()).unwrap_or(u32::MAX))
            .max(1);
        let (part, left) = (self.instances / number, self.instances % number);
        let Some(&here) = groups.get(value) else {
            let open = u32::try_from(groups.len()).is_ok_and(|open| open < number);
            return (!open).then(|| format!("there are {number} groups without {value} already"));
        };
        let given = groups.values().filter(|count| **count > part).count();
        let more = here == part && u32::try_from(given).is_ok_and(|given| given < left);
        (here >= part && !more).then(|| format!("{here} of {} instances have {field} {value} already", self.instances))
    }
}

impl fmt::Display for Constraint {
    /// As its author wrote it, without quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words();
        f.write_str(&words.join(" "))
    }
}

fn is_match(pattern: &str, value: &str) -> bool {
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(value))
}

/// The same text, or the same number to three digits behind the point.
fn is_same(wanted: &str, value: &str) -> bool {
    let thousandths = |text: &str| text.parse().ok().map(|number: f64| (number * 1000.0).round());
    wanted == value || thousandths(wanted).is_some_and(|number| thousandths(value) == Some(number))
}

/// Which `count` of the candidates go, by their places in the list. They stand there as one would like them to go, and go in
/// that order as long as the groups of `GROUP_BY` stay even: first from those that have most.
#[must_use]
pub fn victims(constraints: &[Constraint], candidates: &[&Node], count: usize) -> Vec<usize> {
    let grouped = constraints
        .iter()
        .filter(|constraint| matches!(constraint.operator, Operator::GroupBy(_)));
    let fields: Vec<&str> = grouped.map(|constraint| constraint.field.as_str()).collect();
    let groups: Vec<Vec<Option<&str>>> = candidates
        .iter()
        .map(|node| fields.iter().map(|field| node.value(field)).collect())
        .collect();
    let mut sizes: BTreeMap<(usize, Option<&str>), usize> = BTreeMap::new();
    for (constraint, value) in groups.iter().flat_map(|values| values.iter().copied().enumerate()) {
        *sizes.entry((constraint, value)).or_default() += 1;
    }
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    let mut gone = Vec::new();
    while gone.len() < count && !left.is_empty() {
        let crowd = |at: &usize| -> Vec<usize> {
            groups[*at]
                .iter()
                .copied()
                .enumerate()
                .map(|group| sizes.get(&group).copied().unwrap_or(0))
                .collect()
        };
        let most = left.iter().map(crowd).max();
        let first = left.iter().position(|at| Some(crowd(at)) == most).unwrap_or(0);
        let victim = left.remove(first);
        for group in groups[victim].iter().copied().enumerate() {
            sizes.entry(group).and_modify(|size| *size -= 1);
        }
        gone.push(victim);
    }
    gone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str, rack: &str) -> Node {
        Node {
            hostname: name.into(),
            region: None,
            zone: Some("z1".into()),
            attributes: [("rack".to_owned(), rack.to_owned())].into(),
        }
    }

    fn constraint(field: &str, operator: Operator) -> Constraint {
        let field = field.into();
        Constraint { field, operator }
    }

    /// Why one more instance may not be on `offered` beside those on `placed`, all of them racks.
    fn refusal(operator: Operator, placed: &[&str], offered: &str) -> Option<String> {
        let racks: Vec<Node> = placed.iter().map(|rack| node("host", rack)).collect();
        let placing = Placing {
            constraints: &[constraint("rack", operator)],
            instances: 5,
            nodes: &[node("a", "1"), node("b", "2")],
            placed: &racks.iter().collect::<Vec<_>>(),
        };
        placing.refusal(&node("offered", offered))
    }

    #[test]
    fn case_61_group_by_keeps_groups_even() {
        for (groups, placed, offered, may) in [
            (Some(2), &[][..], "1", true),
            (Some(2), &["1", "1"], "1", true),
            (Some(2), &["1"], "2", true),
            (Some(2), &["1", "1", "1", "2"], "2", true),
            (Some(2), &["1", "1", "1"], "1", false),
            (Some(2), &["1", "2"], "3", false),
            (Some(4), &["1"], "1", true),
            (Some(4), &["1", "1"], "1", false),
            (Some(4), &["1", "1", "2"], "2", false),
            // The nodes have two racks.
            (None, &["1", "1", "1"], "1", false),
            (None, &["1", "1"], "1", true),
        ] {
            let refusal = refusal(Operator::GroupBy(groups), placed, offered);
            assert_eq!(
                refusal.is_none(),
                may,
                "{groups:?}: {placed:?} and {offered}: {refusal:?}"
            );
        }
    }

    #[test]
    fn case_61_max_per_counts() {
        let placed = ["host1", "host1", "host3"];
        assert!(refusal(Operator::MaxPer(2), &placed, "host1").is_some());
        assert_eq!(refusal(Operator::MaxPer(2), &placed, "host3"), None);
        assert_eq!(refusal(Operator::MaxPer(2), &placed, "host4"), None);
    }

    #[test]
    fn case_60_a_refusal_names_the_constraint_and_the_reason() {
        let only = node("web1", "1");
        let unique = [constraint("hostname", Operator::Unique)];
        let mut placing = Placing {
            constraints: &unique,
            instances: 2,
            nodes: std::slice::from_ref(&only),
            placed: &[],
        };
        assert_eq!(placing.refusal(&only), None);
        let placed = [&only];
        placing.placed = &placed;
        let reason = "hostname UNIQUE: an instance has hostname web1 already";
        assert_eq!(placing.refusal(&only).as_deref(), Some(reason));
    }

    #[test]
    fn the_other_operators() {
        let text = |text: &str| text.to_owned();
        for (operator, offered, may) in [
            (Operator::Unique, "2", true),
            (Operator::Unique, "1", false),
            (Operator::Cluster(None), "1", true),
            (Operator::Cluster(None), "2", false),
            (Operator::Cluster(Some(text("2"))), "2", true),
            (Operator::Cluster(Some(text("2"))), "1", false),
            (Operator::Like(text("r-[12]")), "r-1", true),
            (Operator::Like(text("r-[12]")), "r-10", false),
            (Operator::Like(text("a|b")), "ab", false),
            (Operator::Unlike(text("r-.*")), "r-1", false),
            (Operator::Unlike(text("r-.*")), "s-1", true),
            (Operator::Is(text("1.5")), "1.5000", true),
            (Operator::Is(text("1.5")), "1.501", false),
            (Operator::Is(text("a")), "a", true),
        ] {
            let refusal = refusal(operator.clone(), &["1"], offered);
            assert_eq!(refusal.is_none(), may, "{operator:?} {offered}: {refusal:?}");
        }
    }

    #[test]
    fn what_a_node_does_not_have_is_only_unlike() {
        let zone = node("a", "1");
        let refused = |field: &str, operator| {
            let placing = Placing {
                constraints: &[constraint(field, operator)],
                instances: 1,
                nodes: &[],
                placed: &[],
            };
            placing.refusal(&zone).is_some()
        };
        assert!(refused("@region", Operator::Unique) && refused("gpu", Operator::Like(".*".into())));
        assert!(!refused("gpu", Operator::Unlike(".*".into())));
        assert!(!refused("@zone", Operator::Is("z1".into())) && !refused("@hostname", Operator::Is("a".into())));
    }

    #[test]
    fn victims_go_in_the_order_given_and_keep_groups_even() {
        let racks = ["1", "2", "1", "1", "2"].map(|rack| node("a", rack));
        let racks: Vec<&Node> = racks.iter().collect();
        let by_rack = [constraint("rack", Operator::GroupBy(None))];

        assert_eq!(victims(&[], &racks, 2), [0, 1]);
        assert_eq!(victims(&by_rack, &racks, 1), [0]);
        assert_eq!(victims(&by_rack, &racks, 3), [0, 1, 2]);
        assert_eq!(victims(&by_rack, &racks[1..], 2), [0, 1]);
        assert_eq!(victims(&by_rack, &racks[1..4], 1), [1]);
        assert_eq!(victims(&by_rack, &racks, 9).len(), 5);
    }

    fn counts<'a>(racks: impl Iterator<Item = &'a String>) -> Vec<u32> {
        let mut counts = BTreeMap::new();
        for rack in racks {
            *counts.entry(rack).or_insert(0) += 1;
        }
        counts.into_values().collect()
    }

    proptest! {
        #[test]
        fn all_instances_find_a_place_and_the_groups_are_even(instances in 1u32..40, racks in 1usize..6, order in any::<u64>()) {
            let nodes: Vec<Node> = (0..racks).map(|rack| node("a", &rack.to_string())).collect();
            let constraints = [constraint("rack", Operator::GroupBy(None))];
            let mut placed: Vec<&Node> = Vec::new();
            for turn in 0..instances {
                let placing = Placing { constraints: &constraints, instances, nodes: &nodes, placed: &placed };
                // The first node that may be taken, beginning anywhere.
                let start = (order >> (turn % 60)) as usize;
                let found = (0..racks).map(|at| &nodes[(start + at) % racks]).find(|node| placing.refusal(node).is_none());
                prop_assert!(found.is_some(), "{turn} of {instances}");
                placed.extend(found);
            }
            let counts = counts(placed.iter().map(|node| &node.attributes["rack"]));
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        }

        #[test]
        fn groups_that_were_even_stay_even(racks in proptest::collection::vec(0u8..4, 0..24), count in 0usize..24) {
            let nodes: Vec<Node> = racks.iter().map(|rack| node("a", &rack.to_string())).collect();
            let nodes: Vec<&Node> = nodes.iter().collect();
            let constraints = [constraint("rack", Operator::GroupBy(None))];
            let gone = victims(&constraints, &nodes, count);
            prop_assert_eq!(gone.len(), count.min(nodes.len()));

            let spread = |counts: Vec<u32>| counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0);
            let before = spread(counts(nodes.iter().map(|node| &node.attributes["rack"])));
            let left = nodes.iter().enumerate().filter(|(at, _)| !gone.contains(at));
            let after = spread(counts(left.map(|(_, node)| &node.attributes["rack"])));
            prop_assert!(after <= before.max(1), "{before} {after}");
        }
    }
}
