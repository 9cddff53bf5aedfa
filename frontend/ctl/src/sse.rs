//! Server-Sent Events out of bytes as they arrive (HTML living standard, 9.2.6).
//!
//! Must not know what events mean, nor where they come from.

/// The longest line: an event of one revision, of a batch of a thousand items with long titles among it, is shorter.
const MAX_LINE: usize = 64 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `id:`, if it has one.
    pub id: Option<String>,
    /// `event:`, or nothing.
    pub kind: String,
    /// `data:`, its lines joined.
    pub data: String,
}

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// The events that `bytes` complete.
    ///
    /// # Errors
    /// When a line is not text, or has no end.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, &'static str> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MAX_LINE {
                return Err("a line without an end");
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = std::str::from_utf8(&line).map_err(|_| "a line that is no text")?;
                events.extend(self.take(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(events)
    }

    fn take(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_they_are_cut() {
        let text =
            "event: change\r\nid: 7\r\ndata: {\"a\":1}\r\n\r\n: a comment\n\nid: 8\ndata: x\ndata:y\n\nevent: change\n";
        let expected = [("change", "7", "{\"a\":1}"), ("", "8", "x\ny")];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<Event> =
                text.as_bytes().chunks(size).flat_map(|bytes| parser.feed(bytes).expect("text")).collect();
            let told: Vec<_> = events
                .iter()
                .map(|event| (event.kind.as_str(), event.id.as_deref().unwrap_or_default(), event.data.as_str()))
                .collect();
            assert_eq!(told, expected, "in pieces of {size}");
        }
        assert!(Parser::default().feed(b"data: \xff\n").is_err());
    }
}
