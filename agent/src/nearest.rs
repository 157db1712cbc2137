//! "Did you mean": the known name that is closest to one that is not.

/// The closest of `names`, if it is close enough to be meant: at most a third of its characters
/// differ.
pub fn of<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = |name: &&str| distance(wrong, name);
    names
        .filter(|name| *name != wrong)
        .min_by_key(far)
        .filter(|name| far(name) <= (wrong.chars().count() / 3).max(1))
}

/// How many characters to insert, delete, replace or swap with the next to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
                    let swapped = if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                        rows[i - 2][j - 2] + 1
                    } else {
                        replaced
                    };
                    replaced.min(swapped).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
                }
            };
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let names = ["app/web/port", "app/web/host", "db/url"];
        assert_eq!(of("app/web/prot", names.into_iter()), Some("app/web/port"));
        assert_eq!(of("cache/size", names.into_iter()), None);
        assert_eq!(
            (distance("", "ab"), distance("ab", "ba"), distance("kitten", "sitting")),
            (2, 1, 3)
        );
    }
}
