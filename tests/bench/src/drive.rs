//! Load generators: wrk where it is installed, else our own, on anything that speaks HTTP. Must not know whom they drive.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::process::{Folder, find, output};

/// What one turn gave.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sample {
    /// Done a second, without refusals. For `Work::Syncs` buys to one fdatasync of the busiest replica.
    pub per_second: f64,
    /// Half of all took no longer, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<f64>,
    /// 99 of 100 took no longer, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
    /// The slowest took so long, in microseconds: where it is far beyond the others, something stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_us: Option<f64>,
    /// Answers that were none: another status, a broken connection, a time that was over.
    pub refused: u64,
    /// The share that a cache answered, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_rate: Option<f64>,
}

/// What is asked of a server.
#[derive(Debug, Clone)]
pub enum Ask {
    /// The same path again and again.
    Get(String),
    /// A path that ends with an item's number, of items from one to another, at random.
    GetAny(String, (u64, u64)),
    /// The same, one after another.
    GetInTurn(String, (u64, u64)),
    /// The same path and body.
    Post(String, String),
}

/// Drives HTTP servers.
#[derive(Debug)]
pub struct Driver {
    folder: Arc<Folder>,
    wrk: Option<PathBuf>,
    loadgen: PathBuf,
}

/// What wrk's script prints.
#[derive(Deserialize)]
struct Printed {
    answers: u64,
    us: f64,
    p50: f64,
    p99: f64,
    max: f64,
    refused: u64,
    broken: u64,
}

/// What our own generator writes.
#[derive(Deserialize)]
struct Written {
    ok_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    answers: u64,
    per_second: f64,
    broken_connections: u64,
    hit_rate: Option<f64>,
}

/// The end of wrk's script. wrk's own text is for people.
const DONE: &str = r#"
done = function(summary, latency)
  local e = summary.errors
  local figures = '{"answers": %d, "us": %d, "p50": %d, "p99": %d, "max": %d, "refused": %d, "broken": %d}'
  io.write('\nFIGURES ' .. string.format(figures, summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), latency.max, e.status, e.connect + e.read + e.write + e.timeout) .. '\n')
end
"#;
/// How long wrk waits for an answer.
const PATIENCE: &str = "20s";

impl Driver {
    /// With wrk if it is wanted and installed, and our generator at `loadgen`.
    pub fn new(folder: Arc<Folder>, loadgen: PathBuf, wrk: bool) -> Self {
        Self { folder, wrk: wrk.then(|| find("wrk")).flatten(), loadgen }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        if self.wrk.is_some() { "wrk" } else { "loadgen" }
    }

    /// Asks for so many seconds.
    ///
    /// # Errors
    /// When the generator fails, or nothing was answered.
    pub async fn ask(&self, address: &str, ask: &Ask, connections: u32, seconds: u32) -> anyhow::Result<Sample> {
        match &self.wrk {
            Some(wrk) => self.by_wrk(wrk, address, ask, connections, seconds).await,
            None => {
                let mut arguments: Vec<String> = Vec::new();
                let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
                match ask {
                    Ask::Get(path) => add(&["--get", path]),
                    Ask::GetAny(path, (from, to)) => {
                        add(&["--get", &format!("{path}{{item}}"), "--items", &format!("{from}-{to}")]);
                    }
                    Ask::GetInTurn(path, (from, to)) => {
                        let items = format!("{from}-{to}");
                        add(&["--get", &format!("{path}{{item}}"), "--in-turn", "--items", &items]);
                    }
                    Ask::Post(path, body) => add(&["--post", path, "--body", body]),
                }
                self.loadgen(address, &arguments, connections, seconds).await
            }
        }
    }

    /// Our own generator, with these arguments.
    ///
    /// # Errors
    /// When it fails.
    pub async fn loadgen(
        &self,
        address: &str,
        arguments: &[String],
        connections: u32,
        seconds: u32,
    ) -> anyhow::Result<Sample> {
        let json = self.folder.file("loadgen.json", "")?;
        let mut command = Command::new(&self.loadgen);
        command.arg(address).args(arguments).arg("--json").arg(&json);
        command.args(["--connections", &connections.to_string(), "--seconds", &seconds.to_string()]);
        output(&mut command).await?;
        let written: Written = serde_json::from_slice(&std::fs::read(&json)?).context("figures of loadgen")?;
        let refused = written.answers as f64 * (1.0 - written.ok_per_second / written.per_second);
        Ok(Sample {
            per_second: written.ok_per_second,
            p50_us: Some(written.p50_us),
            p99_us: Some(written.p99_us),
            max_us: Some(written.max_us),
            refused: refused.round() as u64 + written.broken_connections,
            hit_rate: written.hit_rate,
        })
    }

    async fn by_wrk(
        &self,
        wrk: &PathBuf,
        address: &str,
        ask: &Ask,
        connections: u32,
        seconds: u32,
    ) -> anyhow::Result<Sample> {
        let script = self.folder.file("wrk.lua", &script(address, ask))?;
        let path = match ask {
            Ask::Get(path) | Ask::Post(path, _) => path,
            Ask::GetAny(..) | Ask::GetInTurn(..) => "/",
        };
        let mut command = Command::new(wrk);
        // One thread: two would take both cores from the servers.
        command.args([
            "-t1",
            "-c",
            &connections.to_string(),
            "-d",
            &format!("{seconds}s"),
            "--timeout",
            PATIENCE,
            "-s",
        ]);
        let said = output(command.arg(&script).arg(format!("http://{address}{path}"))).await?;
        let figures = said.lines().find_map(|line| line.strip_prefix("FIGURES ")).context("wrk printed no figures")?;
        let printed: Printed = serde_json::from_str(figures)?;
        ensure!(printed.answers > 0, "nothing was answered: {said}");
        Ok(Sample {
            per_second: (printed.answers - printed.refused.min(printed.answers)) as f64 / printed.us * 1e6,
            p50_us: Some(printed.p50),
            p99_us: Some(printed.p99),
            max_us: Some(printed.max),
            refused: printed.refused + printed.broken,
            hit_rate: None,
        })
    }
}

/// wrk's script. Requests are put together as text, which costs it the least.
fn script(address: &str, ask: &Ask) -> String {
    let request = |path: &str, next: &str| {
        format!(
            "math.randomseed(os.time())\nlocal item\nlocal head = \"GET {path}\"\n\
             local tail = \" HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n\"\n\
             request = function()\n  {next}\n  return head .. item .. tail\nend\n"
        )
    };
    let request = match ask {
        Ask::Get(_) => String::new(),
        Ask::GetAny(path, (from, to)) => request(path, &format!("item = math.random({from}, {to})")),
        Ask::GetInTurn(path, (from, to)) => {
            request(path, &format!("if item == nil or item == {to} then item = {from} else item = item + 1 end"))
        }
        Ask::Post(_, body) => format!(
            "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.body = [==[{body}]==]\n"
        ),
    };
    request + DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_asks_for_what_is_wanted() {
        assert_eq!(script("h:1", &Ask::Get("/a".into())), DONE);
        let text = script("h:1", &Ask::GetInTurn("/lookup/".into(), (5, 9)));
        assert!(text.contains("head = \"GET /lookup/\"") && text.contains("Host: h:1\\r\\n\\r\\n\""), "{text}");
        assert!(text.contains("item == 9 then item = 5 else"), "{text}");
        assert!(script("h", &Ask::Post("/p".into(), "{\"a\": 1}".into())).contains("[==[{\"a\": 1}]==]"));
    }
}
