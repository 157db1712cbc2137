//! Handlebars, written so that each byte of text comes out as Go prints it.
//!
//! A tag that stands alone on its line takes the line's white space and newline away; Go's takes
//! nothing. So such a tag gets a newline of its own to take, or a `{{!}}` for company.

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What is printed as it is.
    Text(String),
    /// `{{ ... }}`, what is between the braces: it prints something.
    Value(String),
    /// `> name`.
    Partial(String),
    /// A comment's text.
    Comment(String),
    /// A block.
    Block {
        /// What is between the braces, such as `#if x`; for the branches behind the first `else`.
        branches: Vec<(String, Vec<Self>)>,
        /// The name behind the slash.
        close: String,
    },
}

enum Flat {
    Text(String),
    Tag { inside: String, kind: TagKind },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TagKind {
    Value,
    Comment,
    Partial,
    /// A block's, on the line that it is on.
    Block,
    /// A block's, with a line of its own.
    OwnLine,
}

/// Writes a template.
pub fn emit(pieces: Vec<Piece>) -> String {
    let pieces = rotate(pieces);
    let mut flat = Vec::new();
    flatten(pieces, &mut flat);
    let mut out = String::new();
    let mut guarded = false;
    for (place, one) in flat.iter().enumerate() {
        let next = flat.get(place + 1);
        match one {
            Flat::Text(text) => guarded = write_text(text, next, &mut out),
            Flat::Tag { inside, kind } => {
                write_tag(inside, *kind, std::mem::take(&mut guarded), next, &mut out);
            }
        }
    }
    out
}

/// `\n` before each branch and behind the block is the same as one before the block and one at the end
/// of each branch, and there the tags have lines of their own.
fn rotate(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut pieces = joined(pieces);
    for place in 0..pieces.len() {
        let follows = matches!(pieces.get(place + 1), Some(Piece::Text(text)) if text.starts_with('\n'));
        let Piece::Block { branches, .. } = &mut pieces[place] else {
            continue;
        };
        let begins = |(_, branch): &(String, Vec<Piece>)| matches!(branch.first(), Some(Piece::Text(text)) if text.starts_with('\n'));
        let whole = follows && branches.iter().all(begins);
        for (_, branch) in branches.iter_mut() {
            if whole {
                if let Some(Piece::Text(text)) = branch.first_mut() {
                    text.remove(0);
                }
                branch.push(Piece::Text("\n".into()));
            }
            *branch = rotate(std::mem::take(branch));
        }
        if whole {
            for (open, _) in branches.iter_mut() {
                open.insert(0, '\n');
            }
            if let Some(Piece::Text(text)) = pieces.get_mut(place + 1) {
                text.remove(0);
            }
        }
    }
    let mut moved = Vec::with_capacity(pieces.len());
    for piece in pieces {
        if let Piece::Block { branches, .. } = &piece
            && branches.first().is_some_and(|(open, _)| open.starts_with('\n'))
        {
            moved.push(Piece::Text("\n".into()));
        }
        moved.push(piece);
    }
    joined(moved)
}

/// Texts that stand side by side are one, and empty ones none.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (_, Piece::Text(text)) if text.is_empty() => {}
            (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
            (_, piece) => joined.push(piece),
        }
    }
    joined
}

fn flatten(pieces: Vec<Piece>, flat: &mut Vec<Flat>) {
    let tag = |flat: &mut Vec<Flat>, inside: String, kind| flat.push(Flat::Tag { inside, kind });
    for piece in pieces {
        match piece {
            Piece::Text(text) => flat.push(Flat::Text(text)),
            Piece::Value(inside) => tag(flat, inside, TagKind::Value),
            Piece::Partial(inside) => tag(flat, inside, TagKind::Partial),
            Piece::Comment(inside) => tag(flat, inside, TagKind::Comment),
            Piece::Block { branches, close } => {
                let own = branches.first().is_some_and(|(open, _)| open.starts_with('\n'));
                let kind = if own { TagKind::OwnLine } else { TagKind::Block };
                for (open, branch) in branches {
                    tag(flat, open.trim_start().to_owned(), kind);
                    flatten(branch, flat);
                }
                tag(flat, format!("/{close}"), kind);
            }
        }
    }
}

/// Whether a space was put behind a brace, for the next tag to take away.
fn write_text(text: &str, next: Option<&Flat>, out: &mut String) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let length = rest[at..].find(|c| c != '{').unwrap_or(rest.len() - at);
        plain(&rest[..at], true, out);
        out.push_str(&format!("{{{{concat \"{}\"}}}}", &rest[at..at + length]));
        rest = &rest[at + length..];
    }
    let Some(Flat::Tag { kind, .. }) = next else {
        out.push_str(rest);
        return false;
    };
    match rest.strip_suffix('{') {
        // `{{~` takes the space away again.
        Some(_) if *kind != TagKind::Comment => {
            out.push_str(rest);
            out.push(' ');
            return true;
        }
        Some(before) => {
            plain(before, true, out);
            out.push_str("{{concat \"{\"}}");
        }
        None => plain(rest, true, out),
    }
    false
}

