//! A browser: a session of ChromeDriver, which speaks the W3C's WebDriver as JSON over HTTP.
//!
//! By hand over the HTTP client that is here: the libraries for it would have what RocksDB's bindings are built from
//! compiled with other features, and so RocksDB, for a dozen routes. Owns the life of the processes: none outlives the
//! test.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::eventually;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Browsers at a time, each several processes; one test needs two.
static PLACES: Semaphore = Semaphore::const_new(2);
/// How long the browser may take over one step.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// What every browser is started with. Root has no sandbox; shared memory is small in containers.
const ARGUMENTS: [&str; 7] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
];

/// The size of a screen.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub is_phone: bool,
}

pub const DESKTOP: Screen = Screen { name: "desktop", width: 1280, height: 860, is_phone: false };
pub const PHONE: Screen = Screen { name: "phone", width: 390, height: 844, is_phone: true };

/// One browser with one window.
pub struct Browser {
    http: reqwest::Client,
    session: String,
    /// The driver's group of processes ends when this does, however the test does.
    _life: ChildStdin,
    driver: Child,
    profile: TempDir,
    _place: SemaphorePermit<'static>,
}

/// As many browsers as asked for, or a line that says why there are none.
pub async fn browsers<const N: usize>(test: &str) -> Option<[Browser; N]> {
    if let Some(missing) = missing() {
        println!("SKIPPED {test}: {missing} is not installed; .ci/page installs it");
        return None;
    }
    // Together, so that two tests that have one each do not wait for each other; given back one by one.
    let mut places = PLACES.acquire_many(N as u32).await.expect("the semaphore is never closed");
    let mut opened = Vec::new();
    while let Some(place) = places.split(1) {
        opened.push(Browser::open(place).await.unwrap_or_else(|error| panic!("{test}: no browser: {error:#}")));
    }
    opened.try_into().ok()
}

/// One browser, or a line that says why there is none.
pub async fn browser(test: &str) -> Option<Browser> {
    let [one] = browsers(test).await?;
    Some(one)
}

fn missing() -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has =
        |names: &[&str]| names.iter().any(|name| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    if !has(&["chromium", "chromium-browser", "google-chrome"]) {
        return Some("chromium");
    }
    (!has(&["chromedriver"])).then_some("chromedriver")
}

