//! Where the demo's lines go: to the terminal and to a file.

use std::{fs::File, io::Write, path::Path};

use anyhow::Context;

/// The demo's output.
pub struct Story {
    file: File,
    steps: u32,
}

impl Story {
    /// Begins a new story in `path`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, steps: 0 })
    }

    /// The title of the next step.
    pub fn title(&mut self, title: &str) {
        self.steps += 1;
        let line = format!("\n{}. {title}", self.steps);
        self.say(&line);
    }

    /// One line, or several.
    pub fn say(&mut self, text: &str) {
        println!("{text}");
        // The terminal has it; a full disk shall not end the story.
        let _ = writeln!(self.file, "{text}");
    }
}