/// Before a tag, a backslash would be taken as an escape of it.
fn plain(text: &str, tag_follows: bool, out: &mut String) {
    out.push_str(text);
    if tag_follows && text.ends_with('\\') {
        out.push('\\');
    }
}

fn write_tag(inside: &str, kind: TagKind, guarded: bool, next: Option<&Flat>, out: &mut String) {
    let tilde = if guarded { "~" } else { "" };
    let line = &out[out.rfind('\n').map_or(0, |at| at + 1)..];
    let blank = line.chars().all(|c| c == ' ' || c == '\t');
    let at_start = line.is_empty();
    let ends_line = match next {
        None => true,
        Some(Flat::Text(text)) => text.trim_start_matches([' ', '\t']).starts_with(['\n', '\r']),
        Some(Flat::Tag { .. }) => false,
    };
    if kind == TagKind::Partial && out.ends_with([' ', '\t']) && !guarded {
        // White space before a partial would indent each of its lines.
        out.push_str("{{!}}");
    }
    let alone = blank && ends_line && kind != TagKind::Value;
    match kind {
        TagKind::Comment => out.push_str(&format!("{{{{!--{inside}--}}}}")),
        _ => out.push_str(&format!("{{{{{tilde}{inside}}}}}")),
    }
    if (alone || kind == TagKind::OwnLine) && at_start {
        out.push('\n');
    } else if alone && kind != TagKind::Partial {
        out.push_str("{{!}}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::load::on_big_stack;
    use crate::render::render;
    use crate::templates::Templates;
    use crate::view::View;

    fn rendered(template: &str) -> String {
        let partials = BTreeMap::from([("p".to_owned(), "P\nQ".to_owned())]);
        let templates = Templates::compile(&[("main".into(), template.to_owned())], &partials, None)
            .unwrap_or_else(|e| panic!("{e}\n{template}"));
        let rendered = on_big_stack(|| render(&templates, 0, &View::default(), &Default::default())).unwrap();
        rendered.outcome.unwrap_or_else(|e| panic!("{e:?}\n{template}"))
    }

    /// What Go would print.
    fn printed(pieces: &[Piece]) -> String {
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(_) => out.push('V'),
                Piece::Partial(_) => out.push_str("P\nQ"),
                Piece::Comment(_) => {}
                Piece::Block { branches, close } if close == "each" => {
                    out.push_str(&printed(&branches[0].1).repeat(2));
                }
                Piece::Block { branches, .. } => {
                    let place = usize::from(branches[0].0.ends_with("false"));
                    out.push_str(
                        &branches
                            .get(place)
                            .map(|(_, branch)| printed(branch))
                            .unwrap_or_default(),
                    );
                }
            }
        }
        out
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let text = prop_oneof![
            "[a \n\t{}\\\\]{0,6}",
            Just("\n".to_owned()),
            Just("\n  ".to_owned()),
            Just("x {".to_owned()),
            Just("\r\n".to_owned()),
        ];
        let leaf = prop_oneof![
            4 => text.prop_map(Piece::Text),
            2 => Just(Piece::Value("concat \"V\"".into())),
            1 => Just(Piece::Partial("> p".into())),
            1 => Just(Piece::Comment(" c ".into())),
        ];
        let list = prop::collection::vec(leaf, 0..5);
        list.prop_recursive(3, 30, 5, |inner| {
            let block = |open: &'static str, close: &'static str, two: bool| {
                prop::collection::vec(inner.clone(), if two { 2..3 } else { 1..2 }).prop_map(move |bodies| {
                    let opens = [open, "else"].into_iter().map(str::to_owned);
                    Piece::Block {
                        branches: opens.zip(bodies).collect(),
                        close: close.to_owned(),
                    }
                })
            };
            let one = prop_oneof![
                block("#if true", "if", true),
                block("#if false", "if", true),
                block("#if true", "if", false),
                block("#if false", "if", false),
                block("#each [1,2]", "each", false),
            ];
            (inner.clone(), one, inner.clone()).prop_map(|(mut before, block, after)| {
                before.push(block);
                before.extend(after);
                before
            })
        })
    }

    #[test]
    fn lines_of_tags_look_as_people_write_them() {
        let block = |inner: &str| Piece::Block {
            branches: vec![("#each [1,2]".into(), vec![Piece::Text(inner.into())])],
            close: "each".into(),
        };
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(
            emit(vec![text("a {"), block("\n  b"), text("\n}\n")]),
            "a {\n{{#each [1,2]}}\n  b\n{{/each}}\n}\n"
        );
        assert_eq!(
            emit(vec![text("a "), block("b"), text(" c")]),
            "a {{#each [1,2]}}b{{/each}} c"
        );
        assert_eq!(
            emit(vec![text("a\n  "), block("\nb"), text("c")]),
            "a\n  {{#each [1,2]}}{{!}}\nb{{/each}}c"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// Handlebars prints what Go prints, wherever tags and white space meet.
        #[test]
        fn every_byte_of_text_comes_out(pieces in pieces()) {
            let template = emit(pieces.clone());
            prop_assert_eq!(rendered(&template), printed(&pieces), "{}", template);
        }
    }
}
