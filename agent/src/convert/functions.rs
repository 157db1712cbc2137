//! consul-template's functions as our helpers: names, the order of arguments, and what has no
//! counterpart.

use self::absent::unknown;
use self::builtin::builtin;
use super::hbs::{Hbs, call};
use super::kinds::Kind;

mod absent;
mod builtin;

/// A value and what is known of it.
pub type Typed = (Hbs, Kind);

/// Why something has no exact counterpart, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Why.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Lack {
    /// See the fields.
    pub fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            remedy: remedy.into(),
        }
    }
}

const BY_HAND: &str = "write it by hand";

/// A call of a function. What is to be noted about it goes to `notes`.
pub fn translate(name: &str, args: Vec<Typed>, notes: &mut Vec<String>) -> Result<Typed, Lack> {
    let kinds: Vec<Kind> = args.iter().map(|(_, kind)| kind.clone()).collect();
    let values: Vec<Hbs> = args.into_iter().map(|(value, _)| value).collect();
    if matches!(
        name,
        "and" | "or" | "not" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "print" | "printf"
    ) {
        return builtin(name, values, &kinds);
    }
    let count = values.len();
    let wrong = || {
        Lack::new(
            format!(
                "`{name}` is not known with {count} argument{}",
                if count == 1 { "" } else { "s" }
            ),
            BY_HAND,
        )
    };
    match values.len() {
        0 => Err(unknown(name).unwrap_or_else(wrong)),
        1 => {
            let [a] = <[Hbs; 1]>::try_from(values).map_err(|_| wrong())?;
            one(name, a, &kinds[0], notes).unwrap_or_else(|| Err(unknown(name).unwrap_or_else(wrong)))
        }
        2 => {
            let [a, b] = <[Hbs; 2]>::try_from(values).map_err(|_| wrong())?;
            two(name, a, b, &kinds, notes).unwrap_or_else(|| Err(unknown(name).unwrap_or_else(wrong)))
        }
        3 => {
            let [a, b, c] = <[Hbs; 3]>::try_from(values).map_err(|_| wrong())?;
            three(name, a, b, c, &kinds).unwrap_or_else(|| Err(unknown(name).unwrap_or_else(wrong)))
        }
        _ if name == "index" => {
            let mut values = values.into_iter();
            let first = values.next().ok_or_else(wrong)?;
            Ok((
                values.fold(first, |whole, key| call("lookup", [whole, key])),
                Kind::Document,
            ))
        }
        _ => Err(unknown(name).unwrap_or_else(wrong)),
    }
}

type Found = Option<Result<Typed, Lack>>;

