//! Server-sent events out of a stream of bytes. Source: the WHATWG HTML standard, 9.2.

/// One event as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The event's name; `message` if it had none.
    pub name: String,
    /// The data lines, joined by line feeds.
    pub data: String,
    /// The id, if it had one.
    pub id: Option<String>,
}

/// Collects bytes until events are complete.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
    id: Option<String>,
    has_data: bool,
}

impl Parser {
    /// How much of an event without an end is held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.line.len() + self.data.len()
    }

    /// Takes the next bytes and returns the events they complete, oldest first.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
            let line = std::mem::take(&mut self.line);
            if let Some(event) = self.take(&String::from_utf8_lossy(&line)) {
                events.push(event);
            }
        }
        self.line.extend_from_slice(rest);
        events
    }

    fn take(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" => self.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            _ => {} // a comment (an empty field name) or a field that we do not use
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let name = std::mem::take(&mut self.name);
        let id = self.id.take();
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then(|| SseEvent {
            name: if name.is_empty() { "message".into() } else { name },
            data,
            id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = ": keep-alive\n\nevent: change\nid: 7\ndata: {\"a\":\ndata: 1}\n\ndata: x\r\n\r\nid: 9\n\n";

    fn expected() -> Vec<SseEvent> {
        vec![
            SseEvent {
                name: "change".into(),
                data: "{\"a\":\n1}".into(),
                id: Some("7".into()),
            },
            SseEvent {
                name: "message".into(),
                data: "x".into(),
                id: None,
            },
        ]
    }

    proptest! {
        /// TCP cuts where it likes.
        #[test]
        fn events_do_not_depend_on_how_the_bytes_are_cut(cuts in prop::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::default();

            let events: Vec<_> = cuts.windows(2).flat_map(|w| parser.push(&STREAM.as_bytes()[w[0]..w[1]])).collect();

            prop_assert_eq!(events, expected());
        }
    }
}
