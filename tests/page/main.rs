//! The page in a real browser: headless Chromium, driven through WebDriver, over clusters of real processes.
//!
//! Without Chromium and its driver each test says so by name and is skipped; `.ci/page` installs them. Pictures of both
//! views are left in `run/page`.

mod browser;
mod cluster;
mod faults;
mod large;
mod looks;
mod rules;
mod shop;
