//! A look at a template's text before Handlebars parses it.
//!
//! Finds what its parser reports badly (a block left open is named where it was opened, not at
//! the end of the file) and what it does not survive (nesting so deep that the stack overflows).
//! A text that passes may still be refused by the parser.

/// Deepest nesting of blocks, and of parentheses and brackets within a tag.
pub const MAX_DEPTH: usize = 64;

/// More tags than this compile slowly: the parser is quadratic in them.
pub const MANY_TAGS: usize = 1_000;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// For a person.
    pub reason: String,
}

struct Block<'a> {
    name: &'a str,
    line: usize,
}

/// The number of tags, or the first fault.
pub fn scan(text: &str) -> Result<usize, Fault> {
    let mut open: Vec<Block<'_>> = Vec::new();
    let (mut tags, mut line, mut rest) = (0, 1, text);
    while let Some(start) = rest.find("{{") {
        let before = &rest[..start];
        line += before.matches('\n').count();
        rest = &rest[start..];
        if before.ends_with('\\') && !before.ends_with("\\\\") {
            rest = &rest[2..];
            continue;
        }
        tags += 1;
        let body = tag(rest).ok_or_else(|| fault(line, "this tag is not closed by `}}`"))?;
        nesting(body, line)?;
        block(body, line, &mut open)?;
        line += body.matches('\n').count();
        rest = &rest[body.len()..];
    }
    match open.pop() {
        Some(Block { name, line }) => Err(fault(
            line,
            format!("`{{{{#{name}}}}}` is never closed by `{{{{/{name}}}}}`"),
        )),
        None => Ok(tags),
    }
}

fn fault(line: usize, reason: impl Into<String>) -> Fault {
    Fault {
        line,
        reason: reason.into(),
    }
}

/// The tag, comment or raw block that the text begins with.
fn tag(text: &str) -> Option<&str> {
    let until = |from: usize, mark: &str| text[from..].find(mark).map(|at| &text[..from + at + mark.len()]);
    if text.starts_with("{{!--") || text.starts_with("{{~!--") {
        return until(5, "--}}");
    }
    if text.starts_with("{{!") {
        return until(3, "}}");
    }
    if text.starts_with("{{{{") {
        let head = until(4, "}}}}")?;
        let close = text[head.len()..].find("{{{{/")?;
        let from = head.len() + close;
        return until(from, "}}}}");
    }
    let mark = if text.starts_with("{{{") { "}}}" } else { "}}" };
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices().skip(2) {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match quote {
            Some(_) if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if text[at..].starts_with(mark) => return Some(&text[..at + mark.len()]),
            None => {}
        }
    }
    None
}

/// Refuses a tag whose parentheses, brackets or braces nest too deep.
fn nesting(body: &str, line: usize) -> Result<(), Fault> {
    let mut depth = 0usize;
    for c in body.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(fault(line, format!("this tag nests deeper than {MAX_DEPTH}")));
        }
    }
    Ok(())
}

/// Follows blocks as they open and close.
fn block<'a>(body: &'a str, line: usize, open: &mut Vec<Block<'a>>) -> Result<(), Fault> {
    if body.starts_with("{{!") || body.starts_with("{{~!") || body.starts_with("{{{{") {
        return Ok(());
    }
    let inner = body.trim_start_matches('{').trim_start_matches('~').trim_start();
    if let Some(rest) = inner.strip_prefix('#') {
        let rest = rest.trim_start_matches(['>', '*', ' ']);
        open.push(Block { name: word(rest), line });
        if open.len() > MAX_DEPTH {
            return Err(fault(line, format!("blocks nest deeper than {MAX_DEPTH}")));
        }
    } else if let Some(rest) = inner.strip_prefix('/') {
        let name = word(rest);
        let Some(opened) = open.pop() else {
            return Err(fault(line, format!("`{{{{/{name}}}}}` closes nothing")));
        };
        if !name.is_empty() && name != opened.name {
            return Err(fault(
                line,
                format!(
                    "`{{{{/{name}}}}}` closes `{{{{#{}}}}}` of line {}",
                    opened.name, opened.line
                ),
            ));
        }
    }
    Ok(())
}

fn word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text
        .find(|c: char| c.is_whitespace() || matches!(c, '}' | '~' | '('))
        .unwrap_or(text.len());
    text[..end].trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fault_is_named_where_it_began() {
        let check = |text: &str, line, part: &str| {
            let fault = scan(text).unwrap_err();
            assert_eq!(fault.line, line, "{text}: {fault:?}");
            assert!(fault.reason.contains(part), "{text}: {fault:?}");
        };
        check("a\n{{#if (key \"x\")}}\nb\n", 2, "{{#if}}");
        check("{{#if x}}\n{{#each y}}\n{{/if}}{{/each}}", 3, "of line 2");
        check("\n{{/if}}", 2, "closes nothing");
        check("{{key \"a\"", 1, "not closed");
        check(&"{{#if a}}".repeat(65), 1, "deeper");
        check(&format!("{{{{{}a", "(".repeat(80)), 1, "");
        check(&format!("{{{{x {}}}}}", "(a ".repeat(80)), 1, "deeper");
    }

    #[test]
    fn what_only_looks_like_a_block_is_left_alone() {
        for text in [
            r"\{{#if}} {{key 'a}}b'}}",
            "{{!-- {{#if}} --}}{{! #each }}",
            "{{{{raw}}}} {{#if}} {{{{/raw}}}}",
            "{{~#if (key \"a\")~}} x {{~else~}} y {{~/if~}}",
            "{{#> layout}}x{{/layout}}{{#*inline \"p\"}}y{{/inline}}",
            "{{{key \"a\"}}}",
        ] {
            assert!(scan(text).is_ok(), "{text}: {:?}", scan(text));
        }
    }

    proptest! {
        /// Whatever the text is, the answer comes and names a line of it.
        #[test]
        fn any_text_is_answered(text in r"([{}#/~!a\n' ()-]|\{\{|\}\}|é){0,60}") {
            if let Err(fault) = scan(&text) {
                prop_assert!(fault.line >= 1 && fault.line <= text.matches('\n').count() + 1);
            }
        }
    }
}
