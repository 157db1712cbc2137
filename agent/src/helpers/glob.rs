//! Patterns for paths: `*` is a name or a part of one, `?` one character of it, `**` any path.

/// Whether the whole path fits. Takes at most pattern times path steps.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    // fits[i]: the pattern so far fits the first i characters.
    let mut fits = vec![false; path.len() + 1];
    fits[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let deep = pattern[at..].starts_with(&['*', '*']);
        let mut next = vec![false; path.len() + 1];
        for i in 0..=path.len() {
            next[i] = match pattern[at] {
                '*' => fits[i] || (i > 0 && next[i - 1] && (deep || path[i - 1] != '/')),
                '?' => i > 0 && fits[i - 1] && path[i - 1] != '/',
                c => i > 0 && fits[i - 1] && path[i - 1] == c,
            };
        }
        at += if deep { 2 } else { 1 };
        fits = next;
    }
    fits[path.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_name_and_two_do_not() {
        for (pattern, path, expected) in [
            ("*/port", "web/port", true),
            ("*/port", "web/a/port", false),
            ("**/port", "web/a/port", true),
            ("**", "", true),
            ("*", "a/b", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("w*b/*", "web/x", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