fn one(name: &str, a: Hbs, kind: &Kind, notes: &mut Vec<String>) -> Found {
    let text = |value| Some(Ok((value, Kind::Text)));
    match name {
        "key" => Some(address(&a).map(|()| (call("key", [a]), Kind::Text))),
        "file" => Some(match &a {
            Hbs::Text(path) if !path.starts_with('/') => Err(Lack::new(
                format!("`file {path:?}` is relative: to the template's folder here, to where it is started there"),
                "write the whole path: (file \"/..\")",
            )),
            Hbs::Text(_) => Ok((call("file", [a]), Kind::Text)),
            _ => {
                notes.push("a path that is relative is relative to the template's folder for `file`".into());
                Ok((call("file", [a]), Kind::Text))
            }
        }),
        "keyExists" => Some(address(&a).map(|()| (call("keyExists", [a]), Kind::Bool))),
        "ls" | "safeLs" | "tree" | "safeTree" => Some(prefix(name, a, notes)),
        "env" => text(call("env", [a]).with("default", Hbs::Text(String::new()))),
        "mustEnv" => text(call("env", [a])),
        "toLower" | "sprig_lower" => text(call("lower", [a])),
        "toUpper" | "sprig_upper" => text(call("upper", [a])),
        "toTitle" => text(call("title", [a])),
        "trimSpace" | "sprig_trim" => text(call("trim", [a])),
        "base64Encode" | "sprig_b64enc" => text(call("base64Encode", [a])),
        "base64Decode" | "sprig_b64dec" => text(call("base64Decode", [a])),
        "base64URLEncode" => text(call("base64Encode", [a]).with("url", Hbs::Bool(true))),
        "base64URLDecode" => text(call("base64Decode", [a]).with("url", Hbs::Bool(true))),
        "sha256Hex" | "sprig_sha256sum" => text(call("sha256", [a])),
        "md5sum" => text(call("md5", [a])),
        "toJSON" | "toJSONPretty" => {
            notes.push(format!(
                "`{name}` writes `<`, `>` and `&` of a text as \\u003c, \\u003e and \\u0026; here they stay as they are, which is the same JSON"
            ));
            let json = call("toJson", [a]);
            text(if name == "toJSON" {
                json
            } else {
                json.with("pretty", Hbs::Bool(true))
            })
        }
        "toUnescapedJSON" => text(call("toJson", [a])),
        "toUnescapedJSONPretty" => text(call("toJson", [a]).with("pretty", Hbs::Bool(true))),
        "toTOML" => text(call("toToml", [a])),
        "parseJSON" => Some(Ok((call("parseJson", [a]), Kind::Document))),
        "parseYAML" => Some(Ok((call("parseYaml", [a]), Kind::Document))),
        "parseBool" => Some(Ok((call("parseBool", [a]), Kind::Bool))),
        "parseInt" => Some(Ok((call("parseInt", [a]), Kind::Number))),
        "parseUint" => Some(Ok((call("parseUint", [a]), Kind::Number))),
        "parseFloat" => Some(Ok((call("parseFloat", [a]), Kind::Number))),
        "len" => Some(Ok((call("len", [a]), Kind::Number))),
        "loop" => Some(Ok((call("range", [Hbs::Number("0".into()), a]), Kind::Number.list()))),
        "byKey" => {
            notes.push("`byKey` groups a key that lies in no folder too; consul-template's leaves it out".into());
            Some(Ok((call("byKey", [a]), Kind::Grouped.map().map())))
        }
        "explode" => Some(Ok((call("explode", [a]), Kind::Document))),
        "explodeMap" => Some(Ok((call("explode", [a]), Kind::Document))),
        "urlquery" => text(call("urlEncode", [a])),
        "scratch.Get" => Some(Ok((call("get", [a]), Kind::Document))),
        "scratch.Key" => Some(Ok((call("hasSet", [a]), Kind::Bool))),
        "scratch.MapValues" => Some(Ok((call("mapValues", [a]), Kind::Document.list()))),
        "index" if *kind == Kind::Document => Some(Ok((a, Kind::Document))),
        _ => None,
    }
}

fn two(name: &str, a: Hbs, b: Hbs, kinds: &[Kind], notes: &mut Vec<String>) -> Found {
    let text = |value| Some(Ok((value, Kind::Text)));
    let truth = |value| Some(Ok((value, Kind::Bool)));
    let number = |value| Some(Ok((value, Kind::Number)));
    match name {
        // An empty value counts as none there, and so it does here.
        "keyOrDefault" => Some(address(&a).map(|()| {
            let known = call("key", [a]).with("default", Hbs::Text(String::new()));
            (call("default", [known, b]), Kind::Text)
        })),
        "envOrDefault" => text(call("env", [a]).with("default", b)),
        "trim" => text(call("trim", [b]).with("chars", a)),
        "trimPrefix" | "sprig_trimPrefix" => text(call("trimPrefix", [b, a])),
        "trimSuffix" | "sprig_trimSuffix" => text(call("trimSuffix", [b, a])),
        "split" => match a {
            Hbs::Text(mark) if mark.is_empty() => Some(Err(Lack::new("`split` by nothing gives characters", BY_HAND))),
            mark => Some(Ok((call("split", [call("trim", [b]), mark]), Kind::Text.list()))),
        },
        "join" => text(call("join", [b, a])),
        "regexMatch" => truth(call("regexMatch", [b, a])),
        "contains" => truth(call("contains", [b, a])),
        "in" => truth(call("contains", [a, b])),
        "containsAll" | "containsAny" | "containsNone" | "containsNotAll" => {
            let name = match name {
                "containsAll" => "containsAll",
                "containsAny" => "containsAny",
                "containsNone" => "containsNone",
                _ => "containsNotAll",
            };
            truth(call(name, [b, a]))
        }
        "indent" => match &a {
            Hbs::Number(width) => {
                notes.push(
                    "`indent` leaves a text that is empty or begins with a newline without spaces in front".into(),
                );
                let margin = " ".repeat(width.parse::<usize>().unwrap_or(0).min(256));
                text(call("concat", [Hbs::Text(margin), call("indent", [b, a])]))
            }
            _ => Some(Err(Lack::new(
                "the width of this `indent` is computed",
                "write the number",
            ))),
        },
        "hmacSHA256Hex" => text(call("hmacSha256", [a]).with("key", b)),
        "mergeMap" => Some(Ok((merged(a, b), Kind::Document))),
        "mergeMapWithOverride" => Some(Ok((merged(a, b).with("override", Hbs::Bool(true)), Kind::Document))),
        "add" => number(call("add", [b, a])),
        "subtract" => number(call("sub", [b, a])),
        "multiply" => number(call("mul", [b, a])),
        "divide" => number(call("div", [b, a])),
        "modulo" => number(call("mod", [b, a])),
        "minimum" => number(call("min", [b, a])),
        "maximum" => number(call("max", [b, a])),
        "loop" => {
            let plain = |value: &Hbs| match value {
                Hbs::Number(number) => number.parse::<i64>().ok(),
                _ => None,
            };
            if !matches!((plain(&a), plain(&b)), (Some(from), Some(to)) if from <= to) {
                notes.push("`range` counts down if it begins above its end; `loop` gives nothing then".into());
            }
            Some(Ok((call("range", [a, b]), Kind::Number.list())))
        }
        "index" => {
            let kind = match &kinds[0] {
                Kind::Pair | Kind::Text | Kind::Number | Kind::Bool => {
                    return Some(Err(Lack::new("`index` of what is neither list nor map", BY_HAND)));
                }
                whole => whole.inner().unwrap_or(Kind::Document),
            };
            Some(Ok((call("lookup", [a, b]), kind)))
        }
        "scratch.Set" => text(call("set", [a, b])),
        "scratch.SetX" => text(call("setDefault", [a, b])),
        "sprig_default" if kinds[1] == Kind::Text => text(call("default", [b, a])),
        "sprig_hasPrefix" => truth(call("startsWith", [b, a])),
        "sprig_hasSuffix" => truth(call("endsWith", [b, a])),
        "sprig_contains" => truth(call("contains", [b, a])),
        "sprig_join" => text(call("join", [b, a])),
        _ => None,
    }
}

