//! The figures of a server as it tells them: OpenMetrics text, taken apart strictly, so that whatever a scraper would
//! stumble over fails a test. Must not know which figures there are.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};

/// What is told under one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it says it means.
    pub help: String,
    /// Its samples: the text before the value, and the value.
    pub samples: BTreeMap<String, f64>,
}

/// All figures of a server, by name; that of a counter ends in `_total`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures(pub BTreeMap<String, Figure>);

impl Figures {
    /// Takes a page apart.
    ///
    /// # Errors
    /// When a line is not what the format wants at its place.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let body = text.strip_suffix("# EOF\n").context("the page does not end with # EOF")?;
        let mut figures = BTreeMap::new();
        let mut lines = body.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) =
                line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).with_context(|| line.to_owned())?;
            let described = lines.next().context("a help without a type")?;
            let (of, kind) = described
                .strip_prefix("# TYPE ")
                .and_then(|rest| rest.split_once(' '))
                .with_context(|| described.to_owned())?;
            ensure!(of == name && is_name(name), "{line}\n{described}");
            ensure!(["counter", "gauge", "histogram"].contains(&kind), "{described}");
            let mut samples = BTreeMap::new();
            while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
                let (key, value) = parse_sample(name, kind, sample).with_context(|| sample.to_owned())?;
                ensure!(samples.insert(key, value).is_none(), "twice: {sample}");
            }
            let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let figure = Figure { kind: kind.to_owned(), help: help.to_owned(), samples };
            ensure!(figures.insert(name.clone(), figure).is_none(), "{name} is told twice");
        }
        for (name, figure) in figures.iter().filter(|(_, figure)| figure.kind == "histogram") {
            check_buckets(name, figure)?;
        }
        Ok(Self(figures))
    }

    /// A sample by the text before its value, `x_total{reason="y"}`; 0 when it is not there.
    pub fn get(&self, sample: &str) -> f64 {
        self.0.values().find_map(|figure| figure.samples.get(sample)).copied().unwrap_or(0.0)
    }

    /// The sum of a figure's samples: of a histogram, how many values there were.
    pub fn total(&self, name: &str) -> f64 {
        let Some(figure) = self.0.get(name) else { return 0.0 };
        let counted = |sample: &&String| figure.kind != "histogram" || sample.starts_with(&format!("{name}_count"));
        figure.samples.iter().filter(|(sample, _)| counted(sample)).map(|(_, value)| value).sum()
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The text before the value of a sample, and the value.
fn parse_sample(name: &str, kind: &str, sample: &str) -> anyhow::Result<(String, f64)> {
    let (key, value) = sample.rsplit_once(' ').context("no value")?;
    let value: f64 = value.parse()?;
    ensure!(value.is_finite() && (kind == "gauge" || value >= 0.0), "its value");
    let (base, labels) = match key.split_once('{') {
        Some((base, labels)) => (base, labels.strip_suffix('}').context("labels without an end")?),
        None => (key, ""),
    };
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let quoted = label.split_once("=\"").and_then(|(label, value)| Some((label, value.strip_suffix('"')?)));
        ensure!(quoted.is_some_and(|(label, value)| is_name(label) && !value.contains(['"', '\\'])), "a label");
    }
    let endings: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_sum", "_count", "_bucket"],
        _ => &[""],
    };
    let ending = base.strip_prefix(name).context("a sample of another name")?;
    ensure!(endings.contains(&ending), "a {kind} has no sample of this name");
    Ok((key.to_owned(), value))
}

/// Whether the last bucket of each series holds as many as there are.
fn check_buckets(name: &str, figure: &Figure) -> anyhow::Result<()> {
    for (sample, count) in &figure.samples {
        let Some(labels) = sample.strip_prefix(&format!("{name}_count")) else { continue };
        let rest = labels.trim_start_matches('{').trim_end_matches('}');
        let buckets = figure.samples.iter().filter(|(bucket, _)| {
            bucket.starts_with(&format!("{name}_bucket")) && (rest.is_empty() || bucket.contains(rest))
        });
        let largest = buckets.clone().map(|(_, count)| *count).fold(0.0, f64::max);
        let all = buckets.clone().find(|(bucket, _)| bucket.contains("le=\"+Inf\"")).map(|(_, count)| *count);
        if all != Some(*count) || largest > *count {
            bail!("{sample} is {count}, its last bucket {all:?}, its largest {largest}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP x_done What was done.\n# TYPE x_done counter\nx_done_total{by=\"a\"} 2\n\
        x_done_total{by=\"b\"} 3\n# HELP x_wait_seconds How long.\n# TYPE x_wait_seconds histogram\n\
        x_wait_seconds_sum 0.5\nx_wait_seconds_count 4\nx_wait_seconds_bucket{le=\"0.1\"} 1\n\
        x_wait_seconds_bucket{le=\"+Inf\"} 4\n# EOF\n";

    #[test]
    fn a_page_is_taken_apart() {
        let figures = Figures::parse(PAGE).unwrap();
        assert_eq!(figures.0.keys().collect::<Vec<_>>(), ["x_done_total", "x_wait_seconds"]);
        assert_eq!((figures.total("x_done_total"), figures.total("x_wait_seconds")), (5.0, 4.0));
        assert_eq!(figures.get("x_done_total{by=\"b\"}"), 3.0);
        assert_eq!(figures.get("x_done_total{by=\"c\"}"), 0.0);
    }

    #[test]
    fn what_a_scraper_would_stumble_over_is_refused() {
        for (right, wrong) in [
            ("# EOF\n", ""),
            ("x_done_total{by=\"b\"} 3", "x_done_total{by=\"a\"} 3"),
            ("x_done_total{by=\"b\"} 3", "x_done{by=\"b\"} 3"),
            ("x_done_total{by=\"b\"} 3", "x_done_total{by=\"b\"} many"),
            ("x_done_total{by=\"b\"} 3", "x_done_total{by=b} 3"),
            ("x_done_total{by=\"b\"} 3", "x_done_total{by=\"b\"} -3"),
            ("# TYPE x_done counter", "# TYPE x_done summary"),
            ("# TYPE x_done counter\n", ""),
            ("{le=\"+Inf\"} 4", "{le=\"+Inf\"} 3"),
        ] {
            assert!(PAGE.contains(right));
            assert!(Figures::parse(&PAGE.replacen(right, wrong, 1)).is_err(), "{wrong}");
        }
    }
}
