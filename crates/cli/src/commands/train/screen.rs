//! A run on the whole terminal: how far it is, live curves, the last sample, and what happened.
//!
//! The view is drawn with a handful of escape sequences, a few times a second at most; keys are not read, so the terminal
//! stays as it is but for its other screen, which any end of the program leaves (`terminal.rs`). A library for such views
//! (ratatui) would bring thirty crates for one page.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use puna_formats::visible;
use puna_model::Model;
use puna_train::run::{Pace, Run, Watcher};
use puna_train::{Evaluation, StepReport};

use super::curve::Plot;
use super::line::{losses, speed};
use super::sampler::SampleMaker;
use crate::interrupt::Interrupt;
use crate::terminal::{FullScreen, cut_to};
use crate::units::clock_time;

/// Time between two drawings.
const INTERVAL: Duration = Duration::from_millis(200);
/// Smaller terminals get lines.
const LEAST: (u16, u16) = (60, 16);
/// Blue and orange, as in the report.
const COLOURS: [&str; 2] = ["\x1b[94m", "\x1b[33m"];
/// Lines that a sample has at most.
const SAMPLE_LINES: usize = 4;
/// Points kept of a curve; more are halved.
const MAX_POINTS: usize = 4000;

/// Draws on standard error.
pub struct Screen {
    sampler: SampleMaker,
    interrupt: Interrupt,
    name: String,
    n_steps: u64,
    last: Option<(StepReport, Pace)>,
    losses: Vec<(f64, f64)>,
    validations: Vec<(f64, f64)>,
    found: Option<Evaluation>,
    /// The loss of the best validation of all sittings.
    best: Option<f64>,
    sample: Option<(u64, String)>,
    notes: Vec<String>,
    drawn: Option<Instant>,
    full: FullScreen,
}

impl Screen {
    /// Whether there is a terminal for it.
    pub fn fits() -> bool {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        io::stderr().is_terminal() && !is_dumb && size().is_some_and(|(w, h)| w >= LEAST.0 && h >= LEAST.1)
    }

    /// Takes the terminal.
    pub fn begin(sampler: SampleMaker, interrupt: Interrupt, run: &Run) -> Screen {
        Screen {
            sampler,
            interrupt,
            name: run.settings().name.clone(),
            n_steps: run.trainer().recipe.n_steps,
            last: None,
            losses: Vec::new(),
            validations: Vec::new(),
            found: None,
            best: run.counts().best_loss,
            sample: None,
            notes: Vec::new(),
            drawn: None,
            full: FullScreen::enter(),
        }
    }

    /// What happened, to be said once the terminal is as it was.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn draw(&mut self) {
        let is_soon = self.drawn.is_some_and(|drawn| drawn.elapsed() < INTERVAL);
        let is_last = self.last.is_some_and(|(report, _)| report.step == self.n_steps);
        if is_soon && !is_last {
            return;
        }
        self.drawn = Some(Instant::now());
        let Some((width, height)) = size() else { return };
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()).then_some(COLOURS);
        self.full.show(&self.page(usize::from(width), usize::from(height), colours));
    }

    /// The page in lines of a terminal of this size.
    fn page(&self, width: usize, height: usize, colours: Option<[&str; 2]>) -> Vec<String> {
        let mut head = Vec::new();
        let cut = |text: &str| cut_to(&visible(text), width).to_owned();
        let step = self.last.map_or(0, |(report, _)| report.step);
        let share = step as f64 / self.n_steps.max(1) as f64;
        let left =
            self.last.and_then(|(_, pace)| pace.left_s).map_or(String::new(), |s| clock_time(s) + " left");
        let title = format!("{}  step {step} of {}  ", self.name, self.n_steps);
        let room = width.saturating_sub(title.chars().count() + left.len() + 10);
        let done = (share * room as f64).round() as usize;
        let bar = "█".repeat(done) + &"░".repeat(room - done.min(room));
        head.push(cut(&format!("{title}{bar} {:>3.0} %  {left}", 100.0 * share)));
        if let Some((report, pace)) = &self.last {
            let skipped = if report.was_skipped { "  passed over" } else { "" };
            head.push(cut(&format!("{}{skipped}", losses(report))));
            head.push(cut(&format!("{}  {} so far", speed(pace), clock_time(pace.elapsed_s))));
        }
        if let Some(found) = &self.found {
            let bits = found.bits_per_byte.map_or(String::new(), |bits| format!("  {bits:.4} bits/byte"));
            let best = self.best.map_or(String::new(), |best| format!("  (best {best:.4})"));
            head.push(cut(&format!("validation loss {:.4}{bits}{best}", found.loss)));
        }
        let mut foot = vec![String::new()];
        if let Some((step, text)) = &self.sample {
            foot.push(cut(&format!("after step {step} it writes:")));
            let text = visible(&text.replace('\n', " ")).to_string();
            let mut rest = &*text;
            for _ in 0..SAMPLE_LINES {
                let part = cut_to(rest, width.saturating_sub(2));
                foot.push("  ".to_owned() + part);
                rest = &rest[part.len()..];
                if rest.is_empty() {
                    break;
                }
            }
        }
        foot.extend(self.notes.iter().rev().take(2).rev().map(|note| cut(note.lines().next().unwrap_or(""))));
        foot.push(cut(match self.interrupt.is_pressed() {
            true => "saving the state…",
            false => "Ctrl-C saves the state and ends; --resume goes on",
        }));
        let room = height.saturating_sub(head.len() + foot.len() + 1).max(3);
        let plot = Plot { first: &self.losses, second: &self.validations, last_step: self.n_steps as f64 };
        let mut page = head;
        page.push(String::new());
        page.extend(plot.lines(width, room, colours));
        page.extend(foot);
        page.truncate(height);
        page
    }
}

impl Watcher for Screen {
    fn step(&mut self, report: &StepReport, pace: &Pace) {
        self.losses.push((report.step as f64, report.loss));
        if self.losses.len() > MAX_POINTS {
            let mean = |pair: &[(f64, f64)]| match pair {
                [a, b] => ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0),
                pair => pair[0],
            };
            self.losses = self.losses.chunks(2).map(mean).collect();
        }
        self.last = Some((*report, *pace));
        self.draw();
    }

    fn validated(&mut self, step: u64, found: &Evaluation, is_best: bool) {
        if is_best {
            self.best = Some(found.loss);
        }
        self.validations.push((step as f64, found.loss));
        self.found = Some(*found);
        self.draw();
    }

    fn samples(&mut self, model: &Arc<Model>, step: u64, prompts: &[String]) -> Result<Vec<String>, String> {
        let texts = self.sampler.make(model, step, prompts)?;
        self.sample = prompts.iter().zip(&texts).next().map(|(prompt, text)| (step, prompt.clone() + text));
        self.draw();
        Ok(texts)
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
        self.draw();
    }

    fn wants_stop(&self) -> bool {
        self.interrupt.is_pressed()
    }
}

/// Columns and rows.
fn size() -> Option<(u16, u16)> {
    terminal_size::terminal_size_of(io::stderr()).map(|(width, height)| (width.0, height.0))
}
