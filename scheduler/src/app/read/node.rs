//! A walk through JSON that goes on behind a mistake, so that all are told at once.
//!
//! Whoever reads a field of the wrong shape gets none or the default, and goes on; what was read with mistakes is thrown away
//! at the end. Fields that nobody asks for are noted too: they have no effect, and their author should know.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use serde_json::Value;

use crate::app::invalid::{ByPath, FieldError, Invalid};

/// What was found on the way.
#[derive(Debug, Default)]
pub(in crate::app) struct Findings {
    shape: RefCell<ByPath>,
    meaning: RefCell<ByPath>,
    ignored: RefCell<Vec<String>>,
}

impl Findings {
    pub(in crate::app) fn misshapen(&self, path: &str, error: impl Into<String>) {
        note(&self.shape, path, error.into());
    }

    pub(in crate::app) fn wrong(&self, path: &str, error: impl Into<String>) {
        note(&self.meaning, path, error.into());
    }

    /// Mistakes of a part that was read by itself.
    pub(in crate::app) fn absorb(&self, invalid: &Invalid) {
        let mistakes = match invalid {
            Invalid::Meaning(_) => &self.meaning,
            Invalid::Syntax(_) | Invalid::Shape(_) => &self.shape,
        };
        for field in invalid.fields() {
            field
                .errors
                .iter()
                .for_each(|error| note(mistakes, &field.path, error.clone()));
        }
    }

    pub(in crate::app) fn ignore(&self, path: impl Into<String>) {
        self.ignored.borrow_mut().push(path.into());
    }

    /// The mistakes, if any, else what was ignored. Mistakes of meaning behind one of shape say little.
    pub(in crate::app) fn conclude(self) -> Result<Vec<String>, Invalid> {
        let (shape, meaning) = (self.shape.into_inner(), self.meaning.into_inner());
        match (shape.is_empty(), meaning.is_empty()) {
            (false, _) => Err(Invalid::Shape(FieldError::list(shape))),
            (true, false) => Err(Invalid::Meaning(FieldError::list(meaning))),
            (true, true) => Ok(self.ignored.into_inner()),
        }
    }
}

fn note(mistakes: &RefCell<ByPath>, path: &str, error: String) {
    let path = if path.is_empty() { "/" } else { path };
    mistakes.borrow_mut().entry(path.into()).or_default().push(error);
}

/// A value and where it is.
#[derive(Debug, Clone)]
pub(in crate::app) struct Node<'a> {
    pub(in crate::app) value: &'a Value,
    pub(in crate::app) path: String,
    pub(in crate::app) findings: &'a Findings,
}

impl<'a> Node<'a> {
    pub(in crate::app) fn root(value: &'a Value, findings: &'a Findings) -> Self {
        let path = String::new();
        Self { value, path, findings }
    }

    fn child(&self, name: impl Display, value: &'a Value) -> Self {
        let path = format!("{}/{name}", self.path);
        Self {
            value,
            path,
            findings: self.findings,
        }
    }

    /// It cannot be meant, or cannot be done.
    pub(in crate::app) fn wrong(&self, error: impl Into<String>) {
        self.findings.wrong(&self.path, error);
    }

    fn shaped<T>(&self, read: Option<T>, shape: &str) -> Option<T> {
        if read.is_none() {
            self.findings.misshapen(&self.path, format!("has to be {shape}"));
        }
        read
    }

    pub(in crate::app) fn text(&self) -> Option<&'a str> {
        self.shaped(self.value.as_str(), "a text")
    }

    pub(in crate::app) fn boolean(&self) -> Option<bool> {
        self.shaped(self.value.as_bool(), "true or false")
    }

    /// A number that is not less than `least`.
    pub(in crate::app) fn number(&self, least: f64) -> Option<f64> {
        let number = self.shaped(self.value.as_f64(), "a number")?;
        if number < least {
            self.wrong(format!("has to be at least {least}"));
        }
        Some(number)
    }

    /// A whole number that is not above what `T` holds, and is not less than `least`.
    pub(in crate::app) fn whole<T: TryFrom<i64> + Into<u64> + Copy>(&self, least: u64, most: T) -> Option<T> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "compared with the number that it was made of"
        )]
        let of_float = |number: f64| (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64);
        let read = self.value.as_i64().or_else(|| self.value.as_f64().and_then(of_float));
        let number = self.shaped(read, "a whole number")?;
        let most: u64 = most.into();
        let inside = u64::try_from(number).is_ok_and(|number| (least..=most).contains(&number));
        if !inside {
            self.wrong(format!("has to be from {least} to {most}"));
            return None;
        }
        T::try_from(number).ok()
    }

    pub(in crate::app) fn items(&self) -> Option<Vec<Self>> {
        let items = self.shaped(self.value.as_array(), "a list")?;
        Some(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| self.child(index, item))
                .collect(),
        )
    }

    /// The entries of a map whose names the author chose.
    pub(in crate::app) fn entries(&self) -> Option<Vec<(&'a str, Self)>> {
        let fields = self.shaped(self.value.as_object(), "an object")?;
        Some(
            fields
                .iter()
                .map(|(name, value)| (name.as_str(), self.child(name, value)))
                .collect(),
        )
    }

    pub(in crate::app) fn object(&self) -> Option<Object<'a>> {
        let fields = self.shaped(self.value.as_object(), "an object")?;
        Some(Object {
            unread: fields.iter().map(|(name, value)| (name.as_str(), value)).collect(),
            node: self.clone(),
        })
    }

    pub(in crate::app) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<&str> = choices
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| !name.is_empty())
                .collect();
            self.findings
                .misshapen(&self.path, format!("has to be one of {}", names.join(", ")));
        }
        found.map(|(_, choice)| choice.clone())
    }
}