/// Starts a driver on a port of its own choice, and returns that. It and what it starts end with its standard input.
fn start_driver() -> anyhow::Result<(Child, ChildStdin, u16)> {
    let mut driver = Command::new("sh")
        .args(["-c", "chromedriver --port=0 </dev/null & cat >/dev/null; kill -KILL 0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start chromedriver")?;
    let life = driver.stdin.take().context("no standard input")?;
    let said = BufReader::new(driver.stdout.take().context("no standard output")?);
    for line in said.lines() {
        let line = line?;
        if let Some((_, port)) = line.split_once("successfully on port ") {
            let port = port.trim_end_matches('.').parse().with_context(|| line.clone())?;
            return Ok((driver, life, port));
        }
    }
    bail!("chromedriver ended without a word of its port")
}

impl Browser {
    async fn open(place: SemaphorePermit<'static>) -> anyhow::Result<Self> {
        let (driver, life, port) = tokio::task::spawn_blocking(start_driver).await??;
        let profile = tempfile::Builder::new().prefix("catalog-page-").tempdir()?;
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let folder = format!("--user-data-dir={}", profile.path().display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([folder.as_str()]).collect();
        let wanted = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        });
        let mut browser = Self {
            http,
            session: format!("http://127.0.0.1:{port}/session"),
            _life: life,
            driver,
            profile,
            _place: place,
        };
        let made = browser.post("", json!({"capabilities": {"alwaysMatch": wanted}})).await?;
        let id = made["sessionId"].as_str().context("a session without an id")?;
        browser.session = format!("{}/{id}", browser.session);
        browser.set_screen(DESKTOP).await;
        browser.set_media(&[("prefers-color-scheme", "light")]).await;
        Ok(browser)
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.http.request(Method::POST, format!("{}{path}", self.session)).json(&body);
        let answer = request.send().await.with_context(|| format!("the driver does not answer {path}"))?;
        let (is_good, mut answer) = (answer.status().is_success(), answer.json::<Value>().await?);
        ensure!(is_good, "{path}: {}", answer["value"]["message"]);
        Ok(answer["value"].take())
    }

    async fn must(&self, path: &str, body: Value) -> Value {
        self.post(path, body).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Loads a page.
    pub async fn go(&self, url: &str) {
        self.must("/url", json!({"url": url})).await;
    }

    /// What the body of a function gives.
    pub async fn script(&self, body: &str) -> Value {
        self.must("/execute/sync", json!({"script": body, "args": []})).await
    }

    /// What an expression is.
    pub async fn value(&self, expression: &str) -> Value {
        self.script(&format!("return {expression}")).await
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        eventually(expression, || async {
            let value = self.value(&format!("!!({expression})")).await;
            if value == true { Ok(()) } else { Err("it is not") }
        })
        .await;
    }

    /// Waits until the text of an element has `part` in it.
    pub async fn until_text(&self, css: &str, part: &str) {
        self.until(&format!("document.querySelector({css:?})?.textContent.includes({part:?})")).await;
    }

    /// The text of an element.
    pub async fn text(&self, css: &str) -> String {
        let text = self.value(&format!("document.querySelector({css:?})?.textContent")).await;
        text.as_str().unwrap_or_else(|| panic!("nothing is at {css}")).to_owned()
    }

    async fn element(&self, css: &str) -> String {
        let found = self.must("/element", json!({"using": "css selector", "value": css})).await;
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("nothing is at {css}")).to_owned()
    }

    /// Clicks as a person would: not on what is hidden or covered.
    pub async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.must(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Types into an element.
    pub async fn type_into(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.must(&format!("/element/{element}/value"), json!({"text": text})).await;
    }

    /// Presses a key, wherever the focus is. Keys without a character are those of WebDriver's table.
    pub async fn press(&self, key: char) {
        let key = key.to_string();
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.must("/actions", json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]})).await;
    }

    /// A command of the browser's own protocol.
    async fn own(&self, command: &str, parameters: Value) -> Value {
        self.must("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    pub async fn set_screen(&self, screen: Screen) {
        let Screen { width, height, is_phone, .. } = screen;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone});
        self.own("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What the user prefers, as style sheets see it.
    pub async fn set_media(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> = features.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        self.own("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Leaves a picture of what is on the screen, or of the whole page, in `run/page`.
    pub async fn picture(&self, name: &str, whole: bool) {
        let shot = self.own("Page.captureScreenshot", json!({"captureBeyondViewport": whole})).await;
        let bytes = BASE64_STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("a picture");
        let folder = pictures();
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        std::fs::write(folder.join(name), bytes).expect("a picture can be written");
    }

    /// What the console has had since it was last asked, warnings and errors only.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.must("/se/log", json!({"type": "browser"})).await;
        let lines = log.as_array().cloned().unwrap_or_default();
        let is_bad = |line: &&Value| matches!(line["level"].as_str(), Some("SEVERE" | "WARNING"));
        lines.iter().filter(is_bad).map(|line| line["message"].to_string()).collect()
    }

    /// Fails when the console complains of anything, or the page shows an error.
    pub async fn is_content(&self) {
        assert_eq!(self.complaints().await, [] as [String; 0]);
        assert_eq!(self.text("#errors").await, "");
    }

    /// Marks the page, so that a reload is noticed.
    pub async fn mark(&self) {
        self.script("window.isMarked = true").await;
    }

    /// Fails when the page was loaded anew since it was marked.
    pub async fn is_still_marked(&self) {
        assert_eq!(self.value("window.isMarked === true").await, true, "the page was loaded anew");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.driver);
        // The shell, the driver and the browser, which is of the driver's group or dies with it.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.driver.wait();
        // What is dying still writes into its profile.
        for _ in 0..100 {
            match std::fs::remove_dir_all(self.profile.path()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {}
                _ => break,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where pictures are left.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../run/page")
}
