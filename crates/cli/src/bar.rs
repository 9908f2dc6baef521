//! A progress bar on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{number::thousands, out};

/// How far something has come. A bar if standard error is a terminal; otherwise a line now and then, or nothing.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    label: String,
    total: u64,
    /// When the next plain line is due; `None` if there are none.
    line_due: Option<Instant>,
}

/// What stands on standard error if it is not a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Nothing.
    Nothing,
    /// A line every few seconds.
    Lines,
}

impl Bar {
    /// Counts bytes up to `total`.
    pub(crate) fn bytes(label: &str, total: u64, plain: Plain) -> Self {
        Self::new(label, total, plain, BYTES)
    }

    /// Counts messages up to `total`.
    pub(crate) fn messages(label: &str, total: u64, plain: Plain) -> Self {
        Self::new(label, total, plain, MESSAGES)
    }

    fn new(label: &str, total: u64, plain: Plain, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        // Both templates are constants of this file, and a test reads them.
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_message(label.to_owned());
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        let has_lines = bar.is_hidden() && plain == Plain::Lines;
        let line_due = has_lines.then(|| Instant::now() + LINE_EVERY);
        Self { bar, label: label.to_owned(), total, line_due }
    }

    /// Says how far it has come.
    pub(crate) fn set(&mut self, position: u64) {
        self.bar.set_position(position.min(self.total));
        if let Some(due) = self.line_due
            && Instant::now() >= due
        {
            let (position, total) = (thousands(position), thousands(self.total));
            out::complain(&format!("  {:<WIDTH$}{position} of {total}", self.label));
            self.line_due = Some(due + LINE_EVERY);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Width of the first column.
pub(crate) const WIDTH: usize = 22;
/// Between two drawings when nothing moves.
const TICK: Duration = Duration::from_millis(100);
/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

// Narrow enough for a terminal of 80 columns: a bar that wraps leaves traces.
const BYTES: &str = "  {msg:<22}[{bar:26}] {decimal_bytes} of {decimal_total_bytes}";
const MESSAGES: &str = "  {msg:<22}[{bar:26}] {human_pos} of {human_len}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_can_be_read() {
        for template in [BYTES, MESSAGES] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
            assert!(template.contains(&format!("{{msg:<{WIDTH}}}")), "{template}");
        }
    }
}
