//! A request with a hole for the item's number: ready-made bytes around it. Must not know which items there are.

use std::io::Write;

/// What stands for the item's number.
const HOLE: &str = "{item}";

/// How something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Without a body.
    Get,
    /// With a body, of JSON.
    Post,
}

/// A request to one host, but for the item's number and a key.
#[derive(Debug, Clone)]
pub struct Template {
    /// The request line and the headers that never change, without the empty line.
    head: Text,
    body: Option<Text>,
    own_key: bool,
}

/// Text with holes: what stands before each of them, and behind the last.
#[derive(Debug, Clone)]
struct Text {
    parts: Vec<Vec<u8>>,
    /// Bytes of all parts.
    length: usize,
}

impl Template {
    /// A request to `host`. `{item}` in the path and in the body stands for the item's number.
    pub fn new(method: Method, host: &str, path: &str, body: Option<&str>) -> Self {
        let head = match method {
            Method::Get => format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n"),
            Method::Post => format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"),
        };
        // A POST without a body says so.
        let body = body.or((method == Method::Post).then_some(""));
        Self { head: Text::new(&head), body: body.map(Text::new), own_key: false }
    }

    /// With an `Idempotency-Key` of its own for each request.
    #[must_use]
    pub fn with_key(mut self) -> Self {
        self.own_key = true;
        self
    }

    /// Whether each request needs a key.
    pub fn has_key(&self) -> bool {
        self.own_key
    }

    /// Writes the request for an item into `request`, whatever it held.
    pub fn fill(&self, item: u64, key: Option<&str>, request: &mut Vec<u8>) {
        let mut number = [0; 20];
        let number = digits(item, &mut number);
        request.clear();
        self.head.fill(number, request);
        if let Some(key) = key {
            request.extend_from_slice(b"idempotency-key: ");
            request.extend_from_slice(key.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            let length = body.length + (body.parts.len() - 1) * number.len();
            // Writing to a vector cannot fail.
            let _ = write!(request, "content-length: {length}\r\n\r\n");
            body.fill(number, request);
        } else {
            request.extend_from_slice(b"\r\n");
        }
    }
}

impl Text {
    fn new(text: &str) -> Self {
        let parts: Vec<Vec<u8>> = text.split(HOLE).map(|part| part.as_bytes().to_vec()).collect();
        Self { length: parts.iter().map(Vec::len).sum(), parts }
    }

    fn fill(&self, number: &[u8], out: &mut Vec<u8>) {
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(number);
            }
            out.extend_from_slice(part);
        }
    }
}

/// A number as decimal digits, at the end of `room`.
fn digits(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &Template, item: u64, key: Option<&str>) -> String {
        let mut request = b"left over".to_vec();
        template.fill(item, key, &mut request);
        String::from_utf8(request).unwrap()
    }

    #[test]
    fn a_get_has_no_body() {
        let template = Template::new(Method::Get, "h:1", "/lookup/{item}", None);
        assert_eq!(filled(&template, 0, None), "GET /lookup/0 HTTP/1.1\r\nhost: h:1\r\n\r\n");
        assert_eq!(
            filled(&template.with_key(), u64::MAX, Some("k-1")),
            "GET /lookup/18446744073709551615 HTTP/1.1\r\nhost: h:1\r\nidempotency-key: k-1\r\n\r\n"
        );
    }

    #[test]
    fn a_post_says_how_long_its_body_is_with_every_hole_filled() {
        let template = Template::new(Method::Post, "h", "/put", Some("{\"n\": {item}, \"again\": {item}}"));
        let text = filled(&template, 120, None);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "{\"n\": 120, \"again\": 120}");
        assert!(head.starts_with("POST /put HTTP/1.1\r\nhost: h\r\n"), "{head}");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        assert!(filled(&Template::new(Method::Post, "h", "/", None), 1, None).ends_with("content-length: 0\r\n\r\n"));
    }
}
