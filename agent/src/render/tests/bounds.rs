//! What a render may take, and how it ends when it wants more.

use super::*;

/// One with so little that a test sees its end.
fn little(text: &str, partials: &[(&str, &str)], steps: u64, bytes: u64) -> Result<String, Held> {
    let partials = partials
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let mains = [("t".to_owned(), text.to_owned())];
    let templates = Templates::compile(&mains, &partials.collect(), None).unwrap();
    let around = Surroundings {
        job: Arc::new(Budget::new("all templates together", steps, bytes)),
        ..Surroundings::default()
    };
    render(&templates, 0, &view(&[]), &around).outcome
}

#[test]
fn what_would_take_too_long_ends_with_its_place() {
    let doubled: Vec<(String, String)> = (0..16)
        .map(|n| (format!("p{n}"), format!("{{{{> p{0}}}}}{{{{> p{0}}}}}", n + 1)))
        .collect();
    let mut partials: Vec<(&str, &str)> = doubled
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    partials.push(("p16", ""));
    for (text, partials) in [
        (
            "\n{{#each (range 1000)}}{{#each (range 1000)}}{{/each}}{{/each}}",
            &[][..],
        ),
        ("\n{{> p0}}", &partials[..]),
        (
            "\n{{#each (range 1000)}}{{> p}}{{/each}}",
            &[("p", "{{#each (range 100)}}{{#if true}}{{/if}}{{/each}}")],
        ),
    ] {
        let Err(Held::Broken(told)) = crate::load::on_big_stack(|| little(text, partials, 20_000, 1000)).unwrap()
        else {
            panic!("{text}")
        };
        assert!(told.contains("all templates together: more than 20000 steps"), "{told}");
        assert!(
            told.split(": ").next().unwrap().contains(|c: char| c.is_ascii_digit()),
            "{told}"
        );
    }
    assert!(little("{{#each (range 1000)}}{{/each}}", &[], 20_000, 1000).is_ok());
}

#[test]
fn what_would_take_too_much_memory_ends_with_its_place() {
    let chain: Vec<(String, String)> = (0..30)
        .map(|n| (format!("p{n}"), format!("{{{{> p{} v=(concat v v)}}}}", n + 1)))
        .collect();
    let mut partials: Vec<(&str, &str)> = chain
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    partials.push(("p30", ""));
    for (text, part) in [
        (
            "\n{{> p0 v=\"12345678\"}}",
            "`concat`: the result is longer than 64 MiB",
        ),
        (
            "{{#each (range 100000)}}{{#each (range 40)}}{{repeat \"a\" 100000}}{{/each}}{{/each}}",
            "all templates together: more than 1000000 bytes",
        ),
        ("{{repeat \"ab\" 100000000}}", "t:1: `repeat`: the result is longer"),
        (
            "{{replace (repeat \"a\" 10000) \"a\" (repeat \"b\" 10000)}}",
            "t:1: `replace`: the result is longer",
        ),
        (
            "{{regexReplace (repeat \"a\" 10000) \"a\" (repeat \"b\" 10000)}}",
            "t:1: `regexReplace`: the result is longer",
        ),
        ("{{range 1000000}}", "t:1: `range`: at most 100000 numbers"),
        (
            "{{#each (range 600)}}{{#if (repeat \"a\" 1000000)}}{{/if}}{{/each}}",
            "this template: more than 536870912 bytes",
        ),
    ] {
        let Err(Held::Broken(told)) =
            crate::load::on_big_stack(|| little(text, &partials, 1_000_000, 1_000_000)).unwrap()
        else {
            panic!("{text}")
        };
        assert!(told.contains(part), "{told}");
    }
}
