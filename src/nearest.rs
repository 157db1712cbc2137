//! "Did you mean": the known word that is nearest to a mistyped one.

/// The candidate with the fewest edits to `word`, if it is near enough to be meant: at most a third
/// of the word's letters. Of equals the first.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals, replacements and swaps of neighbours from one word to the other (the
/// restricted Damerau-Levenshtein distance).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["app/web/port", "app/web/host", "db/url"];

        assert_eq!(nearest("app/web/prot", keys), Some("app/web/port"));
        assert_eq!(nearest("db/ulr", keys), Some("db/url"));
        assert_eq!(nearest("something/else", keys), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn edits_are_counted_as_a_typist_makes_them() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("prot", "port"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
