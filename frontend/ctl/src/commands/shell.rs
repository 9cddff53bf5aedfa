//! `completions` and `man`: what shells and manual readers are told, out of the same source as the command line itself.

use std::{io, path::Path};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use crate::{
    cli::Cli,
    failure::{Failure, STATUSES},
    output::Output,
};

const NAME: &str = "catalogctl";
/// What opens whatever is rendered: how an apostrophe is written.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// `completions`.
///
/// # Errors
/// When it cannot be written.
pub fn completions(mut out: Output, shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
    out.bytes(&text)?;
    out.flush()
}

/// `man`.
///
/// # Errors
/// When there is no such command, or a page cannot be written.
pub fn manual(mut out: Output, command: Option<&str>, folder: Option<&Path>) -> Result<(), Failure> {
    let pages = pages();
    if let Some(folder) = folder {
        let written = std::fs::create_dir_all(folder).and_then(|()| {
            pages.iter().try_for_each(|(name, text)| std::fs::write(folder.join(format!("{name}.1")), text))
        });
        return written.map_err(|error| {
            Failure::refused(format_args!("{} cannot be written: {error}; name another folder", folder.display()))
        });
    }
    let wanted = command.map_or(NAME.to_owned(), |command| format!("{NAME}-{command}"));
    let page = pages.iter().find(|(name, _)| *name == wanted);
    let Some((_, text)) = page else {
        let known: Vec<&str> = pages.iter().filter_map(|(name, _)| name.strip_prefix("catalogctl-")).collect();
        return Err(Failure::usage(format_args!("{wanted} is no command; there are {}", known.join(", "))));
    };
    out.bytes(text)?;
    out.flush()
}

/// All pages, by name.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut whole = Cli::command();
    whole.build();
    let parts = whole.get_subcommands().filter(|part| part.get_name() != "help").map(|part| {
        let name = format!("{NAME}-{}", part.get_name());
        // Pages are found by this name, and what is typed has a space.
        let typed = format!("{NAME} {}", part.get_name());
        let part = part.clone().display_name(name.clone()).bin_name(typed);
        let text = page(part).expect("memory takes all");
        (name, text)
    });
    let parts: Vec<_> = parts.collect();
    let mut pages = vec![(NAME.to_owned(), page(whole).expect("memory takes all"))];
    pages.extend(parts);
    pages
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let has_parts = command.has_subcommands();
    let has_more = command.get_after_help().is_some() && !has_parts;
    let man = Man::new(command);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_parts {
        man.render_subcommands_section(&mut text)?;
    }
    if has_more {
        man.render_extra_section(&mut text)?;
    }
    let mut more = Roff::new();
    more.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in STATUSES {
        more.control("TP", []);
        more.text([roman(status.to_string())]);
        more.text([roman(meaning)]);
    }
    more.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in [
        ("CATALOG_STORE_ADDRESS", "Front ends as for --address, where neither --config nor --address is given."),
        (
            "CATALOG_STORE_CONFIG",
            "A layout as for --config, where nothing else names the cluster. Servers read it too.",
        ),
    ] {
        more.control("TP", []);
        more.text([roman(name)]);
        more.text([roman(meaning)]);
    }
    // Without the preamble, which stands above already.
    text.extend(more.to_roff().bytes());
    // Each section has brought the same preamble.
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let (first, rest) = text.split_at(PREAMBLE.len());
    Ok([first, &rest.replace(PREAMBLE, "")].concat().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_page_and_every_page_the_exit_statuses() {
        let pages = pages();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        let mut expected = vec!["catalogctl".to_owned()];
        expected.extend(Cli::command().get_subcommands().map(|part| format!("catalogctl-{}", part.get_name())));
        assert_eq!(names, expected);
        for (name, text) in &pages {
            let text = String::from_utf8_lossy(text);
            assert!(text.starts_with(PREAMBLE) && text.matches(PREAMBLE).count() == 1, "{name}\n{text}");
            for (status, meaning) in STATUSES {
                assert!(
                    text.contains(&format!("\n{status}\n{}", meaning.replace('-', "\\-"))),
                    "{name}: {status}\n{text}"
                );
            }
        }
        let whole = String::from_utf8_lossy(&pages[0].1);
        for name in &names[1..] {
            assert!(whole.contains(&name.replace('-', "\\-")), "{name} is not named in\n{whole}");
        }
    }
}