/// An object whose fields are taken one by one; those that are left when it is dropped are ignored, and noted.
#[derive(Debug)]
pub(in crate::app) struct Object<'a> {
    unread: BTreeMap<&'a str, &'a Value>,
    node: Node<'a>,
}

impl<'a> Object<'a> {
    /// The field, if it is there. `null` is not there.
    pub(in crate::app) fn take(&mut self, name: &str) -> Option<Node<'a>> {
        let value = self.unread.remove(name).filter(|value| !value.is_null())?;
        Some(self.node.child(name, value))
    }

    pub(in crate::app) fn need(&mut self, name: &str) -> Option<Node<'a>> {
        let found = self.take(name);
        if found.is_none() {
            let path = format!("{}/{name}", self.node.path);
            self.node.findings.misshapen(&path, "is missing");
        }
        found
    }

    /// A field that cannot be done here.
    pub(in crate::app) fn refuse(&mut self, name: &str, remedy: &str) {
        if let Some(node) = self.take(name) {
            node.wrong(format!("cannot be done here: {remedy}"));
        }
    }

    /// Fields that say nothing to us, such as what an answer had besides.
    pub(in crate::app) fn leave(&mut self, names: &[&'static str]) {
        for name in names {
            self.unread.remove(name);
        }
    }

    /// What is left says nothing to whoever asks for a part only.
    pub(in crate::app) fn leave_rest(&mut self) {
        self.unread.clear();
    }

    /// A mistake of the whole object.
    pub(in crate::app) fn wrong(&self, error: impl Into<String>) {
        self.node.wrong(error);
    }

    pub(in crate::app) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name)?.text().map(Into::into)
    }

    /// A text that is not empty.
    pub(in crate::app) fn words(&mut self, name: &str) -> Option<String> {
        let node = self.take(name)?;
        let text = node.text()?;
        if text.is_empty() {
            node.wrong("is empty");
        }
        Some(text.into())
    }

    pub(in crate::app) fn boolean(&mut self, name: &str) -> bool {
        self.take(name).and_then(|node| node.boolean()).unwrap_or(false)
    }

    pub(in crate::app) fn number(&mut self, name: &str, least: f64, default: f64) -> f64 {
        self.take(name).and_then(|node| node.number(least)).unwrap_or(default)
    }

    pub(in crate::app) fn whole<T: TryFrom<i64> + Into<u64> + Copy>(&mut self, name: &str, most: T) -> Option<T> {
        self.take(name)?.whole(0, most)
    }

    pub(in crate::app) fn seconds(&mut self, name: &str, least: u64) -> Option<Duration> {
        let seconds: u32 = self.take(name)?.whole(least, u32::MAX)?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// Each item of a list that `read` makes something of; none if there is no list.
    pub(in crate::app) fn list<T>(&mut self, name: &str, read: impl FnMut(Node<'a>) -> Option<T>) -> Option<Vec<T>> {
        let items = self.take(name)?.items()?;
        Some(items.into_iter().filter_map(read).collect())
    }

    pub(in crate::app) fn map<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(Node<'a>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let entries = self.take(name).and_then(|node| node.entries()).unwrap_or_default();
        let read = |(name, node): (&str, Node<'a>)| Some((name.to_owned(), read(node)?));
        entries.into_iter().filter_map(read).collect()
    }

    pub(in crate::app) fn texts(&mut self, name: &str) -> BTreeMap<String, String> {
        self.map(name, |node| node.text().map(Into::into))
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        for (name, value) in &self.unread {
            if !value.is_null() {
                self.node.findings.ignore(format!("{}/{name}", self.node.path));
            }
        }
    }
}