fn merged(a: Hbs, b: Hbs) -> Hbs {
    call("merge", [a, b]).with("deep", Hbs::Bool(true))
}

fn three(name: &str, a: Hbs, b: Hbs, c: Hbs, kinds: &[Kind]) -> Found {
    let text = |value| Some(Ok((value, Kind::Text)));
    match name {
        "replaceAll" | "sprig_replace" => match &a {
            Hbs::Text(from) if from.is_empty() => Some(Err(Lack::new(
                "this replaces nothing at all, between all characters",
                BY_HAND,
            ))),
            _ => text(call("replace", [c, a, b])),
        },
        "regexReplaceAll" => text(call("regexReplace", [c, a, b])),
        "splitToMap" => Some(Ok((
            call("splitToMap", [call("trim", [c])]).with("item", a).with("kv", b),
            Kind::Text.map(),
        ))),
        "index" if !matches!(kinds[0], Kind::Pair | Kind::Text) => {
            Some(Ok((call("lookup", [call("lookup", [a, b]), c]), Kind::Document)))
        }
        "scratch.MapSet" => text(call("mapSet", [a, b, c])),
        "scratch.MapSetX" => text(call("mapSetDefault", [a, b, c])),
        _ => None,
    }
}

/// Keys with `@dc` and `?ns=` are questions to one of several stores.
fn address(name: &Hbs) -> Result<(), Lack> {
    match name {
        Hbs::Text(text) if text.contains(['@', '?']) => Err(Lack::new(
            format!("`{text}` asks another datacenter or namespace, and there is one store"),
            "put the key into it, under a folder of its own",
        )),
        _ => Ok(()),
    }
}

/// `ls` and `tree` go by path segments here and by bytes there, and are the same where the text ends
/// with a slash.
fn prefix(name: &str, folder: Hbs, notes: &mut Vec<String>) -> Result<Typed, Lack> {
    address(&folder)?;
    match &folder {
        Hbs::Text(text) if text.trim_matches('/').is_empty() => {
            return Err(Lack::new(format!("`{name}` of the whole store"), "name a folder"));
        }
        Hbs::Text(text) if !text.ends_with('/') => notes.push(format!(
            "`{name} \"{text}\"` shows what lies in the folder `{text}/`; consul-template's also reads keys whose names only begin like it, such as `{text}2`"
        )),
        Hbs::Text(_) => {}
        _ => notes.push(format!("`{name}` reads a folder; consul-template's also reads keys whose names only begin like it")),
    }
    let own = if name.to_lowercase().ends_with("ls") {
        "ls"
    } else {
        "tree"
    };
    let found = call(own, [folder]);
    let found = if name.starts_with("safe") {
        found.with("min", Hbs::Number("1".into()))
    } else {
        found
    };
    Ok((found, Kind::Pair.list()))
}
