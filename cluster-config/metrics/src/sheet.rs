//! Figures as OpenMetrics text: the one place that knows the crate which writes it.

use std::{
    fmt::{self, Debug, Formatter},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};

use crate::Histogram;

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What `write` writes, as OpenMetrics text.
pub fn text(write: impl Fn(&mut Sheet<'_>) + Send + Sync + 'static) -> String {
    // A registry for each page: it holds nothing but the way here.
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Written(write)));
    let mut text = String::with_capacity(16 << 10);
    encode(&mut text, &registry).expect("a string takes all text");
    text
}

struct Written<F>(F);

impl<F> Debug for Written<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}

impl<F: Fn(&mut Sheet<'_>) + Send + Sync + 'static> Collector for Written<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet { encoder, result: Ok(()) };
        (self.0)(&mut sheet);
        sheet.result
    }
}

/// What a server writes its figures on, each under its whole name. Label values are written as they are, so they must
/// have no quotes, backslashes or newlines.
#[derive(Debug)]
pub struct Sheet<'a> {
    encoder: DescriptorEncoder<'a>,
    result: fmt::Result,
}

impl Sheet<'_> {
    /// A counter; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.put(name, help, MetricType::Counter, |metric| metric.encode_counter::<NoLabelSet, _, u64>(&value, None));
    }

    /// Counters that differ in one label.
    pub fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) {
        self.put(name, help, MetricType::Counter, |metric| {
            values.into_iter().try_for_each(|(of, value)| {
                metric.encode_family(&[(label, of)])?.encode_counter::<NoLabelSet, _, u64>(&value, None)
            })
        });
    }

    /// What is so many now.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.put(name, help, MetricType::Gauge, |metric| metric.encode_gauge(&told(value)));
    }

    /// Gauges that differ in one label.
    pub fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) {
        self.put(name, help, MetricType::Gauge, |metric| {
            let mut values = values.into_iter();
            values.try_for_each(|(of, value)| metric.encode_family(&[(label, of)])?.encode_gauge(&told(value)))
        });
    }

    /// A time that is so long now, if it is any; its name ends in `_seconds`.
    pub fn seconds(&mut self, name: &str, help: &str, value: impl Into<Option<Duration>>) {
        self.put(name, help, MetricType::Gauge, |metric| match value.into() {
            Some(value) => metric.encode_gauge(&value.as_secs_f64()),
            None => Ok(()),
        });
    }

    /// A histogram.
    pub fn histogram(&mut self, name: &str, help: &str, values: &Histogram) {
        self.put(name, help, MetricType::Histogram, |metric| put_histogram(metric, values));
    }

    /// Histograms that differ in one label.
    pub fn histograms<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, &'v Histogram)>,
    ) {
        self.put(name, help, MetricType::Histogram, |metric| {
            let mut values = values.into_iter();
            values.try_for_each(|(of, values)| put_histogram(&mut metric.encode_family(&[(label, of)])?, values))
        });
    }

    fn put(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) {
        // The encoder puts the end of a counter's name back on.
        let name = name.strip_suffix("_total").unwrap_or(name);
        let written = self.encoder.encode_descriptor(name, help, None, kind).and_then(|mut metric| write(&mut metric));
        self.result = self.result.and(written);
    }
}

fn put_histogram(metric: &mut MetricEncoder<'_>, values: &Histogram) -> fmt::Result {
    let (sum, buckets) = (values.sum(), values.buckets());
    // Of the buckets as they were read, so that the two agree while others go on counting.
    let count = buckets.iter().map(|(_, count)| count).sum();
    metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// The encoder takes signed numbers only.
fn told(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn figures_are_open_metrics_text() {
        let histogram = Arc::new(Histogram::times());
        histogram.time(Duration::from_micros(20));
        let text = text(move |sheet| {
            sheet.counter("x_done_total", "What was done.", 3);
            sheet.counters("x_refused_total", "What was not.", "reason", [("full", 1), ("late", 0)]);
            sheet.gauge("x_free_bytes", "What is free.", u64::MAX);
            sheet.gauges("x_lag_entries", "How far behind.", "follower", [("b", 7)]);
            sheet.seconds("x_age_seconds", "How old.", Duration::from_millis(1500));
            sheet.histograms("x_wait_seconds", "How long.", "stage", [("first", &*histogram)]);
        });
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("le=")).collect();
        let expected = [
            "# HELP x_done What was done.",
            "# TYPE x_done counter",
            "x_done_total 3",
            "# HELP x_refused What was not.",
            "# TYPE x_refused counter",
            "x_refused_total{reason=\"full\"} 1",
            "x_refused_total{reason=\"late\"} 0",
            "# HELP x_free_bytes What is free.",
            "# TYPE x_free_bytes gauge",
            "x_free_bytes 9223372036854775807",
            "# HELP x_lag_entries How far behind.",
            "# TYPE x_lag_entries gauge",
            "x_lag_entries{follower=\"b\"} 7",
            "# HELP x_age_seconds How old.",
            "# TYPE x_age_seconds gauge",
            "x_age_seconds 1.5",
            "# HELP x_wait_seconds How long.",
            "# TYPE x_wait_seconds histogram",
            "x_wait_seconds_sum{stage=\"first\"} 0.00002",
            "x_wait_seconds_count{stage=\"first\"} 1",
            "# EOF",
        ];
        assert_eq!(lines, expected);
        assert!(text.contains("x_wait_seconds_bucket{le=\"+Inf\",stage=\"first\"} 1\n"), "{text}");
    }
}
