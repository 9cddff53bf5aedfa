//! What a page shows: blocks of commands, each with what it prints. Must not know how a command is run.

use std::fmt;

/// A command and what the page shows below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Its line in the page, from 1.
    pub line: usize,
    /// For a shell.
    pub command: String,
    /// What it prints.
    pub expected: String,
}

/// The examples of a page.
#[derive(Debug)]
pub struct Page {
    /// In their order.
    pub examples: Vec<Example>,
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: $ {}", self.line, self.command)
    }
}

impl Page {
    /// Reads the blocks of ` ```console `: a line `$ command`, which goes on in the next one behind a `\`, and below it
    /// what the command prints.
    ///
    /// # Errors
    /// When a block would not be run: a command outside a block of that kind, or a block that begins without one.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut examples: Vec<Example> = Vec::new();
        let mut block: Option<&str> = None;
        let mut begun = false;
        let mut lines = (1..).zip(text.lines());
        while let Some((line, content)) = lines.next() {
            let at = |what: &str| format!("{name}:{line}: {what}: {content}");
            if let Some(kind) = content.trim_start().strip_prefix("```") {
                if block == Some("console") && !begun {
                    return Err(at("a console block without a command"));
                }
                block = if block.is_some() { None } else { Some(kind.trim()) };
                begun = false;
                continue;
            }
            let command = content.strip_prefix("$ ");
            if block != Some("console") {
                if command.is_some() || (block.is_some() && content.trim_start().starts_with("curl ")) {
                    return Err(at("a command that no test runs: it must be in a block of ```console, behind `$ `"));
                }
                continue;
            }
            if let Some(command) = command {
                let mut command = command.to_owned();
                while command.ends_with('\\') {
                    let (_, more) = lines.next().ok_or_else(|| at("a command without its end"))?;
                    command.push('\n');
                    command += more;
                }
                examples.push(Example { line, command, expected: String::new() });
                begun = true;
            } else if let Some(example) = examples.last_mut().filter(|_| begun) {
                example.expected += content;
                example.expected.push('\n');
            } else {
                return Err(at("an answer before the first command of its block"));
            }
        }
        match block {
            Some(_) => Err(format!("{name}: the last block has no end")),
            None => Ok(Self { examples }),
        }
    }
}

#[test]
fn commands_are_read_with_their_answers() {
    let page = "# Title\n```console\n$ one\nanswer\n\nof three lines\n$ two \\\n    goes on\n```\ntext\n```toml\na = 1\n```\n\
                ```console\n$ three\n```\n";
    let examples = Page::parse("page", page).unwrap().examples;
    let seen: Vec<_> = examples.iter().map(|one| (one.line, &*one.command, &*one.expected)).collect();
    assert_eq!(seen, [(3, "one", "answer\n\nof three lines\n"), (7, "two \\\n    goes on", ""), (15, "three", "")]);
}

#[test]
fn a_block_that_would_not_be_run_is_an_error() {
    for (page, why) in [
        ("```sh\ncurl localhost/\n```\n", "page:2: a command that no test runs"),
        ("```\n$ curl localhost/\n```\n", "page:2: a command that no test runs"),
        ("$ curl localhost/\n", "page:1: a command that no test runs"),
        ("```console\n```\n", "page:2: a console block without a command"),
        ("```console\n{}\n$ curl\n```\n", "page:2: an answer before the first command"),
        ("```console\n$ one\n", "the last block has no end"),
    ] {
        let error = Page::parse("page", page).expect_err(page);
        assert!(error.contains(why), "{error}");
    }
}
